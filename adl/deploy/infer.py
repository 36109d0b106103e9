"""The exported file on raw images, compared with the evaluation of the checkpoint."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from adl import inference, runtime
from adl.artifacts import percent, read_png, replacing_folder, write_png
from adl.console import text
from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.deploy import exported
from adl.errors import AdlError
from adl.inference import Mode
from adl.intake import png
from adl.scoring import Confusion


@dataclasses.dataclass
class Inference:
    metrics: dict[str, Any]
    speed: dict[str, Any]


def infer(
    mindir: Path,
    frames: list[Frame],
    dataset: DatasetDescriptor,
    *,
    device_target: str,
    flip: bool,
    reference: Path,
    predictions: Path,
) -> Inference:
    """Run a MINDIR on raw frames.

    reference: folder of label maps that the checkpoint gave for the same frames. predictions: folder that receives
    the label-id PNGs. Raises AdlError if an image has another size than the file takes.
    """
    size = exported.input_size(mindir)
    runtime.start(device_target)
    passes = {1.0: exported.load(mindir)}
    mode = Mode(mirror=flip)
    confusion, agreement, seconds = Confusion(dataset), [], []
    with replacing_folder(predictions) as folder:
        for frame in track(frames, len(frames), "inferring"):
            content, label_ids = png.read_frame(frame, dataset)
            image = png.decode_image(content, frame.image, dataset)
            _check_size(frame, image, mindir, size)
            start = time.perf_counter()
            prediction = inference.label_maps(passes, image[None], mode)[mode.name][0]
            seconds.append(time.perf_counter() - start)
            confusion.add(dataset.train_ids[label_ids], prediction)
            written = dataset.label_ids[prediction]
            write_png(dataset.prediction_path(folder, frame.name), written)
            expected = _reference(dataset.prediction_path(reference, frame.name))
            agreement.append(float((written == expected).mean()))
    # The first image waits for the compilation: for a single one there is no usual time.
    usual = round(1000 * float(np.median(seconds[1:])), 1) if len(seconds) > 1 else None
    return Inference(
        metrics={
            "mIOU": percent(confusion.mean_iou()),
            "agreement": percent(float(np.mean(agreement))),
            "images": len(frames),
        },
        speed={"ms_per_image": usual, **runtime.machine(device_target)},
    )


def _check_size(
    frame: Frame, image: np.ndarray, mindir: Path, size: tuple[int, int] | None
) -> None:
    height, width = image.shape[:2]
    if size and (height, width) != size:
        raise AdlError(
            f"{frame.image}: is {text.size(height, width)} pixels, but {mindir} takes {text.size(*size)} (width × "
            "height). Set export_height and export_width to the size of the images."
        )


def _reference(path: Path) -> np.ndarray:
    try:
        return read_png(path)
    except AdlError as error:
        raise AdlError(f"{error} The stage evaluate writes it (`dvc repro evaluate`).") from None
