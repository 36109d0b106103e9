"""From label maps to IoU, counted as the official Cityscapes script counts: first count, then divide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adl.cityscapes import CATEGORIES, CLASSES, LABEL_ID, LABELS

_IDS = len(LABELS)
_CLASS_IDS = np.array([label.id for label in CLASSES])
DRAWS = 1000
"""Resamplings of a bootstrap."""


class Confusion:
    """Pixel counts over label ids 0-33: rows are ground truth, columns predictions.

    Only the ground truth decides what is ignored: where it is a class and the prediction is void, that is a false
    negative.
    """

    def __init__(self, matrix: np.ndarray | None = None) -> None:
        self.matrix = np.zeros((_IDS, _IDS), np.int64) if matrix is None else matrix.astype(np.int64)

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

    def mean_accuracy(self) -> float | None:
        """Mean over the classes that occur of the share of their pixels that are right."""
        counts = self.of_classes()
        true, right = counts.sum(axis=1), np.diag(counts)
        return float((right[true > 0] / true[true > 0]).mean()) if true.any() else None

    def frequency_weighted_iou(self) -> float | None:
        """Mean of the class IoU, each weighted with its class's share of the pixels."""
        true = self.of_classes().sum(axis=1)
        weighted = [n * (iou or 0.0) for n, iou in zip(true, self.class_iou().values(), strict=True)]
        return float(sum(weighted) / true.sum()) if true.any() else None

    def of_classes(self) -> np.ndarray:
        """(19, 20) counts by train id; the last column holds void predictions."""
        rows = self.matrix[_CLASS_IDS]
        classes = rows[:, _CLASS_IDS]
        return np.column_stack([classes, rows.sum(axis=1) - classes.sum(axis=1)])


def count_image(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """(34, 34) uint32 counts of one image; both (H, W) uint8 train ids."""
    confusion = Confusion()
    confusion.add(LABEL_ID[truth], LABEL_ID[prediction])
    return confusion.matrix.astype(np.uint32)


def mean(values: dict[str, float | None]) -> float | None:
    """The mean of those that exist, as the official script takes it."""
    counted = [value for value in values.values() if value is not None]
    return sum(counted) / len(counted) if counted else None


def bootstrap(of_images: Sequence[np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """mIOU of resamplings of the images, to tell how much it depends on which images were taken.

    of_images: one or more arrays (images, 34, 34) of counts, of the same images in the same order; each scores at least
    one class. Returns (len(of_images), draws) fractions; a column is one resampling, the same for all: what a paired
    comparison needs. The classes that are counted are those of the whole: one that a resampling lacks keeps its IoU.
    """
    images = len(of_images[0])
    # How often each image is drawn, in each resampling.
    times = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)
    return np.array([_mean_ious(times, matrices) for matrices in of_images])


def _mean_ious(times: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """times: (draws, images); matrices: (images, 34, 34). Returns (draws,)."""
    counts = np.array([Confusion(matrix).of_classes() for matrix in matrices], np.float64)
    summed = (times @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    of_whole = _class_ious(counts.sum(axis=0, keepdims=True))
    iou = _class_ious(summed)
    # Left out, a rare class would move the mean by being absent, which says nothing about the network.
    iou = np.where(np.isnan(iou), of_whole, iou)
    return iou[:, ~np.isnan(of_whole[0])].mean(axis=1)


def _class_ious(counts: np.ndarray) -> np.ndarray:
    """counts: (n, 19, 20), as `Confusion.of_classes`. Returns (n, 19); NaN where a class occurs nowhere."""
    of_classes = counts[..., : len(CLASSES)]
    true_positive = np.einsum("nii->ni", of_classes)
    union = counts.sum(axis=2) + of_classes.sum(axis=1) - true_positive
    return np.divide(true_positive, union, out=np.full_like(union, np.nan), where=union > 0)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the samples of a bootstrap."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)
