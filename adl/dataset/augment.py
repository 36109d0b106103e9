"""What happens to one training sample: pure functions of the image, the label and a generator."""

from __future__ import annotations

import cv2
import numpy as np

from adl.dataset.descriptor import IGNORE, DatasetDescriptor


class Normalise:
    """Pixels 0-255 to what the network takes: x / 255, minus the data set's mean, over its standard deviation."""

    def __init__(self, dataset: DatasetDescriptor) -> None:
        self.mean = 255 * np.array(dataset.normalise.mean, np.float32)
        self.factor = 1 / (255 * np.array(dataset.normalise.std, np.float32))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 → (H, W, 3) float32, channels in the data set's order."""
        return (image - self.mean) * self.factor


def augment(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    crop_size: int,
    scales: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, scale, pad and crop.

    image: (H, W, 3) uint8 BGR. label: (H, W) uint8, 255 where ignored. scales: the smallest and the largest; the drawn
    one is uniform between them. Returns the same kinds of image and label, crop_size × crop_size.
    """
    if rng.random() < 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    factor = rng.uniform(*scales)
    size = round(label.shape[1] * factor), round(label.shape[0] * factor)
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(np.ascontiguousarray(label), size, interpolation=cv2.INTER_NEAREST)
    # Black pixels that are ignored are added at the bottom and on the right.
    below, right = np.maximum(np.subtract(crop_size, label.shape), 0).tolist()
    image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
    label = cv2.copyMakeBorder(label, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(IGNORE,))
    top, left = rng.integers(np.subtract(label.shape, crop_size), endpoint=True)
    window = np.s_[top : top + crop_size, left : left + crop_size]
    return image[window], label[window]
