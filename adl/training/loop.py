"""The loop over the steps."""

from __future__ import annotations

import dataclasses
import math

from adl.console.reporter import Reporter
from adl.dataset.batches import Batches
from adl.errors import AdlError
from adl.parallel.collective import of_all_ranks
from adl.training.checkpoints import Saver
from adl.training.plan import Stop
from adl.training.step import HostStep
from adl.training.validation import Interrupted, Validation


class Stopped(Exception):  # noqa: N818 (no error)
    """The run was asked to stop; its state is saved."""


@dataclasses.dataclass(kw_only=True)
class Loop:
    """Takes steps on batches, counts them, and hands over to the saver after each.

    validation: None if there is none. stop: looked at before every step. reporter: None on all ranks but 0.
    """

    batches: Batches
    step: HostStep
    saver: Saver
    validation: Validation | None
    stop: Stop
    reporter: Reporter | None

    def validate(self) -> None:
        """Add the val mIOU to the row of the epoch that is complete, if it is due. Raises Stopped as `run_epoch`."""
        counters = self.saver.counters
        if self.validation is None:
            return
        try:
            self.validation.add_to_history(self.saver.weights.parameters, counters)
        except Interrupted:
            self.saver.save()
            raise Stopped(f"stopped at {counters}, while validating; the state is saved") from None

    def run_epoch(self) -> None:
        """Train from the present position to the end of its epoch, and add a row to the history.

        Raises Stopped, on all ranks together, when one was asked to stop; AdlError if training diverges.
        """
        saver, counters, stopwatch = self.saver, self.saver.counters, self.saver.stopwatch
        epoch, first_batch = counters.epochs
        if self.reporter and not stopwatch.seconds:
            print("compiling the training graph (this takes a while and happens once)", flush=True)
        stopwatch.start()
        for images, labels in self.batches.epoch(epoch, first_batch=first_batch):
            is_last = (counters.position + 1) % counters.plan.steps_per_epoch == 0
            asked = self.stop.requested or (is_last and saver.state.stop_request.exists())
            loss, applied, stop = self.step(images, labels, counters, stop=asked)
            counters.count(loss=loss, applied=applied)
            if not math.isfinite(loss):
                saver.check_finite()
            stopwatch.step_done()
            self.stop.arm()
            if self.reporter:
                self.reporter.step(
                    epoch=epoch + 1,
                    position=counters.position,
                    loss=loss,
                    learning_rate=counters.learning_rate,
                    seconds=stopwatch.seconds,
                )
            if is_last:
                self._check_ranks()
                counters.finish_epoch()
            saver.after_step(stop=stop)
            if stop and not counters.is_finished:
                raise Stopped(f"stopped at {counters}; the state is saved")

    def _check_ranks(self) -> None:
        """Raises AdlError if the ranks have parted: then what they sum is no network's gradient any more."""
        of_this = [self.saver.counters.step, self.saver.weights.checksum()]
        of_ranks = of_all_ranks(of_this, self.saver.world)
        if min(of_ranks) != max(of_ranks):
            found = "; ".join(
                f"rank {rank}: step {step}, {crc:08x}" for rank, (step, crc) in enumerate(of_ranks)
            )
            raise AdlError(
                f"the ranks no longer have the same weights ({found}); this state is not saved. `dvc repro` resumes "
                "from the last one. If it happens again, one device computes wrongly: find it by leaving one out."
            )
