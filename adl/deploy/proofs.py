"""What is known of an exported file: that it equals the checkpoint, or how much mIOU its 8 bits lose."""

from __future__ import annotations

import dataclasses

from adl.artifacts import percent

LARGEST_DIFFERENCE = 1e-4
LEAST_AGREEMENT = 0.9999
ROUNDING = 1e-5
"""What float32 may lose on its way through the network, as a share of the largest logit.

A probability moves by up to half of what the logits move by. Where no logit is above 20, this allows no more than
LARGEST_DIFFERENCE; a network that had hardly trained had logits of 4e9, and lost 2e-6 of them.
"""
MOST_POINTS_LOST = 1.0


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
            f"the exported file does not reproduce the checkpoint's results on {self.images} images: {self} (at most "
            f"{self.allowed:.2g}, at least {100 * LEAST_AGREEMENT:g} %)"
        )

    def __str__(self) -> str:
        labels = f"equal labels {100 * self.agreement:.4f} %"
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
class Loss:
    """mIOU of a file in 8 bits and of the checkpoint, 0-1, on the same images; None where nothing is scored."""

    images: int
    miou: float | None
    checkpoint: float | None

    @property
    def points(self) -> float:
        return 100 * ((self.checkpoint or 0) - (self.miou or 0))

    @property
    def holds(self) -> bool:
        return self.points <= MOST_POINTS_LOST

    @property
    def fault(self) -> str:
        return (
            f"{self}; at most {MOST_POINTS_LOST:g} may be lost. The other formats are not affected"
        )

    def __str__(self) -> str:
        if self.miou is None or self.checkpoint is None:
            return f"no pixel of {self.images} images is scored"
        return (
            f"mIOU {100 * self.miou:.2f} on {self.images} images, {self.points:.2f} points below "
            f"the checkpoint's {100 * self.checkpoint:.2f}"
        )

    def metrics(self) -> dict[str, float | int | bool | None]:
        return {
            "images": self.images,
            "mIOU": percent(self.miou),
            "mIOU_checkpoint": percent(self.checkpoint),
            "kept": self.holds,
        }


Proof = Equality | Loss
