"""From label maps to IoU, counted as the official Cityscapes script counts: first count, then divide."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from adl.dataset.descriptor import IGNORE, DatasetDescriptor


class Confusion:
    """Pixel counts by train id, added up over images.

    counts: (C, C + 1) int64 of the C classes; rows are ground truth, columns predictions, and the last column holds
    void predictions. Only the ground truth decides what is ignored: where it is a class and the prediction is void,
    that is a false negative.
    """

    def __init__(self, dataset: DatasetDescriptor, counts: np.ndarray | int = 0) -> None:
        self.dataset = dataset
        classes = len(dataset.classes)
        self.counts = np.full((classes, classes + 1), counts, np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; arguments as `count_image`."""
        self.counts += count_image(self.dataset, truth, prediction)

    def class_iou(self) -> dict[str, float | None]:
        """IoU of each class, 0-1; None for one that occurs in neither truth nor prediction."""
        return _existing(self.dataset.class_names, iou(self.counts))

    def category_iou(self) -> dict[str, float | None]:
        """IoU of each category, of which there may be none; confusion inside a category counts as correct."""
        names = self.dataset.categories
        if not names:
            return {}
        of_class = [names.index(label.category) for label in self.dataset.classes]
        merged = np.zeros((len(names), len(names) + 1), np.int64)
        np.add.at(merged, np.ix_(of_class, [*of_class, -1]), self.counts)
        return _existing(names, iou(merged))

    def mean_iou(self) -> float | None:
        return mean(self.class_iou())

    def accuracies(self) -> dict[str, float | None]:
        """Other scores by their names in metrics/evaluate.json; None if no pixel belongs to a class.

        pixel_accuracy: share of the pixels of all classes that are right. mean_accuracy: mean over the classes that
        occur of that share. frequency_weighted_IOU: mean of the class IoU, each weighted with its share of the pixels.
        """
        true, right = self.counts.sum(axis=1), np.diag(self.counts)
        occurs, total = true > 0, true.sum()
        if not total:
            return dict.fromkeys(("pixel_accuracy", "mean_accuracy", "frequency_weighted_IOU"))
        return {
            "pixel_accuracy": float(right.sum() / total),
            "mean_accuracy": float((right[occurs] / true[occurs]).mean()),
            "frequency_weighted_IOU": float(sum(true * np.nan_to_num(iou(self.counts))) / total),
        }


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class.

    counts: (..., C, C + 1), as `Confusion.counts`. Returns (..., C) in [0, 1]; NaN for a class that occurs neither in
    the ground truth nor in the prediction.
    """
    among_classes = counts[..., :-1]
    true_positive = np.diagonal(among_classes, axis1=-2, axis2=-1)
    union = counts.sum(axis=-1) + among_classes.sum(axis=-2) - true_positive
    return np.divide(true_positive, union, out=np.full(union.shape, np.nan), where=union > 0)


def _existing(names: Iterable[str], values: np.ndarray) -> dict[str, float | None]:
    """Name → value; None where it is NaN."""
    return {name: None if math.isnan(value) else value for name, value in zip(names, values.tolist(), strict=True)}


def count_image(dataset: DatasetDescriptor, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(C, C + 1) uint32 counts of one image, as `Confusion.counts`.

    truth, prediction: (H, W) uint8 train ids, 255 for void. Raises ValueError for any other value.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
    pairs = truth.astype(np.int32) * 256 + prediction
    counts = np.bincount(pairs.ravel(), minlength=256**2).reshape(256, 256)
    classes = len(dataset.classes)
    if counts[classes:IGNORE].any() or counts[:, classes:IGNORE].any():
        raise ValueError(f"train ids beyond {classes - 1} that are not {IGNORE}")
    return counts[:classes, [*range(classes), IGNORE]].astype(np.uint32)


def mean(values: dict[str, float | None]) -> float | None:
    """The mean of those that exist, as the official script takes it."""
    existing = [value for value in values.values() if value is not None]
    return sum(existing) / len(existing) if existing else None
