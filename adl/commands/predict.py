"""adl predict: label any photograph with a trained model."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from adl import params
from adl.artifacts import check_output, sidecar_path, write_image
from adl.cityscapes import COLOURS, LABELS
from adl.commands import add_command
from adl.errors import AdlError
from adl.progress import track

LONGEST_SIDE = 2048
"""Pixels; the width of Cityscapes. A larger photograph shows its objects larger than any that were trained on."""
MODEL = Path("models/autodeeplab.ckpt")
OUTPUT = Path("data/predictions/predict")
DESCRIPTION = """label any photograph, or every one in a folder, with a trained model

reads:  images of any size (EXIF orientation respected), a checkpoint or a MINDIR with its sidecar (FILE.json)
writes: for each image <name>_labelIds.png (label ids), <name>_color.png (palette), <name>_overlay.png (both in one)"""


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "predict",
        run,
        description=DESCRIPTION,
        example="adl predict photo.jpg --model models/autodeeplab.mindir --output labelled",
    )
    command.add_argument("images", type=Path, metavar="IMAGE|FOLDER")
    add_model_arguments(command)
    command.add_argument("--output", type=Path, default=OUTPUT, help="folder for the results; default: %(default)s")
    command.add_argument(
        "--longest-side",
        type=int,
        metavar="PIXELS",
        help="larger images are scaled down to it before a checkpoint's network, and the labels up again; default: "
        f"{LONGEST_SIDE}",
    )


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", type=Path, default=MODEL, help=".ckpt or .mindir; default: %(default)s")
    command.add_argument("--device", choices=("CPU", "Ascend"), default="CPU", help="default: %(default)s")
    command.add_argument("--no-flip", action="store_true", help="half the work: do not average with the mirror image")


def params_for(model: Path) -> params.Params | None:
    """Only a checkpoint without a sidecar, one of 2021, takes its architecture from params.yaml."""
    if sidecar_path(model).exists() or not Path("params.yaml").exists():
        return None
    return params.load()


def run(arguments: argparse.Namespace) -> None:
    from adl import prediction

    longest = LONGEST_SIDE if arguments.longest_side is None else arguments.longest_side
    if longest < params.SMALLEST_SIDE:
        raise AdlError(f"--longest-side: {longest} is less than {params.SMALLEST_SIDE} pixels.")
    if arguments.longest_side is not None and arguments.model.suffix == ".mindir":
        raise AdlError("--longest-side: a MINDIR takes one size, to which every image is scaled; name a checkpoint.")
    check_output(arguments.output, folder=True)
    images = prediction.find_images(arguments.images)
    outputs = _outputs(arguments.images, images, arguments.output)
    prediction.check_images(images)
    predictor = prediction.Predictor.load(
        arguments.model,
        device_target=arguments.device,
        flip=not arguments.no_flip,
        params=params_for(arguments.model),
    )
    for path in track(images, len(images), "predicting"):
        image = prediction.read_image(path)
        labels = predictor(image, longest_side=longest)
        coloured = COLOURS[labels]
        stem = outputs[path]
        overlay = image[..., ::-1] // 2 + coloured // 2
        for suffix, picture in zip(prediction.OUTPUTS, (labels, coloured, overlay), strict=True):
            write_image(stem.with_name(f"{stem.name}{suffix}"), picture)
        print(f"{path}: {image.shape[1]}×{image.shape[0]}, {shares(labels)}", flush=True)
    print(f"{len(images)} image{'s' if len(images) > 1 else ''} labelled: {arguments.output}")


def _outputs(root: Path, images: list[Path], output: Path) -> dict[Path, Path]:
    """Image → its place below the output folder, without suffix. Raises AdlError where two would share one."""
    base = root if root.is_dir() else root.parent
    places = {path: output / path.relative_to(base).with_suffix("") for path in images}
    taken = Counter(places.values())
    if doubled := [str(path) for path, place in places.items() if taken[place] > 1]:
        raise AdlError(f"these images would write the same files; rename one: {', '.join(doubled)}.")
    return places


def shares(labels: np.ndarray) -> str:
    """The classes that cover most of a label map, for people."""
    counts = np.bincount(labels.ravel(), minlength=256)
    first = np.argsort(-counts, kind="stable")[:3]
    return ", ".join(f"{LABELS[i].name} {100 * counts[i] / labels.size:.0f} %" for i in first if counts[i])
