"""The loop over the steps."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from adl.console.reporter import Reporter
from adl.dataset.batches import Batches
from adl.errors import AdlError
from adl.parallel.collective import of_all_ranks
from adl.parallel.world import ALONE, World
from adl.training.checkpoints import Saver
from adl.training.plan import Counters, Plan, Stop
from adl.training.step import HostStep


class Stopped(Exception):  # noqa: N818 (no error)
    """The run was asked to stop; its state is saved."""

    @classmethod
    def at(cls, counters: Counters, plan: Plan, while_doing: str = "") -> Stopped:
        return cls(
            f"stopped at step {counters.position:,} of {plan.steps:,}{while_doing}; the state is saved"
        )


@dataclasses.dataclass(kw_only=True)
class Loop:
    """Takes steps on batches, counts them, and hands over to the saver after each.

    stop: looked at before every step. reporter: None on all ranks but 0.
    """

    plan: Plan
    counters: Counters
    batches: Batches
    step: HostStep
    saver: Saver
    stop: Stop
    reporter: Reporter | None = None
    world: World = ALONE

    @property
    def is_finished(self) -> bool:
        return self.counters.position >= self.plan.steps

    def run_epoch(self) -> None:
        """Train from the present position to the end of its epoch, and add a row to the history.

        Raises Stopped, on all ranks together, when one was asked to stop; AdlError if training diverges.
        """
        epoch, first_batch = divmod(self.counters.position, self.plan.steps_per_epoch)
        if not self.saver.stopwatch.seconds and self.reporter:
            print("compiling the training graph (this takes a while and happens once)", flush=True)
        batches = self.batches.epoch(epoch, first_batch=first_batch)
        self.saver.stopwatch.start()
        for images, labels in batches:
            self._take(images, labels, epoch)

    def _take(self, images: np.ndarray, labels: np.ndarray, epoch: int) -> None:
        """One step, and all that follows it."""
        counters, stopwatch = self.counters, self.saver.stopwatch
        is_last = self.plan.ends_epoch(counters.position + 1)
        asked = self.stop.requested or (is_last and self.saver.state.stop_request.exists())
        result = self.step(images, labels, counters, stop=asked)
        counters.count(loss=result.loss, applied=result.applied)
        self._check_loss()
        stopwatch.step_done()
        self.stop.arm()
        if self.reporter:
            self.reporter.step(
                epoch=epoch + 1,
                position=counters.position,
                loss=result.loss,
                learning_rate=counters.learning_rate,
                seconds=stopwatch.seconds,
            )
        if is_last:
            self._check_ranks()
            counters.finish_epoch(epoch + 1)
        self.saver.after_step(counters, stop=result.stop)
        if result.stop and not self.is_finished:
            raise Stopped.at(counters, self.plan)

    def _check_loss(self) -> None:
        """Raises AdlError if the run does not recover."""
        if not math.isfinite(self.counters.losses[-1]):
            name = self.saver.weights.not_finite()
            if name is not None:
                raise self.counters.diverged(f"{name} is no longer finite")
        self.counters.check()

    def _check_ranks(self) -> None:
        """Raises AdlError if the ranks have parted: then what they sum is no network's gradient any more."""
        of_ranks = of_all_ranks([self.counters.step, self.saver.weights.checksum()], self.world)
        if any(other != of_ranks[0] for other in of_ranks):
            found = "; ".join(
                f"rank {rank}: step {step}, {crc:08x}" for rank, (step, crc) in enumerate(of_ranks)
            )
            raise AdlError(
                f"the ranks no longer have the same weights ({found}); this state is not saved. `dvc repro` resumes "
                "from the last one. If it happens again, one device computes wrongly: find it by leaving one out."
            )
