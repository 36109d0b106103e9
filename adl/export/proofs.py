"""What is known of an exported file: that it equals the checkpoint, or how much mIOU its 8 bits lose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from adl.console.text import counted
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import percent
from adl.metrics import Confusion
from adl.metrics.bootstrap import bootstrap, interval

LARGEST_DIFFERENCE = 1e-4
LEAST_AGREEMENT = 0.9999
ROUNDING = 1e-5
"""What float32 may lose on its way through the network, as a share of the largest logit.

A probability moves by up to half of what the logits move by. Where no logit is above 20, this allows no more than
LARGEST_DIFFERENCE; a network that had hardly trained had logits of 4e9, and lost 2e-6 of them.
"""
MOST_POINTS_LOST = 1.0
LEAST_AGREEMENT_IN_8_BITS = 0.9
"""A bad network can give other labels in 8 bits and score the same: such a file does not stand for the checkpoint."""


@dataclasses.dataclass(frozen=True)
class Equality:
    """How far a file is from the checkpoint.

    difference: the largest one of a probability; None for a file that returns labels. agreement: share of equal labels.
    largest_logit: of the checkpoint's network, where difference is above LARGEST_DIFFERENCE.
    """

    images: int
    difference: float | None
    agreement: float
    largest_logit: float | None = None

    @property
    def allowed(self) -> float:
        return max(LARGEST_DIFFERENCE, ROUNDING * (self.largest_logit or 0) / 2)

    @property
    def holds(self) -> bool:
        # NaN is neither above nor below anything.
        is_equal = self.difference is None or self.difference <= self.allowed
        return is_equal and self.agreement >= LEAST_AGREEMENT

    @property
    def fault(self) -> str:
        return (
            f"the exported file does not reproduce the checkpoint's results on {counted(self.images, 'image')}: {self} "
            f"(at most {self.allowed:.2g}, at least {100 * LEAST_AGREEMENT:g} %)"
        )

    def __str__(self) -> str:
        labels = f"equal labels {percent(self.agreement):.4f} %"
        if self.difference is None:
            return labels
        return f"largest difference of a probability {self.difference:.2g}, {labels}"

    def metrics(self) -> dict[str, float | int | None]:
        values: dict[str, float | int | None] = {"images": self.images}
        if self.difference is not None:
            # It is the rounding of the last bits, which no two machines share: one digit says enough.
            values["largest_difference"] = float(f"{self.difference:.0e}")
        return values | {"agreement": percent(self.agreement)}


@dataclasses.dataclass(frozen=True)
class AccuracyDrop:
    """A file in 8 bits and the checkpoint on the same images. mIOU: 0-1, None where nothing is scored.

    agreement: share of equal labels, 0-1. interval: 95 % of the resamplings of the images, in points of mIOU lost;
    None for a single image, or where nothing is scored.
    """

    images: int
    miou: float | None
    checkpoint: float | None
    agreement: float
    interval: tuple[float, float] | None = None

    @classmethod
    def of_images(cls, dataset: DatasetDescriptor, samples: list[tuple[Any, ...]]) -> AccuracyDrop:
        """samples: of each image (C, C + 1) pixels of the file and of the checkpoint, equal labels, and all labels."""
        counts, checkpoint, equal, pixels = map(np.array, zip(*samples, strict=True))
        ours, theirs = (Confusion(dataset, c.sum(axis=0)).mean_iou() for c in (counts, checkpoint))
        lost = None
        if ours is not None and len(samples) > 1:
            drawn, drawn_checkpoint = bootstrap([counts, checkpoint])
            low, high = interval(100 * (drawn_checkpoint - drawn))
            lost = round(low, 4), round(high, 4)
        return cls(len(samples), ours, theirs, float(equal.sum() / pixels.sum()), lost)

    @property
    def points_lost(self) -> float | None:
        """Of mIOU; below 0 where the file is the better one."""
        if self.miou is None or self.checkpoint is None:
            return None
        return round(100 * (self.checkpoint - self.miou), 4)

    @property
    def holds(self) -> bool:
        points = self.points_lost
        if points is None:
            return False
        return points <= MOST_POINTS_LOST and self.agreement >= LEAST_AGREEMENT_IN_8_BITS

    @property
    def is_certain(self) -> bool:
        """More images are not likely to change on which side of MOST_POINTS_LOST the loss is."""
        if self.interval is None:
            return False
        low, high = self.interval
        return high <= MOST_POINTS_LOST or low > MOST_POINTS_LOST

    def __str__(self) -> str:
        images = counted(self.images, "image")
        if self.points_lost is None:
            return f"no pixel of {images} is scored, so that nothing is proved"
        lost = f"{self.points_lost:.2f} points of mIOU lost"
        if self.interval:
            low, high = self.interval
            lost += f" (95 % between {low:.2f} and {high:.2f})"
        return (
            f"{lost}: {percent(self.miou):.2f} instead of {percent(self.checkpoint):.2f} on {images}, "
            f"equal labels {percent(self.agreement):.2f} %"
        )

    def metrics(self) -> dict[str, float | int | None]:
        low, high = self.interval or (None, None)
        return {
            "images": self.images,
            "mIOU": percent(self.miou),
            "mIOU_checkpoint": percent(self.checkpoint),
            "points_lost": self.points_lost,
            "points_lost_low": low,
            "points_lost_high": high,
            "agreement": percent(self.agreement),
        }


@dataclasses.dataclass(frozen=True)
class EightBits:
    """drops: name of each instruction set of this processor → what the file loses with it."""

    drops: Mapping[str, AccuracyDrop]

    @property
    def worst(self) -> AccuracyDrop:
        """A drop that does not hold, if there is one; of several the largest."""
        return max(self.drops.values(), key=lambda drop: (not drop.holds, drop.points_lost or 0))

    @property
    def holds(self) -> bool:
        return self.worst.holds

    @property
    def fault(self) -> str:
        return (
            f"{self.worst}, with {', '.join(self.drops)}. At most {MOST_POINTS_LOST:g} point may be lost, and "
            f"{100 * LEAST_AGREEMENT_IN_8_BITS:g} % of the labels must be equal. The other formats are not affected."
        )

    def __str__(self) -> str:
        return f"{self.worst}; with {', '.join(self.drops)}, not proved on other processors"

    def metrics(self) -> dict[str, Any]:
        """Those of the worst drop, and of each instruction set what it loses."""
        return self.worst.metrics() | {
            "kept": self.holds,
            "points_lost_with": {name: drop.points_lost for name, drop in self.drops.items()},
        }


Proof = Equality | EightBits
