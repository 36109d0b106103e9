"""From label maps to IoU, counted as the official Cityscapes script counts: first count, then divide."""

from __future__ import annotations

import numpy as np

from adl.cityscapes import CATEGORIES, CLASSES, LABELS

_IDS = len(LABELS)
_CLASS_IDS = np.array([label.id for label in CLASSES])


class Confusion:
    """Pixel counts over label ids 0-33: rows are ground truth, columns predictions.

    Only the ground truth decides what is ignored: where it is a class and the prediction is void, that is a false
    negative.
    """

    def __init__(self) -> None:
        self.matrix = np.zeros((_IDS, _IDS), np.int64)

    def add(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count one image; both (H, W) label ids 0-33."""
        if truth.shape != prediction.shape:
            raise ValueError(f"truth is {truth.shape}, prediction {prediction.shape}")
        if max(truth.max(), prediction.max()) >= _IDS:
            raise ValueError(f"label ids beyond {_IDS - 1}")
        pairs = truth.astype(np.int32).ravel() * _IDS + prediction.ravel()
        self.matrix += np.bincount(pairs, minlength=_IDS**2).reshape(_IDS, _IDS)

    def class_iou(self) -> dict[str, float | None]:
        """IoU of each class, 0-1; None where it occurs in neither truth nor prediction."""
        return {label.name: self._iou(np.array([label.id])) for label in CLASSES}

    def category_iou(self) -> dict[str, float | None]:
        """IoU of each category; confusion inside a category counts as correct."""
        return {
            category: self._iou(np.array([label.id for label in CLASSES if label.category == category]))
            for category in CATEGORIES
        }

    def _iou(self, ids: np.ndarray) -> float | None:
        others = np.setdiff1d(_CLASS_IDS, ids)
        true_positive = self.matrix[np.ix_(ids, ids)].sum()
        false_negative = self.matrix[ids].sum() - true_positive
        false_positive = self.matrix[np.ix_(others, ids)].sum()
        union = true_positive + false_negative + false_positive
        return float(true_positive / union) if union else None

    def mean_iou(self) -> float | None:
        return mean(self.class_iou())

    def pixel_accuracy(self) -> float | None:
        """Share of the pixels of the 19 classes that are right."""
        rows = self.matrix[_CLASS_IDS]
        total = rows.sum()
        return float(self.matrix[_CLASS_IDS, _CLASS_IDS].sum() / total) if total else None

    def of_classes(self) -> np.ndarray:
        """(19, 20) counts by train id; the last column holds void predictions."""
        rows = self.matrix[_CLASS_IDS]
        classes = rows[:, _CLASS_IDS]
        return np.column_stack([classes, rows.sum(axis=1) - classes.sum(axis=1)])


def mean(values: dict[str, float | None]) -> float | None:
    """The mean of those that exist, as the official script takes it."""
    counted = [value for value in values.values() if value is not None]
    return sum(counted) / len(counted) if counted else None
