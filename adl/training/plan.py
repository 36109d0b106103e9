"""How long a run is, how far it is, and how long it takes. Needs no MindSpore."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any, ClassVar

import numpy as np

from adl import device
from adl.config.params import Params
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.training.schedules import check_warmup

MOST_SKIPPED = 32
"""Updates skipped in a row after which the loss scale cannot be the reason (it falls below 1 before)."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a run that follow from the parameters and the data. first_step: where `start_epoch` begins."""

    images: int
    steps_per_epoch: int
    steps: int
    first_step: int

    @classmethod
    def of(cls, params: Params, images: int) -> Plan:
        """Raises AdlError if the warm-up does not fit the run. images: of the training record."""
        per_epoch = steps_per_epoch(images, params.batch_size)
        check_warmup(params.warmup_iters, params.epochs, per_epoch)
        return cls(
            images=images,
            steps_per_epoch=per_epoch,
            steps=params.epochs * per_epoch,
            first_step=params.start_epoch * per_epoch,
        )

    def ends_epoch(self, position: int) -> bool:
        """Is an epoch complete after so many batches?"""
        return position % self.steps_per_epoch == 0


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
        return cls(
            position=content["position"],
            step=content["step"],
            skipped=content["skipped"],
            skipped_in_a_row=content["skipped_in_a_row"],
            losses=[math.nan if loss is None else loss for loss in content["losses"]],
            history=content["history"],
            loss_scale=LossScale(**content["loss_scale"]),
        )


class Stop:
    """Whether this process was asked to stop."""

    requested = False

    def arm(self) -> None:
        """Called when the first step is done: from here on there is something to save."""


class Stopwatch:
    """seconds: of each step of this attempt; the first includes the compilation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = time.monotonic()
        self._lap = time.perf_counter()
        self._speed_before: dict[str, Any] = {}

    def resume(self, meta: dict[str, Any]) -> None:
        """Resume from what an earlier attempt saved."""
        self._began -= meta["seconds"]
        self._speed_before = meta["speed"]

    def start(self) -> None:
        self._lap = time.perf_counter()

    def step_done(self) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._lap)
        self._lap = now

    def total_seconds(self) -> float:
        """How long the run has taken over all attempts; what was lost between two saves is left out."""
        return time.monotonic() - self._began

    def speed(self, *, batch_size: int, devices: int, device_target: str) -> dict[str, Any]:
        """The usual step's time, memory, and the machine; of an earlier attempt if this one took no step."""
        total = {"total_seconds": round(self.total_seconds(), 1)}
        if not self.seconds:
            return self._speed_before and self._speed_before | total
        usual = float(np.median(self.seconds[1:] or self.seconds))
        compilation = self.seconds[0] - usual
        return {
            **total,
            "ms_per_step": round(1000 * usual, 1),
            "samples_per_second": round(batch_size / usual, 2),
            "compile_seconds": round(compilation, 1) if len(self.seconds) > 1 else None,
            "peak_memory_mb": device.peak_memory() // 2**20,
            "devices": devices,
            **device.machine(device_target),
        }
