"""label the test split, check every label map, and zip them for the Cityscapes server

reads:  PATH/leftImg8bit/test (no labels: they are withheld) and a trained model; or label maps that already exist
writes: label-id PNGs below data/predictions/test, kept so that an interrupted run resumes, and the zip

example: adl submission /data/cityscapes --output submission.zip
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import adl
from adl.commands.dataset_check import parameters
from adl.commands.predict import add_model_arguments, choose_model, load_predictor, params_for
from adl.console.progress import track
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.errors import AdlError
from adl.files import check_output, code_digest, digest, write_png
from adl.prepare.check import check_dataset
from adl.workspace import PREDICTIONS, SYNTHETIC, as_path

if TYPE_CHECKING:
    from adl.predict.predictor import Predictor


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", nargs="?", type=as_path, help="default: data_path of params.yaml")
    add_model_arguments(command)
    command.add_argument(
        "--multiscale",
        action="store_true",
        help="average over scales 0.5 to 1.75 (nine times the work)",
    )
    command.add_argument("--predictions", type=as_path, help="check and zip the label maps in this folder instead")
    command.add_argument("--output", type=as_path, default=Path("submission.zip"), help="default: %(default)s")
    command.add_argument(
        "--partial",
        action="store_true",
        help="accept a number of images other than 1525, to see how it works: the server scores only the complete set",
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.predict import submission

    check_output(arguments.output, suffix=".zip")
    if arguments.predictions is not None:
        ignored = []
        for name in ("model", "device", "backend", "no_flip", "multiscale"):
            if getattr(arguments, name) not in (None, False, "CPU"):
                ignored.append(f"--{name.replace('_', '-')}")
        if ignored:
            raise AdlError(f"--predictions takes label maps that already exist: leave out {', '.join(ignored)}.")
    root = arguments.path or Path(parameters().data_path)
    if root == SYNTHETIC:
        raise AdlError(
            f"{root} holds the embedded scenes, which the stage synthesize makes (`dvc repro`), without a test split: "
            "name the PATH of Cityscapes."
        )
    dataset = descriptor.shipped("cityscapes")
    if arguments.partial:
        dataset = dataset.model_copy(update={"expect": {}})
    predictor = None if arguments.predictions else _predictor(arguments, dataset)
    frames = check_dataset(root, dataset, ["test"]).passed().splits["test"].frames
    predictions = arguments.predictions
    if predictor:
        predictions = _predict(predictor, arguments, root, frames, dataset)
    submission.pack(submission.check(predictions, frames, dataset), arguments.output)
    print(
        f"{arguments.output}: {len(frames)} label maps, each one channel of label ids, as large as its image\n"
        f"No mIOU is reported: {dataset.withheld['test'].split(':')[0]}."
    )


def _predictor(arguments: argparse.Namespace, dataset: DatasetDescriptor) -> Predictor:
    """Raises AdlError if the model's classes are not those of the data set."""
    choose_model(arguments)
    predictor = load_predictor(arguments, one_size=True)
    if predictor.dataset.class_names != dataset.class_names:
        raise AdlError(
            f"was trained on {predictor.dataset.title}, whose classes are not those of {dataset.title}",
            "Name a model that was trained on them with --model.",
            where=arguments.model,
        )
    return predictor


def _predict(
    predictor: Predictor, arguments: argparse.Namespace, root: Path, frames: list[Frame], dataset: DatasetDescriptor
) -> Path:
    """Label what is not labelled yet by this very model in this mode."""
    from adl.predict import photographs

    folder = PREDICTIONS / f"test/{key_of(arguments, frames)}-{predictor.mode.name}"
    remaining = {}
    for frame in frames:
        place = dataset.prediction_path(folder, frame.name)
        if not place.exists():
            remaining[place] = frame.image
    done = len(frames) - len(remaining)
    if done:
        print(f"{done} of {len(frames)} label maps already exist: {folder}", flush=True)
    if remaining:
        check_dataset(root, dataset, ["test"], deep=True).passed()
    for place, image in track(remaining.items(), len(remaining), "predicting"):
        labels = predictor(photographs.read(image).pixels)
        write_png(place, dataset.label_ids[labels])
    return folder


def key_of(arguments: argparse.Namespace, frames: list[Frame]) -> str:
    """What label maps follow from: code, model, the parameters that stand for its sidecar, and every image's bytes."""
    from adl.predict.submission import CODE

    package = Path(adl.__file__).parent
    content = [
        code_digest([package / name for name in CODE], root=package),
        digest(arguments.model),
        params_for(arguments.model),
        arguments.backend,  # None for the default, which the code names
        arguments.device,
        [digest(frame.image) for frame in track(frames, len(frames), "reading")],
    ]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]
