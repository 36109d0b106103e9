"""Three predictors without a network: what a score must be compared with. They depend on the records only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import percent, replacing
from adl.metrics.confusion import Confusion

BITS = 5
"""Bits of each colour channel that the colour look-up tells apart."""
COLOURS = 2 ** (3 * BITS)


class Tally:
    """How often each of C classes occurs with each colour, and at each position of images of one size.

    counts: "colour" → (C, COLOURS) int64, and (height, width) → (C, height, width) uint32: two bytes would not hold
    the count of 65,536 images.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: dict[str | tuple[int, ...], np.ndarray] = {"colour": np.zeros((classes, COLOURS), np.int64)}

    def add(self, image: np.ndarray, label: np.ndarray) -> None:
        """image: (H, W, 3) uint8 BGR; label: (H, W) uint8 train ids."""
        pairs = np.minimum(label, self.classes).astype(np.int32) * COLOURS + _colour(image)
        # One row more, for all that is no class.
        counts = np.bincount(pairs.ravel(), minlength=(self.classes + 1) * COLOURS)
        self.counts["colour"] += counts.reshape(-1, COLOURS)[: self.classes]
        blank = np.zeros((self.classes, *label.shape), np.uint32)
        for train_id, plane in enumerate(self.counts.setdefault(label.shape, blank)):
            plane += label == train_id

    def merge(self, other: Tally) -> None:
        for kind, counts in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + counts


class Baselines:
    """Constant class, colour look-up and position prior, each the majority of what was counted.

    majority: as `Tally.counts`, the class that was counted most; the constant one where nothing was.
    """

    def __init__(self, tally: Tally) -> None:
        self.constant = int(tally.counts["colour"].sum(axis=1).argmax())
        self.majority = {}
        for kind, counts in tally.counts.items():
            majority = np.where(counts.any(axis=0), counts.argmax(axis=0), self.constant)
            self.majority[kind] = majority.astype(np.uint8)

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Baseline → (H, W) uint8 train ids; the position prior only for an image size that was trained on."""
        size = image.shape[:2]
        predictions = {
            "constant": np.full(size, self.constant, np.uint8),
            "colour": self.majority["colour"][_colour(image)],
        }
        if size in self.majority:
            predictions["position"] = self.majority[size]
        return predictions


@dataclasses.dataclass
class Scores:
    """What was counted on each image of a record, sorted by name.

    counts: baseline → (images, C, C + 1) pixels; zero for an image that the baseline does not predict.
    """

    names: list[str]
    counts: dict[str, np.ndarray]

    @classmethod
    def of_images(cls, counted: Mapping[str, dict[str, np.ndarray]]) -> Scores:
        """counted: name of each image → baseline → (C, C + 1) pixels."""
        scores = cls(sorted(counted), {})
        for place, name in enumerate(scores.names):
            for baseline, counts in counted[name].items():
                if baseline not in scores.counts:
                    scores.counts[baseline] = np.zeros((len(counted), *counts.shape), counts.dtype)
                scores.counts[baseline][place] = counts
        return scores

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            np.savez_compressed(temporary, names=self.names, **self.counts)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Raises AdlError if there are none."""
        try:
            with np.load(path) as file:
                stored = dict(file)
            return cls(stored.pop("names").tolist(), stored)
        except Exception as error:  # a damaged file raises whatever its parser meets
            raise AdlError(f"{path}: cannot be read ({error}). `dvc repro baselines` makes it.") from None

    def metrics(self, dataset: DatasetDescriptor) -> dict[str, Any]:
        return {"images": len(self.names), "mIOU": self.mean_ious(dataset, self.names)}

    def mean_ious(self, dataset: DatasetDescriptor, names: Sequence[str]) -> dict[str, float]:
        """Baseline → its mIOU over these images in percent, if it has one there.

        Raises AdlError if an image is unknown.
        """
        unknown = sorted(set(names).difference(self.names))
        if unknown:
            raise AdlError(
                f"the baselines were not scored on {unknown[0]}: they are of other data. `dvc repro baselines` makes "
                "them again."
            )
        chosen = np.isin(self.names, names)
        scores = {}
        for baseline, counts in self.counts.items():
            score = percent(Confusion(dataset, counts[chosen].sum(axis=0)).mean_iou())
            if score is not None:
                scores[baseline] = score
        return scores


def _colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) uint16 number of the quantised colour."""
    place_values = np.array([2 ** (2 * BITS), 2**BITS, 1], np.uint16)
    return (image >> (8 - BITS)) @ place_values
