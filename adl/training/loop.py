"""The loop over the steps."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from mindspore import Tensor
from tqdm import tqdm

from adl.console.reporter import Reporter
from adl.dataset.batches import Batches
from adl.errors import AdlError
from adl.network import drop_path
from adl.parallel.collective import of_all_ranks
from adl.training.checkpoints import Run
from adl.training.plan import Stop
from adl.training.step import TrainStep
from adl.training.validation import Interrupted, Validation


class Stopped(Exception):  # noqa: N818 (no error)
    """The run was asked to stop; its state is saved."""


@dataclasses.dataclass(kw_only=True)
class Loop(Run):
    """A run that takes steps on batches, counts them, and saves what is due after each.

    learning_rates: (steps,), by applied update. validation: None if there is none. stop: looked at before every step.
    reporter: None on all ranks but 0.
    """

    batches: Batches
    graph: TrainStep
    learning_rates: np.ndarray
    validation: Validation | None
    stop: Stop
    reporter: Reporter | None

    def validate(self) -> None:
        """Add the val mIOU to the history's last row, if it is due and not there yet. Raises Stopped as `run_epoch`."""
        validation, history = self.validation, self.counters.history
        epoch, batch = self.counters.epochs
        if not validation or batch or epoch % self.params.eval_epochs:
            return
        if not history or "val_mIOU" in history[-1]:
            return
        try:
            miou = validation.miou(self.weights.parameters)
        except Interrupted:
            self.save()
            raise Stopped(f"stopped at {self.counters}, while validating; the state is saved") from None
        if miou is not None:
            history[-1]["val_mIOU"] = miou
        if self.reporter:
            tqdm.write(f"epoch {epoch}: val mIOU {miou} % ({validation.mode.name}, {validation.images} images)")

    def run_epoch(self) -> None:
        """Train from the present position to the end of its epoch, and add a row to the history.

        Raises Stopped, on all ranks together, when one was asked to stop; AdlError if training diverges.
        """
        counters, stopwatch = self.counters, self.stopwatch
        epoch, first_batch = counters.epochs
        if self.reporter and not stopwatch.seconds:
            print("compiling the training graph (this takes a while and happens once)", flush=True)
        stopwatch.start()
        for images, labels in self.batches.epoch(epoch, first_batch=first_batch):
            is_last = (counters.position + 1) % counters.plan.steps_per_epoch == 0
            loss, applied, stop = self.take_step(
                images,
                labels,
                stop=self.stop.requested or (is_last and self.state.stop_request.exists()),
            )
            counters.count(loss=loss, applied=applied)
            if not math.isfinite(loss):
                self.check_finite()
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
            self.after_step(stop=stop)
            if stop and not counters.is_finished:
                raise Stopped(f"stopped at {counters}; the state is saved")

    def take_step(self, images: np.ndarray, labels: np.ndarray, *, stop: bool) -> tuple[float, bool, bool]:
        """Call the graph with what it takes from the host: learning rate, loss scale, masks of dropout and drop path.

        images: (N, 3, H, W) float32. labels: (N, H, W) int32. stop: this rank was asked to stop. Returns the loss,
        whether the update was applied, and whether any rank was asked to stop: the same on all ranks.
        """
        params, counters, architecture = self.params, self.counters, self.weights.architecture
        counters.learning_rate = float(self.learning_rates[counters.step])
        keys, draws = drop_path.draw(
            seed=params.seed,
            position=counters.position,
            places=self.world.share(params.batch_size),
            cells=len(architecture.net),
            operations=len(architecture.cell),
        )
        survivors = None
        if params.drop_path_keep_prob < 1:
            survivors = Tensor(
                drop_path.survivors(
                    draws,
                    step=counters.step,
                    steps=counters.plan.steps,
                    final=params.drop_path_keep_prob,
                )
            )
        scalars = np.array([counters.learning_rate, counters.loss_scale.value, stop], np.float32)
        loss, applied, stopped = self.graph(
            Tensor(images), Tensor(labels), Tensor(keys), survivors, *map(Tensor, scalars)
        )
        return float(loss), bool(applied), float(stopped) > 0

    def _check_ranks(self) -> None:
        """Raises AdlError if the ranks have parted: then what they sum is no network's gradient any more."""
        of_ranks = of_all_ranks([self.counters.step, self.weights.checksum()], self.world)
        if min(of_ranks) != max(of_ranks):
            found = "; ".join(f"rank {rank}: step {step}, {crc:08x}" for rank, (step, crc) in enumerate(of_ranks))
            raise AdlError(
                f"the ranks no longer have the same weights ({found}); this state is not saved. `dvc repro` resumes "
                "from the last one. If it happens again, one device computes wrongly: find it by leaving one out."
            )
