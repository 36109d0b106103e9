"""What a running training tells a person."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from adl.console.progress import Progress
from adl.console.text import duration

ESTIMATE_AFTER = 20
"""Steps after which the time of the whole run can be estimated."""


class Reporter:
    """Where the run is, its loss, and when it will end: a bar on a terminal, now and then a line in a log.

    model_zoo_lines_every: steps after which the two lines of an epoch are printed that parsers of the model zoo's logs
    read; None: never.
    """

    bar: Progress

    def __init__(self, steps: int, *, model_zoo_lines_every: int | None = None) -> None:
        self.steps = steps
        self.model_zoo_lines_every = model_zoo_lines_every

    def step(
        self,
        *,
        epoch: int,
        position: int,
        loss: float,
        learning_rate: float,
        seconds: Sequence[float],
    ) -> None:
        """After a step. epoch: from 1. position: steps done. seconds: of each step of this attempt."""
        if len(seconds) == 1:
            print(f"first step, with compilation: {seconds[0]:.1f} s", flush=True)
            self.bar = Progress(self.steps, "training", "steps", initial=position, mininterval=1)
        else:
            # The first step compiled, and does not count. The last 50 tell how fast it goes.
            per_step = statistics.fmean(seconds[max(1, len(seconds) - 50) :])
            remaining = self.steps - position
            left = duration(remaining * per_step)
            if len(seconds) == ESTIMATE_AFTER + 1 and remaining:
                tqdm.write(f"from {ESTIMATE_AFTER} steps: {left} for the remaining {remaining:,}")
            losses = f"loss {loss:.4f}, learning rate {learning_rate:.3g}"
            self.bar.set_postfix_str(f"epoch {epoch}, {losses}", refresh=False)
            self.bar.advance(
                line=f"epoch {epoch} step {position}/{self.steps}: {losses}, {per_step:.2f} s/step, {left} left"
            )
            if not remaining:
                self.bar.close()
        per_epoch = self.model_zoo_lines_every
        if per_epoch and position % per_epoch == 0:
            of_epoch = 1000 * np.array(seconds[-per_epoch:])  # fewer after a resume in its middle
            tqdm.write(f"epoch: {epoch} step: {per_epoch}, loss is {loss:.8g}")
            tqdm.write(f"epoch time: {of_epoch.sum():.3f} ms, per step time: {of_epoch.mean():.3f} ms")
