"""Three predictors without a network: what a score must be compared with. They depend on the records only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import percent, replacing
from adl.metrics.confusion import Confusion, count_image

BITS = 5
"""Bits of each colour channel that the colour look-up tells apart."""

ImageCounts = tuple[str, dict[str, np.ndarray]]
"""(name, baseline → (C, C + 1) counts) of one image."""


class Tally:
    """How often each of C classes occurs with each colour, and at each position of images of one size.

    by_colour: (C, colours) int64. by_position: (height, width) → (C, height, width) uint32: two bytes would not hold
    the count of 65,536 images.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.by_colour = np.zeros((classes, 2 ** (3 * BITS)), np.int64)
        self.by_position: dict[tuple[int, ...], np.ndarray] = {}

    def add(self, image: np.ndarray, label: np.ndarray) -> None:
        """image: (H, W, 3) uint8 BGR; label: (H, W) uint8 train ids."""
        # One bin more, for all that is no class.
        bins = (self.classes + 1) * 2 ** (3 * BITS)
        pairs = np.minimum(label, self.classes).astype(np.int32) << (3 * BITS) | _colour(image)
        counts = np.bincount(pairs.ravel(), minlength=bins).reshape(self.classes + 1, -1)
        self.by_colour += counts[: self.classes]
        if label.shape not in self.by_position:
            self.by_position[label.shape] = np.zeros((self.classes, *label.shape), np.uint32)
        for train_id, plane in enumerate(self.by_position[label.shape]):
            plane += label == train_id

    def merge(self, other: Tally) -> None:
        self.by_colour += other.by_colour
        for shape, counts in other.by_position.items():
            if shape in self.by_position:
                self.by_position[shape] += counts
            else:
                self.by_position[shape] = counts


class Baselines:
    """Constant class, colour look-up and position prior, each the majority of what was counted."""

    def __init__(self, tally: Tally) -> None:
        self.constant = int(tally.by_colour.sum(axis=1).argmax())
        self.of_colour = _majority(tally.by_colour, self.constant)
        self.of_position = {
            shape: _majority(counts, self.constant) for shape, counts in tally.by_position.items()
        }

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Baseline → (H, W) uint8 train ids; the position prior only for an image size that was trained on."""
        predictions = {
            "constant": np.full(image.shape[:2], self.constant, np.uint8),
            "colour": self.of_colour[_colour(image)],
        }
        if image.shape[:2] in self.of_position:
            predictions["position"] = self.of_position[image.shape[:2]]
        return predictions

    def count(
        self, dataset: DatasetDescriptor, image: np.ndarray, label: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Baseline → (C, C + 1) counts of one image; arguments as `Tally.add`."""
        return {
            name: count_image(dataset, label, predicted)
            for name, predicted in self.predict(image).items()
        }


@dataclasses.dataclass
class Scores:
    """What was counted on each image of a record, sorted by name.

    counts: baseline → (images, C, C + 1) pixels; zero for an image that the baseline does not predict.
    """

    names: list[str]
    counts: dict[str, np.ndarray]

    @classmethod
    def of_images(cls, dataset: DatasetDescriptor, counted: Iterable[ImageCounts]) -> Scores:
        images = dict(sorted(counted, key=lambda image: image[0]))
        nothing = np.zeros_like(Confusion(dataset).counts, np.uint32)
        scores = cls(list(images), {})
        for baseline in ("constant", "colour", "position"):
            counts = [of_image.get(baseline, nothing) for of_image in images.values()]
            if any(baseline in of_image for of_image in images.values()):
                scores.counts[baseline] = np.array(counts)
        return scores

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            np.savez_compressed(temporary, names=self.names, **self.counts)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Raises AdlError if there are none."""
        try:
            with np.load(path) as file:
                stored = {name: file[name] for name in file.files}
            return cls(stored.pop("names").tolist(), stored)
        except Exception as error:  # a damaged file raises whatever its parser meets
            raise AdlError(
                f"{path}: cannot be read ({error}). `dvc repro baselines` makes it."
            ) from None

    def metrics(self, dataset: DatasetDescriptor) -> dict[str, Any]:
        confusions = self.confusions(dataset, self.names)
        miou = {name: percent(confusion.mean_iou()) for name, confusion in confusions.items()}
        return {"images": len(self.names), "mIOU": miou}

    def confusions(self, dataset: DatasetDescriptor, names: Sequence[str]) -> dict[str, Confusion]:
        """Baseline → its counts over these images, if it has a score there. Raises AdlError if one is unknown."""
        places = {name: place for place, name in enumerate(self.names)}
        unknown = [name for name in names if name not in places]
        if unknown:
            raise AdlError(
                f"the baselines were not scored on {unknown[0]}: they are of other data. `dvc repro baselines` makes "
                "them again."
            )
        chosen = [places[name] for name in names]
        confusions = {}
        for name, counts in self.counts.items():
            confusion = Confusion(dataset, counts[chosen].sum(axis=0))
            if confusion.mean_iou() is not None:
                confusions[name] = confusion
        return confusions


def _colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) uint16 number of the quantised colour."""
    blue, green, red = (image[..., channel].astype(np.uint16) >> (8 - BITS) for channel in range(3))
    return blue << (2 * BITS) | green << BITS | red


def _majority(counts: np.ndarray, otherwise: int) -> np.ndarray:
    """Class with the largest count on the first axis; `otherwise` where nothing was counted."""
    return np.where(counts.any(axis=0), counts.argmax(axis=0), otherwise).astype(np.uint8)
