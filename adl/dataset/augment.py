"""What happens to one training sample: pure functions of the image, the label and a generator."""

from __future__ import annotations

import cv2
import numpy as np

PUBLISHED_SCALES = (0.5, 2.0)
"""Smallest and largest random scale."""


class Normalise:
    """Pixels 0-255 to what the network takes: x / 255, minus mean, over standard deviation.

    mean, std: per channel, in the order of the channels, of values 0-1.
    """

    def __init__(
        self, *, mean: tuple[float, float, float], std: tuple[float, float, float]
    ) -> None:
        self.mean = 255 * np.array(mean, np.float32)
        self.factor = 1 / (255 * np.array(std, np.float32))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 → (H, W, 3) float32, channels in the order of the constants."""
        return (image - self.mean) * self.factor


def augment(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    crop_size: int,
    ignore_label: int,
    scales: tuple[float, float] = PUBLISHED_SCALES,
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, scale, pad and crop.

    image: (H, W, 3) uint8 BGR. label: (H, W) uint8. scales: the smallest and the largest; the drawn one is uniform
    between them. Returns the same kinds of image and label, crop_size × crop_size.
    """
    image, label = mirrored(image, label, rng)
    image, label = scaled(image, label, rng.uniform(*scales))
    image, label = padded(image, label, crop_size, ignore_label)
    return cropped(image, label, crop_size, rng)


def mirrored(
    image: np.ndarray, label: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Left and right exchanged, every second time."""
    if rng.random() < 0.5:
        return image[:, ::-1], label[:, ::-1]
    return image, label


def scaled(image: np.ndarray, label: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Both resized by one factor: the image bicubically, the label to the nearest pixel."""
    width, height = round(image.shape[1] * factor), round(image.shape[0] * factor)
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(
        np.ascontiguousarray(label), (width, height), interpolation=cv2.INTER_NEAREST
    )
    return image, label


def padded(
    image: np.ndarray, label: np.ndarray, size: int, ignore_label: int
) -> tuple[np.ndarray, np.ndarray]:
    """At least size × size: black and ignored pixels are added at the bottom and on the right."""
    below, right = max(size - image.shape[0], 0), max(size - image.shape[1], 0)
    image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    label = cv2.copyMakeBorder(
        label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(ignore_label,)
    )
    return image, label


def cropped(
    image: np.ndarray, label: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of size × size."""
    top = rng.integers(0, image.shape[0] - size, endpoint=True)
    left = rng.integers(0, image.shape[1] - size, endpoint=True)
    window = np.s_[top : top + size, left : left + size]
    return image[window], label[window]
