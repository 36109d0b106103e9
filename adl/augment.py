"""What happens to one training sample: pure functions of the image, the label and a generator."""

from __future__ import annotations

import cv2
import numpy as np

from adl.cityscapes import MEAN, STD

SCALES = (0.5, 2.0)
"""Smallest and largest random scale, as published."""
_MEAN = 255 * np.array(MEAN, np.float32)
_FACTOR = 1 / (255 * np.array(STD, np.float32))


def normalise(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 BGR → float32: x / 255, minus mean, over standard deviation, constants in the order given."""
    return (image - _MEAN) * _FACTOR


def augment(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    crop_size: int,
    ignore_label: int,
    scales: tuple[float, float] = SCALES,
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, scale, pad and crop.

    image: (H, W, 3) uint8 BGR. label: (H, W) uint8. scales: the smallest and the largest; the drawn one is uniform
    between them. Returns the same kinds of image and label, crop_size × crop_size.
    """
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    factor = rng.uniform(*scales)
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(np.ascontiguousarray(label), size, interpolation=cv2.INTER_NEAREST)
    below, right = max(crop_size - size[1], 0), max(crop_size - size[0], 0)
    image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    label = cv2.copyMakeBorder(label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(ignore_label,))
    top = rng.integers(0, image.shape[0] - crop_size, endpoint=True)
    left = rng.integers(0, image.shape[1] - crop_size, endpoint=True)
    window = np.s_[top : top + crop_size, left : left + crop_size]
    return image[window], label[window]
