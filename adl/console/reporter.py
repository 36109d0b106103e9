"""What a running training tells a person."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from adl.console.progress import LINE_EVERY, on_terminal
from adl.console.text import duration

ESTIMATE_AFTER = 20
"""Steps after which the time of the whole run can be estimated."""
RECENT = 50
"""Steps whose mean tells how fast it goes."""


class Reporter:
    """Where the run is, its loss, and when it will end: a bar on a terminal, now and then a line in a log.

    model_zoo_lines_every: steps after which the two lines of an epoch are printed that parsers of the model zoo's logs
    read; None: never.
    """

    reported: float
    bar: tqdm

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
            self._first(position, seconds[0])
        else:
            # The first step compiled: it does not count.
            per_step = statistics.fmean(seconds[max(1, len(seconds) - RECENT) :])
            remaining = self.steps - position
            left = duration(remaining * per_step)
            if len(seconds) == ESTIMATE_AFTER + 1 and remaining:
                tqdm.write(f"from {ESTIMATE_AFTER} steps: {left} for the remaining {remaining:,}")
            losses = f"loss {loss:.4f}, learning rate {learning_rate:.3g}"
            if not self.bar.disable:
                self.bar.set_postfix_str(f"epoch {epoch}, {losses}", refresh=False)
                self.bar.update()
                if not remaining:
                    self.bar.close()
            elif not remaining or time.monotonic() - self.reported >= LINE_EVERY:
                self.reported = time.monotonic()
                print(
                    f"epoch {epoch} step {position}/{self.steps}: {losses}, {per_step:.2f} s/step, {left} left",
                    file=sys.stderr,
                    flush=True,
                )
        per_epoch = self.model_zoo_lines_every
        if per_epoch and position % per_epoch == 0:
            of_epoch = 1000 * np.array(seconds[-per_epoch:])  # fewer after a resume in its middle
            tqdm.write(f"epoch: {epoch} step: {per_epoch}, loss is {loss:.8g}")
            tqdm.write(
                f"epoch time: {of_epoch.sum():.3f} ms, per step time: {of_epoch.mean():.3f} ms"
            )

    def _first(self, position: int, seconds: float) -> None:
        print(f"first step, with compilation: {seconds:.1f} s", flush=True)
        self.reported = time.monotonic()
        self.bar = tqdm(
            desc="training",
            total=self.steps,
            initial=position,
            unit="step",
            dynamic_ncols=True,
            mininterval=1,
            disable=not on_terminal(),
        )
