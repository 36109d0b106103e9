"""Three predictors without a network: what a score must be compared with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from adl.cityscapes import CLASSES, LABEL_ID
from adl.scoring import Confusion

_CLASSES = len(CLASSES)
_BITS = 5  # of each colour channel


class Baselines:
    """Constant class, colour look-up and position prior, each the majority in the training split."""

    def __init__(self, samples: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
        """samples: (name, image (H, W, 3) uint8 BGR, label (H, W) uint8 train ids)."""
        by_colour = np.zeros((2 ** (3 * _BITS), _CLASSES), np.int64)
        by_position: dict[tuple[int, ...], np.ndarray] = {}
        for _, image, label in samples:
            valid = label < _CLASSES
            pairs = _colour(image)[valid] * _CLASSES + label[valid]
            by_colour += np.bincount(pairs, minlength=by_colour.size).reshape(by_colour.shape)
            counts = by_position.setdefault(label.shape, np.zeros((*label.shape, _CLASSES), np.uint16))
            rows, columns = np.nonzero(valid)
            counts[rows, columns, label[valid]] += 1
        self.constant = int(by_colour.sum(axis=0).argmax())
        self.of_colour = _majority(by_colour, self.constant)
        self.of_position = {shape: _majority(counts, self.constant) for shape, counts in by_position.items()}

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Baseline → (H, W) uint8 train ids; the position prior only for an image size that was trained on."""
        predictions = {
            "constant": np.full(image.shape[:2], self.constant, np.uint8),
            "colour": self.of_colour[_colour(image)],
        }
        if image.shape[:2] in self.of_position:
            predictions["position"] = self.of_position[image.shape[:2]]
        return predictions


def score(baselines: Baselines, samples: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, Confusion]:
    """Baseline → its counts over some samples, as `Baselines` takes them."""
    confusions: dict[str, Confusion] = {}
    for _, image, label in samples:
        for name, prediction in baselines.predict(image).items():
            confusions.setdefault(name, Confusion()).add(LABEL_ID[label], LABEL_ID[prediction])
    return confusions


def _colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) int32 number of the quantised colour."""
    coarse = (image >> (8 - _BITS)).astype(np.int32)
    return (coarse[..., 0] << (2 * _BITS)) | (coarse[..., 1] << _BITS) | coarse[..., 2]


def _majority(counts: np.ndarray, otherwise: int) -> np.ndarray:
    """Class with the largest count on the last axis; `otherwise` where nothing was counted."""
    return np.where(counts.any(axis=-1), counts.argmax(axis=-1), otherwise).astype(np.uint8)
