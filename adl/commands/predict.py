"""label photographs, every one in a folder, or a video, with a trained model

reads:  images of any size (EXIF orientation respected), videos, a checkpoint or an exported file with its sidecar
writes: for each image <name>_labelIds.png (label ids), <name>_color.png (palette), <name>_overlay.png (both blended);
        for each video <name>_overlay.mp4, frame by frame
A file that cannot be read, or a video that is cut short, does not keep the others from being labelled; the exit code is
then 2, and they are named.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adl.commands.parameters import device
from adl.config import params
from adl.console import text
from adl.console.progress import track
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.export import provenance
from adl.export.runtimes import BACKENDS
from adl.files import check_output, write_png
from adl.workspace import CHECKPOINT, PARAMS, PREDICTIONS, as_path, sidecar

if TYPE_CHECKING:
    import numpy as np

    from adl.predict.photographs import Found, Photograph
    from adl.predict.predictor import Predictor
    from adl.predict.videos import Encoding, Video

LONGEST_SIDE = 2048
"""Pixels; the width of Cityscapes. A larger photograph shows its objects larger than any that were trained on."""
MOST_CLASSES = 3
"""Classes that a line names."""


EXAMPLE = "adl predict photo.jpg --model models/autodeeplab.mindir --output labelled"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "paths",
        type=as_path,
        nargs="+",
        metavar="IMAGE|FOLDER|VIDEO",
        help="what to label; folders are searched recursively",
    )
    add_model_arguments(command)
    command.add_argument(
        "--output",
        type=as_path,
        default=PREDICTIONS / "predict",
        help="folder for the results; default: %(default)s",
    )
    add_longest_side(command)


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        type=as_path,
        help=f".ckpt, .mindir or .onnx; default: {CHECKPOINT}, or the ONNX file exported from it, which gives the same "
        "in less time",
    )
    command.add_argument(
        "--backend",
        choices=BACKENDS,
        help="runtime of an exported file; default: MindSpore for .mindir, OpenVINO for .onnx",
    )
    command.add_argument(
        "--device",
        type=device,
        choices=("CPU", "Ascend"),
        default="CPU",
        help="default: %(default)s",
    )
    command.add_argument(
        "--no-flip", action="store_true", help="half the work: do not average with the mirror image"
    )


def add_longest_side(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--longest-side",
        type=int,
        metavar="PIXELS",
        help="larger images are scaled down to it for the network, the result up again; not for a MINDIR; default: "
        f"{LONGEST_SIDE}",
    )


def choose_model(arguments: argparse.Namespace, *, multiscale: bool = False) -> None:
    """In place of a `--model` that was not given, name the fastest file that gives the checkpoint's results."""
    if arguments.model is None:
        # An ONNX file has a single scale, and runs on a CPU only.
        on_onnx = arguments.device == "CPU" and not multiscale
        arguments.model = provenance.fastest() if on_onnx else CHECKPOINT


def params_for(model: Path) -> params.Params | None:
    """Only a checkpoint without a sidecar, one of 2021, takes its architecture from params.yaml."""
    if sidecar(model).exists() or not PARAMS.exists():
        return None
    return params.load()


def load_predictor(arguments: argparse.Namespace, **settings: Any) -> Predictor:
    """What the arguments of `add_model_arguments` name. settings: further ones of `Predictor.load`."""
    from adl.predict.predictor import Predictor

    if arguments.model.is_file():
        print(f"model: {arguments.model}, {provenance.summary(arguments.model)}", flush=True)
    return Predictor.load(
        arguments.model,
        CITYSCAPES,
        device_target=arguments.device,
        flip=not arguments.no_flip,
        params=params_for(arguments.model),
        backend=arguments.backend,
        **settings,
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.predict import photographs, videos

    choose_model(arguments)
    longest_side = checked_longest_side(arguments)
    check_output(arguments.output, folder=True)
    found = photographs.find(arguments.paths)
    for line in found.left_out():
        print(line, flush=True)
    places = output_places(arguments.paths, found, arguments.output)
    for path, place in places.items():
        if place.name != path.stem:
            print(f"{path}: too long a name for its results, which are called {place.name}_…")
    for fault in dict.fromkeys(found.faults.values()):
        print(f"error: {fault}", file=sys.stderr, flush=True)
    faults = list(found.faults)
    predictor = None
    images = [path for path in found.images if path in places]
    for path, photograph in _readable(images, faults):
        predictor = predictor or load_predictor(arguments)
        with _noted(path, faults):
            _label_photograph(path, photograph, places[path], predictor, longest_side)
    clips = []
    for path in [path for path in found.unlike_images if path in places]:
        with _noted(path, faults):
            clip = videos.Video.open(path)
            clips.append((clip, videos.Encoding.like(clip)))
    for clip, encoding in clips:
        predictor = predictor or load_predictor(arguments)
        with _noted(clip.path, faults):
            _label_video(clip, encoding, places[clip.path], predictor, longest_side)
    if predictor:
        labelled = len(places.keys() - faults)
        total = len(found.images) + len(found.unlike_images)
        print(
            f"{labelled} of {text.counted(total, 'image or video', 'images and videos')} labelled: {arguments.output}"
        )
    if faults:
        raise AdlError(f"not or not wholly labelled: {', '.join(map(str, faults))}.")


@contextlib.contextmanager
def _noted(path: Path, faults: list[Path]) -> Iterator[None]:
    """What is wrong with one file is said at once, and keeps no other from being labelled."""
    try:
        yield
    except AdlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        faults.append(path)


def _readable(paths: list[Path], faults: list[Path]) -> Iterator[tuple[Path, Photograph]]:
    """Each photograph that can be read, when its turn comes; the others are noted."""
    from adl.predict import photographs

    for path in track(paths, len(paths), "predicting"):
        with _noted(path, faults):
            yield path, photographs.read(path)


def checked_longest_side(arguments: argparse.Namespace) -> int:
    """Raises AdlError for a side that is too small, or that the model has no use for."""
    longest_side = arguments.longest_side
    if longest_side is None:
        return LONGEST_SIDE
    least = params.SMALLEST_SIDE
    if longest_side < least:
        raise AdlError(f"--longest-side: {longest_side} is less than {least} pixels.")
    if arguments.model.suffix == ".mindir":
        raise AdlError(
            "--longest-side: a MINDIR has a fixed input size, to which every image is scaled; use a checkpoint."
        )
    return longest_side


def _label_photograph(
    path: Path, photograph: Photograph, place: Path, predictor: Predictor, longest_side: int
) -> None:
    from adl.predict import photographs
    from adl.predict.overlays import coloured, overlay

    labels = predictor(photograph.pixels, longest_side=longest_side)
    ids, colours, blended = _results(place, photographs.OUTPUTS)
    write_png(ids, CITYSCAPES.label_ids[labels])
    write_png(colours, coloured(labels, CITYSCAPES))
    write_png(blended, overlay(photograph.pixels, labels, CITYSCAPES))
    depth = f", {photograph.used_bits} of 16 bits are used" if photograph.used_bits else ""
    print(f"{path}: {text.size(*labels.shape)}{depth}, {largest_classes(labels)}", flush=True)


def _label_video(
    clip: Video, encoding: Encoding, place: Path, predictor: Predictor, longest_side: int
) -> None:
    from adl.predict import videos
    from adl.predict.overlays import overlay

    frames = track(clip, clip.frames, f"predicting {clip.path.name}", unit="frames")
    overlays = (
        overlay(frame, predictor(frame, longest_side=longest_side), CITYSCAPES) for frame in frames
    )
    [file] = _results(place, videos.OUTPUTS)
    written = encoding.write(file, overlays)
    count, rate = text.counted(written, "frame"), f"{encoding.rate:g}"
    if written != clip.frames:
        count += f" (its header states {clip.frames})"
    if encoding.rate != clip.rate:
        rate += f" (its header states {clip.rate:g}, which no MP4 can have)"
    codec = videos.CODECS[encoding.codec]
    print(f"{clip.path}: {count}, {rate} per second, without sound, as {codec}", flush=True)
    clip.check_complete(written)


def output_places(named: list[Path], found: Found, output: Path) -> dict[Path, Path]:
    """Image or video → its place below the output folder, without suffix.

    named: as the person did; what lies below a folder keeps its place there. Those of which two would write one file
    are left out, and become faults. Raises AdlError if a result would be written over an input, or over what no earlier
    run can have written.
    """
    from adl.predict import photographs, videos

    paths = [*found.images, *found.unlike_images]
    inputs = {os.path.realpath(path): path for path in paths}
    folders = [path for path in named if path.is_dir()]
    places: dict[Path, Path] = {}
    writers: dict[str, Path] = {}
    for path in paths:
        base = next(filter(path.is_relative_to, folders), path.parent)
        endings = videos.OUTPUTS if path in found.unlike_images else photographs.OUTPUTS
        places[path] = output / photographs.place(path.relative_to(base), endings)
        results = _results(places[path], endings)
        # The first is written first: without it the others are somebody else's.
        is_ours = results[0].exists()
        for result in results:
            file = os.path.realpath(result)
            if file in inputs or (result.exists() and not is_ours):
                raise AdlError(
                    f"{path}: a result would be written over {inputs.get(file, result)}; name another --output."
                )
            rival = writers.setdefault(file, path)
            if rival != path:
                fault = f"{rival} and {path} would write the same files; rename one."
                found.faults |= {rival: fault, path: fault}
    return {path: place for path, place in places.items() if path not in found.faults}


def _results(place: Path, endings: Iterable[str]) -> list[Path]:
    return [place.with_name(f"{place.name}{ending}") for ending in endings]


def largest_classes(labels: np.ndarray) -> str:
    """The classes that cover most of a label map, for people. labels: (H, W) uint8 train ids."""
    from adl.predict.overlays import shares

    largest = list(shares(labels, CITYSCAPES).items())[:MOST_CLASSES]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest)
