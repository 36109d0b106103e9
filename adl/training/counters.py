"""How far a run is: what its state holds beside the weights. Needs no MindSpore."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from adl.errors import AdlError

MOST_SKIPPED = 32
"""Updates skipped in a row after which the loss scale cannot be the reason (it falls below 1 before)."""


@dataclasses.dataclass
class LossScale:
    """Dynamic loss scaling: halved by every skipped update, doubled after WINDOW applied ones in a row."""

    value: float = 2.0**16
    good: int = 0
    """Updates since the last change."""

    WINDOW: ClassVar[int] = 1000
    LARGEST: ClassVar[float] = 2.0**24
    """What is divided by too large a scale is zero."""

    def adjust(self, applied: bool) -> None:
        self.good = (self.good + 1) % self.WINDOW if applied else 0
        if not applied:
            self.value = max(self.value / 2, 1.0)
        elif not self.good:
            self.value = min(self.value * 2, self.LARGEST)


@dataclasses.dataclass
class Counters:
    """Two counters that differ by the updates that loss scaling skipped, and what was seen on the way.

    position: batches drawn. step: updates applied. skipped: updates in all, and in a row up to now.
    losses: of the present epoch. history: a row per finished epoch. learning_rate: of the last step.
    """

    position: int
    step: int
    skipped: int = 0
    skipped_in_a_row: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    loss_scale: LossScale = dataclasses.field(default_factory=LossScale)
    learning_rate: float = 0.0

    def count(self, *, loss: float, applied: bool) -> None:
        """After a step. Raises AdlError if the gradients stay infinite."""
        self.losses.append(loss)
        self.position += 1
        self.step += applied
        self.skipped += not applied
        self.loss_scale.adjust(applied)
        healthy = applied and math.isfinite(loss)
        self.skipped_in_a_row = 0 if healthy else self.skipped_in_a_row + 1

    def check(self) -> None:
        """Raises AdlError if loss or gradients have been infinite for too long."""
        # A single infinite loss that a skipped update explains leaves everything as it was.
        if not math.isfinite(self.losses[-1]) and self.skipped_in_a_row > 1:
            raise self.diverged("the loss stays infinite")
        if self.skipped_in_a_row > MOST_SKIPPED:
            raise self.diverged("the gradients stay infinite")

    def finish_epoch(self, epoch: int) -> None:
        """Add a row to the history. epoch: from 1."""
        mean = float(np.mean(self.losses))
        self.history.append({"epoch": epoch, "loss": mean, "learning_rate": self.learning_rate})
        self.losses = []

    def diverged(self, why: str) -> AdlError:
        loss = f"loss {self.losses[-1]:g}, " if self.losses else ""
        return AdlError(
            f"training diverged at step {self.step}: {loss}learning rate {self.learning_rate:g}, loss scale "
            f"{self.loss_scale.value:g}; {why}. Lower base_lr or lengthen warmup_iters."
        )

    def to_json(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        del content["learning_rate"]
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Counters:
        """The inverse of `to_json`; what was not finite comes back from JSON as None."""
        values = {
            field.name: content[field.name]
            for field in dataclasses.fields(cls)
            if field.name in content
        }
        values["losses"] = [math.nan if loss is None else loss for loss in values["losses"]]
        values["history"] = list(values["history"])
        values["loss_scale"] = LossScale(**values["loss_scale"])
        return cls(**values)
