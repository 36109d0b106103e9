"""From label maps to IoU, counted as the official Cityscapes script counts: first count, then divide."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adl.dataset.descriptor import IGNORE, DatasetDescriptor


class Confusion:
    """Pixel counts by train id, added up over images.

    counts: (C, C + 1) int64 of the C classes; rows are ground truth, columns predictions, and the last column holds
    void predictions. Only the ground truth decides what is ignored: where it is a class and the prediction is void,
    that is a false negative.
    """

    def __init__(self, dataset: DatasetDescriptor, counts: np.ndarray | None = None) -> None:
        self.dataset = dataset
        classes = len(dataset.classes)
        blank = np.zeros((classes, classes + 1), np.int64)
        self.counts = blank if counts is None else counts.astype(np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; both (H, W) uint8 train ids, 255 for void. Raises ValueError for any other value."""
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        classes = len(self.dataset.classes)
        for values in (truth, prediction):
            if np.bincount(values.ravel(), minlength=256)[classes:IGNORE].any():
                raise ValueError(f"train ids beyond {classes - 1} that are not {IGNORE}")
        side = classes + 1
        pairs = np.minimum(truth, classes).astype(np.int32) * side + np.minimum(prediction, classes)
        self.counts += np.bincount(pairs.ravel(), minlength=side**2).reshape(side, side)[:classes]

    def class_iou(self) -> dict[str, float | None]:
        """IoU of each class, 0-1; None for one that occurs in neither truth nor prediction."""
        return _existing(self.dataset.class_names, iou(self.counts))

    def category_iou(self) -> dict[str, float | None]:
        """IoU of each category; confusion inside a category counts as correct."""
        categories = [list(train_ids) for train_ids in self.dataset.categories.values()]
        truth = np.array([self.counts[ids].sum(axis=0) for ids in categories])
        predicted = [truth[:, ids].sum(axis=1) for ids in categories]
        merged = np.stack([*predicted, truth[:, -1]], axis=1)
        return _existing(self.dataset.categories, iou(merged))

    def mean_iou(self) -> float | None:
        return mean(self.class_iou())

    def pixel_accuracy(self) -> float | None:
        """Share of the pixels of all classes that are right."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else None

    def mean_accuracy(self) -> float | None:
        """Mean over the classes that occur of the share of their pixels that are right."""
        true, right = self.counts.sum(axis=1), np.diag(self.counts)
        return float((right[true > 0] / true[true > 0]).mean()) if true.any() else None

    def frequency_weighted_iou(self) -> float | None:
        """Mean of the class IoU, each weighted with its class's share of the pixels."""
        true = self.counts.sum(axis=1)
        weighted = true * np.nan_to_num(iou(self.counts))
        return float(sum(weighted) / true.sum()) if true.any() else None


def iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class.

    counts: (..., C, C + 1), as `Confusion.counts`. Returns (..., C) in [0, 1]; NaN for a class that occurs neither in
    the ground truth nor in the prediction.
    """
    among_classes = counts[..., :-1]
    true_positive = np.diagonal(among_classes, axis1=-2, axis2=-1)
    union = counts.sum(axis=-1) + among_classes.sum(axis=-2) - true_positive
    nowhere = np.full(union.shape, np.nan)
    return np.divide(true_positive, union, out=nowhere, where=union > 0)


def _existing(names: Iterable[str], values: np.ndarray) -> dict[str, float | None]:
    """Name → value; None where it is NaN."""
    finite = [None if np.isnan(value) else float(value) for value in values]
    return dict(zip(names, finite, strict=True))


def count_image(
    dataset: DatasetDescriptor, truth: np.ndarray, prediction: np.ndarray
) -> np.ndarray:
    """(C, C + 1) uint32 counts of one image; arguments as `Confusion.add`."""
    confusion = Confusion(dataset)
    confusion.add(truth, prediction)
    return confusion.counts.astype(np.uint32)


def mean(values: dict[str, float | None]) -> float | None:
    """The mean of those that exist, as the official script takes it."""
    existing = [value for value in values.values() if value is not None]
    return sum(existing) / len(existing) if existing else None
