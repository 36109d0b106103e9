"""How long a run is, how far it is, and how long it takes. Needs no MindSpore."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from adl import device
from adl.config.params import Params
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError

MOST_SKIPPED = 32
"""Updates skipped in a row after which the loss scale cannot be the reason (it falls below 1 before)."""


class Plan(NamedTuple):
    """Sizes of a run that follow from the parameters and the data. first_step: where `start_epoch` begins."""

    images: int
    steps_per_epoch: int
    steps: int
    first_step: int

    @classmethod
    def of(cls, params: Params, images: int) -> Plan:
        """Raises AdlError if the warm-up does not end before the run. images: of the training record."""
        per_epoch = steps_per_epoch(images, params.batch_size)
        steps = params.epochs * per_epoch
        if params.warmup_iters >= steps:
            raise AdlError(
                f"warmup_iters is {params.warmup_iters}, but the whole run has {steps} steps ({params.epochs} epochs "
                f"of {per_epoch}): the learning rate would never reach base_lr. Lower warmup_iters or raise epochs."
            )
        return cls(images, per_epoch, steps, params.start_epoch * per_epoch)


@dataclasses.dataclass
class LossScale:
    """Dynamic loss scaling: halved by every skipped update, doubled after 1000 applied ones in a row."""

    value: float = 2.0**16
    good: int = 0
    """Updates since the last change."""

    def adjust(self, applied: bool) -> None:
        self.good = (self.good + 1) % 1000 if applied else 0
        if not applied:
            self.value = max(self.value / 2, 1.0)
        elif not self.good:
            # What is divided by too large a scale is zero.
            self.value = min(self.value * 2, 2.0**24)


class Counters(BaseModel):
    """Two counters that differ by the updates that loss scaling skipped, and what was seen on the way.

    position: batches drawn. step: updates applied. skipped: updates in all, and in a row up to now. losses: of the
    present epoch; history: a row per finished epoch; in both, what was not finite is None once it was saved.
    learning_rate: of the last step.
    """

    plan: Plan = Field(exclude=True)
    position: int
    step: int
    skipped: int = 0
    skipped_in_a_row: int = 0
    losses: list[float | None] = []
    history: list[dict[str, Any]] = []
    loss_scale: LossScale = LossScale()
    learning_rate: float = 0.0

    def __str__(self) -> str:
        return f"step {self.position:,} of {self.plan.steps:,}"

    @property
    def is_finished(self) -> bool:
        return self.position >= self.plan.steps

    @property
    def epochs(self) -> tuple[int, int]:
        """How many are complete, and how many batches of the next one have been drawn."""
        return divmod(self.position, self.plan.steps_per_epoch)

    def count(self, *, loss: float, applied: bool) -> None:
        """After a step. Raises AdlError if loss or gradients have been infinite for too long."""
        self.losses.append(loss)
        self.position += 1
        self.step += applied
        self.skipped += not applied
        self.loss_scale.adjust(applied)
        is_finite = math.isfinite(loss)
        self.skipped_in_a_row = 0 if applied and is_finite else self.skipped_in_a_row + 1
        # A single infinite loss that a skipped update explains leaves everything as it was.
        if not is_finite and self.skipped_in_a_row > 1:
            raise self.diverged("the loss stays infinite")
        if self.skipped_in_a_row > MOST_SKIPPED:
            raise self.diverged("the gradients stay infinite")

    def finish_epoch(self) -> None:
        """Add a row to the history."""
        self.history.append(
            {
                "epoch": self.epochs[0],
                "loss": float(np.array(self.losses, float).mean()),
                "learning_rate": self.learning_rate,
            }
        )
        self.losses = []

    def diverged(self, why: str) -> AdlError:
        loss = f"loss {self.losses[-1]:g}, " if self.losses else ""
        return AdlError(
            f"training diverged at step {self.step}: {loss}learning rate {self.learning_rate:g}, loss scale "
            f"{self.loss_scale.value:g}; {why}. Lower base_lr or lengthen warmup_iters."
        )


class Stop:
    """Whether this process was asked to stop."""

    requested = False

    def arm(self) -> None:
        """Called after every step: from the first one on there is something to save."""


class Stopwatch:
    """seconds: of each step of this attempt; the first includes the compilation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = self._lap = time.monotonic()
        self._speed_before: dict[str, Any] = {}

    def resume(self, speed: dict[str, Any]) -> None:
        """Go on from what an earlier attempt saved; what was lost between two saves is left out of the total."""
        self._began -= speed["total_seconds"]
        self._speed_before = speed

    def start(self) -> None:
        self._lap = time.monotonic()

    def step_done(self) -> None:
        now = time.monotonic()
        self.seconds.append(now - self._lap)
        self._lap = now

    def speed(self, params: Params) -> dict[str, Any]:
        """The usual step's time, memory, and the machine; of an earlier attempt if this one took no step.

        total_seconds: of all attempts.
        """
        total = {"total_seconds": round(time.monotonic() - self._began, 1)}
        if not self.seconds:
            return self._speed_before and self._speed_before | total
        usual = float(np.median(self.seconds[1:] or self.seconds))
        return {
            **total,
            "ms_per_step": round(1000 * usual, 1),
            "samples_per_second": round(params.batch_size / usual, 2),
            "compile_seconds": round(self.seconds[0] - usual, 1) if self.seconds[1:] else None,
            "peak_memory_mb": device.peak_memory() // 2**20,
            "devices": params.device_num,
            **device.machine(params.device_target),
        }
