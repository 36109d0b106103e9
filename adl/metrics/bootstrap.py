"""How much a score depends on which images were taken: resampling them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adl.metrics.confusion import iou

DRAWS = 1000
"""Resamplings."""


def bootstrap(per_image: Sequence[np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """mIOU of resamplings of the images.

    per_image: one or more arrays (images, C, C + 1) of counts (`Confusion.counts`), of the same images in the same
    order; each scores at least one class. The classes that are counted are those of all images: one that a resampling
    lacks keeps its IoU.
    Returns (len(per_image), draws) fractions; a column is one resampling, the same for all: what a paired comparison
    needs.
    """
    images = len(per_image[0])
    # How often each image is drawn, in each resampling.
    times = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=draws)
    return np.array([_mean_ious(times.astype(np.float64), counts) for counts in per_image])


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the samples of a bootstrap."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return float(low), float(high)


def _mean_ious(times: np.ndarray, per_image: np.ndarray) -> np.ndarray:
    """times: (draws, images); per_image: (images, C, C + 1). Returns (draws,)."""
    counts = per_image.astype(np.float64)
    summed = (times @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    iou_of_all = iou(counts.sum(axis=0))
    ious = iou(summed)
    # Left out, a rare class would move the mean by being absent, which says nothing about the network.
    ious = np.where(np.isnan(ious), iou_of_all, ious)
    return ious[:, ~np.isnan(iou_of_all)].mean(axis=1)
