"""Label maps as people look at them: overlays, shares of the classes."""

from __future__ import annotations

import numpy as np

from adl.dataset.descriptor import DatasetDescriptor


def overlay(image: np.ndarray, labels: np.ndarray, dataset: DatasetDescriptor) -> np.ndarray:
    """image: (H, W, 3) uint8 BGR. labels: (H, W) uint8 train ids. Returns RGB: half the image, half the palette."""
    return image[..., ::-1] // 2 + dataset.palette[labels] // 2


def shares(labels: np.ndarray, dataset: DatasetDescriptor) -> dict[str, float]:
    """Class → share of the pixels of a label map, 0-1; the largest first, without classes that do not occur."""
    # Row by row, because NumPy makes numbers of eight bytes of all that it counts.
    of_rows = [np.bincount(row, minlength=256) for row in labels]
    pixels = np.sum(of_rows, axis=0)[: len(dataset.classes)]
    return {
        dataset.class_names[i]: float(pixels[i] / labels.size) for i in np.argsort(-pixels, kind="stable") if pixels[i]
    }
