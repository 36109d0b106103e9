"""Exported files on raw images, compared with the evaluation of the checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from adl.console import text
from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export.exported import Exported
from adl.files import percent, read_png, replacing_folder, write_png
from adl.metrics import Confusion
from adl.parallel.pool import map_ahead
from adl.prepare import png

AHEAD = 2
"""Images that are decoded before they are needed."""


@dataclasses.dataclass(frozen=True)
class Inference:
    """What was measured. agreement: share of the labels that are as in `evaluate`, 0-1; None without its label maps.

    milliseconds: the usual time of an image, mirror image included; None for a single one, which waits for compilation.
    """

    images: int
    miou: float | None
    agreement: float | None
    milliseconds: float | None

    def metrics(self) -> dict[str, Any]:
        agreement = {} if self.agreement is None else {"agreement": percent(self.agreement)}
        return {"mIOU": percent(self.miou), **agreement, "images": self.images}

    def __str__(self) -> str:
        words = [f"mIOU {text.percentage(percent(self.miou))}"]
        if self.agreement is not None:
            words.append(f"{100 * self.agreement:.4f} % of the labels as in evaluate")
        if self.milliseconds is not None:
            words.append(f"{self.milliseconds:.1f} ms/image")
        return ", ".join(words)


def infer(
    file: Exported,
    frames: list[Frame],
    dataset: DatasetDescriptor,
    mode: Mode,
    *,
    predictions: Path | None,
    reference: Path | None = None,
) -> Inference:
    """Run a file on raw frames, which a thread decodes ahead.

    reference: folder of label maps that the checkpoint gave for the same frames. predictions: folder that receives
    the label-id PNGs; None: they are not kept. Raises AdlError if an image has another size than the file takes.
    """
    file.check_mode(mode)
    confusion, agreement, seconds = Confusion(dataset), [], []
    receiving = replacing_folder(predictions) if predictions else contextlib.nullcontext()
    with receiving as folder:
        samples = map_ahead(lambda frame: read(frame, dataset), frames, threads=1, ahead=AHEAD)
        for frame, image, truth in track(samples, len(frames), f"inferring with {file.name}"):
            start = time.perf_counter()
            try:
                prediction = file.label_maps(image[None], mode)[mode.name][0]
            except AdlError as error:
                raise AdlError(str(error), where=frame.image) from None
            seconds.append(time.perf_counter() - start)
            confusion.add(truth, prediction)
            label_ids = dataset.label_ids[prediction]
            if folder:
                write_png(dataset.prediction_path(folder, frame.name), label_ids)
            if reference:
                expected = _reference(dataset.prediction_path(reference, frame.name))
                agreement.append(float((label_ids == expected).mean()))
    return Inference(
        images=len(frames),
        miou=confusion.mean_iou(),
        agreement=float(np.mean(agreement)) if agreement else None,
        milliseconds=round(1000 * float(np.median(seconds[1:])), 1) if len(seconds) > 1 else None,
    )


def read(frame: Frame, dataset: DatasetDescriptor) -> tuple[Frame, np.ndarray, np.ndarray]:
    """The frame itself, its image (H, W, 3) uint8 and its truth (H, W) uint8 train ids."""
    sample = png.read_frame(frame, dataset)
    return frame, sample.image.decode(), dataset.train_ids[sample.ids]


def _reference(path: Path) -> np.ndarray:
    try:
        return read_png(path)
    except AdlError as error:
        raise AdlError(f"{error} The stage evaluate writes it (`dvc repro evaluate`).") from None
