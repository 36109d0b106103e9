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
DESCRIPTION = """label photographs, every one in a folder, or a video, with a trained model

reads:  images of any size (EXIF orientation respected), videos, a checkpoint or a MINDIR with its sidecar (FILE.json)
writes: for each image <name>_labelIds.png (label ids), <name>_color.png (palette), <name>_overlay.png (both in one);
        for each video <name>_overlay.mp4, frame by frame"""


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "predict",
        run,
        description=DESCRIPTION,
        example="adl predict photo.jpg --model models/autodeeplab.mindir --output labelled",
    )
    command.add_argument(
        "paths", type=Path, nargs="+", metavar="IMAGE|FOLDER|VIDEO", help="what to label; a folder with all below it"
    )
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
    from adl import photographs, prediction
    from adl import videos as videos_module
    from adl.videos import Video

    longest = LONGEST_SIDE if arguments.longest_side is None else arguments.longest_side
    if longest < params.SMALLEST_SIDE:
        raise AdlError(f"--longest-side: {longest} is less than {params.SMALLEST_SIDE} pixels.")
    if arguments.longest_side is not None and arguments.model.suffix == ".mindir":
        raise AdlError("--longest-side: a MINDIR takes one size, to which every image is scaled; name a checkpoint.")
    check_output(arguments.output, folder=True)
    videos = [Video.open(path) for path in arguments.paths if path.suffix.lower() in videos_module.SUFFIXES]
    others = [path for path in arguments.paths if path.suffix.lower() not in videos_module.SUFFIXES]
    found = photographs.find(others) if others else photographs.Found()
    for line in found.left_out():
        print(line, flush=True)
    outputs = _outputs(others, found.images, arguments.output)
    outputs |= _outputs([], [video.path for video in videos], arguments.output)
    photographs.check(found.images)
    predictor = prediction.Predictor.load(
        arguments.model,
        device_target=arguments.device,
        flip=not arguments.no_flip,
        params=params_for(arguments.model),
    )
    for path in track(found.images, len(found.images), "predicting"):
        photograph = photographs.read(path)
        labels = predictor(photograph.pixels, longest_side=longest)
        stem = outputs[path]
        pictures = (labels, COLOURS[labels], _overlay(photograph.pixels, labels))
        for suffix, picture in zip(photographs.OUTPUTS, pictures, strict=True):
            write_image(stem.with_name(f"{stem.name}{suffix}"), picture)
        depth = f", {photograph.used_bits} of 16 bits are used" if photograph.used_bits else ""
        size = f"{labels.shape[1]}×{labels.shape[0]}"
        print(f"{path}: {size}{depth}, {shares(labels)}", flush=True)
    for video in videos:
        frames = track(video, video.frames, f"predicting {video.path.name}", unit="frames")
        overlays = (_overlay(frame, predictor(frame, longest_side=longest)) for frame in frames)
        stem = outputs[video.path]
        written = videos_module.write(stem.with_name(f"{stem.name}_overlay.mp4"), overlays, rate=video.rate)
        print(f"{video.path}: {written} frames", flush=True)
    done = len(found.images) + len(videos)
    print(f"{done} {'image or video' if done == 1 else 'images and videos'} labelled: {arguments.output}")


def _overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """image: (H, W, 3) uint8 BGR. labels: (H, W) label ids. Returns RGB: half the image, half the palette."""
    return image[..., ::-1] // 2 + COLOURS[labels] // 2


def _outputs(named: list[Path], paths: list[Path], output: Path) -> dict[Path, Path]:
    """Image (or video) → its place below the output folder, without suffix.

    named: as the person did; what lies below a folder keeps its place there. Raises AdlError if two would share one.
    """
    places = {}
    for path in paths:
        base = next((folder for folder in named if folder.is_dir() and path.is_relative_to(folder)), path.parent)
        places[path] = output / path.relative_to(base).with_suffix("")
    taken = Counter(places.values())
    if doubled := [str(path) for path, place in places.items() if taken[place] > 1]:
        raise AdlError(f"these would write the same files; rename one: {', '.join(doubled)}.")
    return places


def shares(labels: np.ndarray) -> str:
    """The classes that cover most of a label map, for people."""
    counts = np.bincount(labels.ravel())
    first = np.argsort(-counts, kind="stable")[:3]
    return ", ".join(f"{LABELS[i].name} {100 * counts[i] / labels.size:.0f} %" for i in first if counts[i])
