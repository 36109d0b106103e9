"""label photographs, every one in a folder, or a video, with a trained model

reads:  images of any size (EXIF orientation respected), videos, a checkpoint or an exported file with its sidecar
writes: for each image <name>_labelIds.png (label ids), <name>_color.png (palette), <name>_overlay.png (both blended),
        the last two of a very large one only with --overlay; for each video <name>_overlay.mp4, frame by frame
A file that cannot be read, or a video that is cut short, does not keep the others from being labelled; the exit code is
then 2, and they are named.

example: adl predict photo.jpg --model models/autodeeplab.mindir --output labelled
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from adl.commands.parameters import device
from adl.config import params
from adl.console import text
from adl.console.progress import track
from adl.errors import AdlError
from adl.export import provenance
from adl.export.runtimes import BACKENDS
from adl.files import check_output, write_png, write_png_by_rows
from adl.workspace import CHECKPOINT, PARAMS, PREDICTIONS, as_path, sidecar

if TYPE_CHECKING:
    from adl.predict.photographs import Found, Photograph
    from adl.predict.predictor import Predictor
    from adl.predict.videos import Encoding, Video

LONGEST_SIDE = 2048
"""Pixels; the width of Cityscapes. A larger photograph shows its objects larger than any that were trained on."""
MOST_PIXELS = 100_000_000
"""Of an image whose overlay is written unasked: one of 400 million pixels took 630 MB, its label ids 42 MB."""


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
    command.add_argument(
        "--overlay",
        action="store_true",
        help=f"palette and overlay of images of more than {MOST_PIXELS // 10**6} megapixels, too",
    )
    add_size_arguments(command)


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """What `load_predictor` reads."""
    command.set_defaults(multiscale=False, longest_side=math.inf, window=[0, 0])
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
    command.add_argument("--no-flip", action="store_true", help="half the work: do not average with the mirror image")


def add_size_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--longest-side",
        type=int,
        default=None,
        metavar="PIXELS",
        help="larger images are scaled down to it for the network, the result up again; not for a MINDIR; default: "
        f"{LONGEST_SIDE}, with windows none",
    )
    command.add_argument(
        "--window",
        type=int,
        nargs=2,
        default=None,
        metavar=("HEIGHT", "WIDTH"),
        help="cut images of any size into overlapping windows, and average; 0 0: whole images; default: eval_window of "
        "params.yaml, if there is one",
    )


def choose_model(arguments: argparse.Namespace) -> None:
    """In place of a `--model` that was not given, name the fastest file that gives the checkpoint's results.

    Raises AdlError for a `--longest-side` that is too small, or that the model has no use for.
    """
    if arguments.model is None:
        # An ONNX file has a single scale, and runs on a CPU only.
        arguments.model = CHECKPOINT
        if arguments.device == "CPU" and not arguments.multiscale:
            arguments.model = provenance.fastest()
    longest_side = arguments.longest_side
    if longest_side in (math.inf, None):
        return
    if longest_side < params.SMALLEST_SIDE:
        raise AdlError(f"--longest-side: {longest_side} is less than {params.SMALLEST_SIDE} pixels.")
    if arguments.model.suffix == ".mindir":
        raise AdlError(
            "--longest-side: a MINDIR has a fixed input size, to which every image is scaled; use a checkpoint."
        )


def params_for(model: Path) -> params.Params | None:
    """Only a checkpoint without a sidecar, one of 2021, takes its architecture from params.yaml."""
    if sidecar(model).exists() or not PARAMS.exists():
        return None
    return params.load()


def chosen_window(arguments: argparse.Namespace) -> list[int] | None:
    """Of `--window`, or else of params.yaml. Raises AdlError for one that is too small."""
    if arguments.window is None:
        return params.load().eval_window if PARAMS.exists() else None
    if not any(arguments.window):
        return None
    least = min(arguments.window)
    if least < params.SMALLEST_SIDE:
        raise AdlError(f"--window: {least} is less than {params.SMALLEST_SIDE} pixels.")
    return arguments.window


def load_predictor(arguments: argparse.Namespace, *, one_size: bool = False) -> Predictor:
    """What the arguments of `add_model_arguments` name. one_size: as in `Predictor.load`."""
    from adl.predict.predictor import Predictor

    window = chosen_window(arguments)
    predictor = Predictor.load(
        arguments.model,
        device_target=arguments.device,
        flip=not arguments.no_flip,
        multiscale=arguments.multiscale,
        window=window,
        longest_side=arguments.longest_side or (math.inf if window else LONGEST_SIDE),
        params=params_for(arguments.model),
        one_size=one_size,
        backend=arguments.backend,
    )
    print(f"model: {arguments.model}, {provenance.summary(arguments.model)}", flush=True)
    return predictor


def run(arguments: argparse.Namespace) -> None:
    from adl.predict import photographs

    choose_model(arguments)
    check_output(arguments.output, folder=True)
    found = photographs.find(arguments.paths)
    for line in found.left_out():
        print(line, flush=True)
    results = output_files(found, arguments.output)
    for fault in dict.fromkeys(found.faults.values()):
        print(f"error: {fault}", file=sys.stderr, flush=True)
    predictor = None
    for path, label in _readable(found, with_overlays=arguments.overlay):
        predictor = predictor or load_predictor(arguments)
        with _noted(path, found):
            label(predictor, results[path])
    if predictor:
        labelled = len(results.keys() - found.faults.keys())
        total = text.counted(len(results), "image or video", "images and videos")
        print(f"{labelled} of {total} labelled: {arguments.output}")
    if found.faults:
        raise AdlError(f"not labelled, or only in part: {', '.join(map(str, found.faults))}.")


@contextlib.contextmanager
def _noted(path: Path, found: Found) -> Iterator[None]:
    """What is wrong with one file is said at once, and keeps no other from being labelled."""
    try:
        yield
    except AdlError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        found.faults[path] = str(error)


def _readable(
    found: Found,
    *,
    with_overlays: bool,
) -> Iterator[tuple[Path, Callable[[Predictor, list[Path]], None]]]:
    """Each file that can be read, when its turn comes, and what labels it; the others are noted."""
    from adl.predict import photographs, videos

    images = [path for path in found.images if path not in found.faults]
    for path in track(images, len(images), "predicting"):
        with _noted(path, found):
            photograph = photographs.read(path)
            has_overlay = with_overlays or photograph.pixels.size <= 3 * MOST_PIXELS
            yield path, functools.partial(_label_photograph, path, photograph, has_overlay)
    for path in found.unlike_images:
        if path not in found.faults:
            with _noted(path, found):
                clip = videos.Video.open(path)
                yield path, functools.partial(_label_video, clip, videos.Encoding.like(clip))


def _label_photograph(
    path: Path,
    photograph: Photograph,
    has_overlay: bool,
    predictor: Predictor,
    results: list[Path],
) -> None:
    from adl.predict.overlays import overlay, shares

    dataset, pixels = predictor.dataset, photograph.pixels
    labels = predictor(pixels)
    ids, colours, blended = results
    # As `label_ids[labels]`, which would take eight bytes a pixel.
    write_png(ids, cv2.LUT(labels, dataset.label_ids))
    told = [text.size(*labels.shape)]
    if has_overlay:
        write_png_by_rows(colours, labels.shape, lambda rows: dataset.palette[labels[rows]])
        write_png_by_rows(blended, labels.shape, lambda rows: overlay(pixels[rows], labels[rows], dataset))
    else:
        told.append("label ids only (--overlay writes the rest)")
    if photograph.used_bits:
        told.append(f"{photograph.used_bits} of 16 bits are used")
    # The three largest classes.
    for name, share in list(shares(labels, dataset).items())[:3]:
        told.append(f"{name} {100 * share:.0f} %")
    print(f"{path}: {', '.join(told)}", flush=True)


def _label_video(clip: Video, encoding: Encoding, predictor: Predictor, results: list[Path]) -> None:
    from adl.predict import videos
    from adl.predict.overlays import overlay

    overlays = (
        overlay(frame, predictor(frame), predictor.dataset)
        for frame in track(clip, clip.frames, f"predicting {clip.path.name}", unit="frames")
    )
    written = encoding.write(results[0], overlays)
    count, rate = text.counted(written, "frame"), f"{encoding.rate:g}"
    if written != clip.frames:
        count += f" (its header states {clip.frames})"
    if encoding.rate != clip.rate:
        rate += f" (its header states {clip.rate:g}, which no MP4 can have)"
    print(
        f"{clip.path}: {count}, {rate} per second, without sound, as {videos.CODECS[encoding.codec]}",
        flush=True,
    )
    clip.check_complete(written)


def output_files(found: Found, output: Path) -> dict[Path, list[Path]]:
    """Image or video → the files below the output folder that hold its results.

    Two that would write one file become faults. Raises AdlError if a result would be written over an input, or over
    what no earlier run can have written.
    """
    found_files = found.images | found.unlike_images
    inputs = set(map(os.path.realpath, found_files))
    writers: dict[str, Path] = {}
    results = {}
    for path, files in found_files.items():
        results[path] = [output / file for file in files]
        first = results[path][0]
        if not first.name.startswith(path.stem):
            print(f"{path}: too long a name for its results, which are called {first.name} …")
        for result in results[path]:
            place = os.path.realpath(result)
            # The first is written first: without it the others are somebody else's.
            if place in inputs or (result.exists() and not first.exists()):
                raise AdlError(f"{path}: a result would be written over {result}; name another --output.")
            rival = writers.setdefault(place, path)
            if rival != path:
                fault = f"{rival} and {path} would write the same files; rename one."
                found.faults |= {rival: fault, path: fault}
    return results
