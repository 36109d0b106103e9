"""A trained model for Python programs and notebooks: what `adl.load` returns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adl.config import params as schema
from adl.config.params import Params
from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import percent, write_png
from adl.metrics import Confusion
from adl.parallel.pool import map_ahead
from adl.predict import overlays, photographs
from adl.predict.predictor import Predictor
from adl.prepare import images
from adl.prepare.labels import LabelFiles
from adl.prepare.layout import Split

Image = str | Path | bytes | np.ndarray
"""A path, the bytes of a file, or (H, W, 3) uint8 RGB."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of an image; a notebook shows it.

    labels: (H, W) uint8, train ids: indices of `classes`. probabilities: (classes, H, W) float32, if they were asked
    for. image: (H, W, 3) uint8 RGB.
    """

    labels: np.ndarray
    image: np.ndarray
    dataset: DatasetDescriptor
    probabilities: np.ndarray | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.class_names

    @property
    def shares(self) -> dict[str, float]:
        """Class → share of the pixels, 0-1, the largest first; without classes that do not occur."""
        return overlays.shares(self.labels, self.dataset)

    def overlay(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB: half the image, half the classes' colours."""
        return overlays.overlay(self.image[..., ::-1], self.labels, self.dataset)

    def save(self, path: str | Path) -> None:
        """Write the label map as a grey PNG of the numbers that the data set's label files have."""
        write_png(Path(path), self.dataset.label_ids[self.labels])

    def _repr_png_(self) -> bytes:
        return cv2.imencode(".png", self.overlay()[..., ::-1])[1].tobytes()


class Model:
    """A checkpoint or an exported file, ready to predict."""

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self._predictor, self.path = predictor, path

    @classmethod
    def load(cls, path: str | Path, params: str | Path | Params | None = None) -> Model:
        """See `adl.load`."""
        if not isinstance(params, Params | None):
            params = schema.load(params)
        return cls(Predictor.load(Path(path), device_target="CPU", flip=True, params=params), Path(path))

    @property
    def dataset(self) -> DatasetDescriptor:
        """What it was trained on."""
        return self._predictor.dataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, by train id."""
        return self.dataset.class_names

    def predict(self, image: Image, *, probabilities: bool = False) -> Prediction:
        """Label an image of any size, averaged over it and its mirror image.

        Raises AdlError if the image cannot be read, or if the file gives no probabilities.
        """
        pixels = _pixels(image)
        found = self._predictor.probabilities(pixels) if probabilities else None
        labels = self._predictor(pixels) if found is None else found.argmax(axis=0).astype(np.uint8)
        return Prediction(labels, pixels[..., ::-1], self.dataset, found)

    def evaluate(self, data_path: str | Path, split: str = "val") -> dict[str, Any]:
        """Score it on a labelled split of the data set that it was trained on.

        data_path: its folder. Returns `mIOU`, `class_IOU` (class → IoU), `pixel_accuracy` and the like, in percent,
        None where nothing is scored, and `images`. Raises AdlError if a file is missing or faulty.
        """
        self.dataset.check_labelled(split)
        frames = Split(Path(data_path), split, self.dataset).passed().frames
        files = LabelFiles(frames, self.dataset)
        confusion = Confusion(self.dataset)
        for image, label in track(map_ahead(files.read_frame, frames, threads=1), len(frames), "evaluating"):
            confusion.add(label.train_ids, self._predictor(images.decode(image, self.dataset.images)))
        return {
            "mIOU": percent(confusion.mean_iou()),
            **{name: percent(value) for name, value in confusion.accuracies().items()},
            "class_IOU": {name: percent(value) for name, value in confusion.class_iou().items()},
            "images": len(frames),
        }


def _pixels(image: Image) -> np.ndarray:
    """(H, W, 3) uint8 BGR."""
    if isinstance(image, str | Path):
        return photographs.read(Path(image)).pixels
    if isinstance(image, bytes):
        return photographs.decode(image).pixels
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise AdlError("an image is a path, the bytes of a file, or an array (H, W, 3) of uint8, RGB.")
    return np.ascontiguousarray(image[..., ::-1])
