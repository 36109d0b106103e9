"""How much a score depends on which images were taken: resampling them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adl.metrics.confusion import iou

DRAWS = 1000
"""Resamplings."""


def bootstrap(per_image: Sequence[np.ndarray]) -> np.ndarray:
    """mIOU of resamplings of the images.

    per_image: one or more arrays (images, C, C + 1) of counts (`Confusion.counts`), of the same images in the same
    order; each scores at least one class. The classes that are counted are those of all images: one that a resampling
    lacks keeps its IoU.
    Returns (len(per_image), DRAWS) fractions; a column is one resampling, the same for all: what a paired comparison
    needs.
    """
    images = len(per_image[0])
    # How often each image is drawn, in each resampling.
    times = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=DRAWS)
    samples = []
    for counts in per_image:
        summed = times.astype(np.float64) @ counts.reshape(images, -1).astype(np.float64)
        ious = iou(summed.reshape(DRAWS, *counts.shape[1:]))
        # Left out, a rare class would move the mean by being absent, which says nothing about the network.
        of_all = iou(counts.sum(axis=0))
        ious = np.where(np.isnan(ious), of_all, ious)
        samples.append(ious[:, ~np.isnan(of_all)].mean(axis=1))
    return np.array(samples)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the samples of a bootstrap."""
    low, high = np.percentile(samples, (2.5, 97.5)).tolist()
    return low, high
