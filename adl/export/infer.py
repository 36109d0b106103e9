"""Exported files on raw images, compared with the evaluation of the checkpoint."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, NamedTuple

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
from adl.prepare import images
from adl.prepare.labels import LabelFiles


class Inference(NamedTuple):
    """What was measured. metrics: mIOU and images; with label maps of `evaluate` also the share of equal labels.

    milliseconds: the usual time of an image, mirror image included; None for a single one, which waits for compilation.
    """

    metrics: dict[str, Any]
    milliseconds: float | None

    def __str__(self) -> str:
        words = [f"mIOU {text.percentage(self.metrics['mIOU'])}"]
        if "agreement" in self.metrics:
            words.append(f"{self.metrics['agreement']:.4f} % of the labels as in evaluate")
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
    the label-id PNGs; None: they are not kept. Raises AdlError if an image has another size than the file takes, or if
    the file was trained on other classes.
    """
    file.check_mode(mode)
    if file.dataset.class_names != dataset.class_names:
        raise AdlError(
            f"{file.name}: was trained on {file.dataset.title}, whose classes are not those of {dataset.title}."
        )
    files = LabelFiles(frames, dataset)
    confusion, agreement, seconds = Confusion(dataset), [], []
    receiving = replacing_folder(predictions) if predictions else contextlib.nullcontext()
    with receiving as folder:
        samples = map_ahead(lambda frame: read(frame, files), frames, threads=1)
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
                agreement.append((label_ids == expected).mean())
    metrics: dict[str, Any] = {"mIOU": percent(confusion.mean_iou())}
    if reference:
        metrics["agreement"] = percent(float(np.mean(agreement)))
    metrics["images"] = len(frames)
    milliseconds = round(1000 * float(np.median(seconds[1:])), 1) if len(seconds) > 1 else None
    return Inference(metrics, milliseconds)


def read(frame: Frame, files: LabelFiles) -> tuple[Frame, np.ndarray, np.ndarray]:
    """The frame itself, its image (H, W, 3) uint8 and its truth (H, W) uint8 train ids."""
    image, label = files.read_frame(frame)
    return frame, images.decode(image, files.dataset.images), label.train_ids


def _reference(path: Path) -> np.ndarray:
    try:
        return read_png(path)
    except AdlError as error:
        raise AdlError(f"{error} The stage evaluate writes it (`dvc repro evaluate`).") from None
