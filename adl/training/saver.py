"""What a run saves, and when: its state, and models beside the final one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adl.artifacts import remove
from adl.errors import AdlError
from adl.network import checkpoint
from adl.parallel.collective import of_all_ranks
from adl.parallel.world import ALONE, World
from adl.training.counters import Counters
from adl.training.plan import Plan
from adl.training.state import Saved, State
from adl.training.stopwatch import Stopwatch
from adl.training.weights import Weights
from adl.workspace import sidecar


@dataclasses.dataclass(frozen=True)
class Saving:
    """When to save. Every save_epochs epochs, and after save_minutes (None: never); how many models to keep."""

    epochs: int
    minutes: float | None
    keep_checkpoints: int = 1


class Saver:
    """Rank 0 saves: the weights of all ranks are equal.

    describe(path, epoch): write the sidecar of a checkpoint. speed(): what was measured, for the state.
    """

    def __init__(
        self,
        *,
        state: State,
        weights: Weights,
        plan: Plan,
        saving: Saving,
        stopwatch: Stopwatch,
        speed: Callable[[], dict[str, Any]],
        describe: Callable[[Path, int], None],
        world: World = ALONE,
    ) -> None:
        self.state, self.weights, self.plan, self.saving = state, weights, plan, saving
        self.stopwatch, self.speed, self.describe, self.world = stopwatch, speed, describe, world
        self.saved_at = time.monotonic()
        self.is_due = False

    def resume(self) -> Counters | None:
        """Set the weights to the newest state, if there is one, and return its counters.

        Raises AdlError if the ranks read different states, or if it is another network's.
        """
        saved = self.state.latest()
        batches = saved.position + 1 if saved else 0
        if any(of_rank != [batches] for of_rank in of_all_ranks([batches], self.world)):
            raise AdlError(
                f"the ranks read different states from {self.state.folder}; do all nodes share it?"
            )
        if saved is None:
            return None
        if not self.weights.fit(saved.arrays):
            raise AdlError(
                f"the state in {self.state.folder} does not fit this network: it was written by different code. "
                f"To start over: `adl state drop {self.state.name}`."
            )
        self.weights.restore(saved.arrays)
        self.stopwatch.resume(saved.meta)
        return Counters.from_json(saved.meta)

    def after_step(self, counters: Counters, *, stop: bool) -> None:
        """Save if it is due, or if the run is asked to stop."""
        position = counters.position
        epoch, in_epoch = divmod(position, self.plan.steps_per_epoch)
        is_end = position == self.plan.steps
        is_kept = in_epoch == 0 and epoch % self.saving.epochs == 0
        self.is_due |= is_kept or is_end or self._minutes_are_over()
        # The model first: an attempt that resumes from the state does not come by here again.
        if is_kept and not is_end:
            self._keep(counters, epoch)
        # If the last update was skipped, the next ones show whether the run recovers.
        if stop or (self.is_due and not counters.skipped_in_a_row):
            self.save(counters)

    def _minutes_are_over(self) -> bool:
        minutes = self.saving.minutes
        return minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes

    def save(self, counters: Counters) -> None:
        if self.world.rank == 0:
            self.check_finite(counters)
            meta = {
                **counters.to_json(),
                "seconds": self.stopwatch.total_seconds(),
                "speed": self.speed(),
            }
            self.state.save(Saved(self.weights.arrays(), meta))
        self.saved_at, self.is_due = time.monotonic(), False

    def check_finite(self, counters: Counters) -> None:
        """Raises AdlError if the weights or the running statistics no longer are."""
        name = self.weights.not_finite()
        if name is not None:
            raise counters.diverged(f"{name} is no longer finite, and this state is not saved")

    def kept_models(self) -> list[Path]:
        """The models beside the final one, the oldest first."""
        return sorted(self.state.intermediate.glob("epoch_*.ckpt"))

    def _keep(self, counters: Counters, epoch: int) -> None:
        """Keep the present model beside the final one, and drop the oldest beyond keep_checkpoints."""
        if self.world.rank > 0 or self.saving.keep_checkpoints == 1:
            return
        self.check_finite(counters)
        path = self.state.intermediate / f"epoch_{epoch:05d}.ckpt"
        checkpoint.save(self.weights.parameters, path)
        self.describe(path, epoch)
        for old in self.kept_models()[: 1 - self.saving.keep_checkpoints]:
            remove(old)
            remove(sidecar(old))
