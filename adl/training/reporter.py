"""What a running training tells a person."""

from __future__ import annotations

import sys
import time

import numpy as np
from tqdm import tqdm

from adl.progress import LINE_EVERY, duration, on_terminal

ESTIMATE_AFTER = 20
"""Steps after which the whole training's time can be told."""


class Reporter:
    """Where the run is, its loss, and when it will end: a bar on a terminal, now and then a line in a log."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.reported = time.monotonic()
        self.bar: tqdm | None = None

    def step(self, epoch: int, position: int, loss: float, learning_rate: float, seconds: list[float]) -> None:
        if len(seconds) == 1:
            print(f"first step, with compilation: {seconds[0]:.1f} s", flush=True)
            self.reported = time.monotonic()
            if on_terminal():
                self.bar = tqdm(
                    desc="training", total=self.steps, initial=position, unit="step", dynamic_ncols=True, mininterval=1
                )
        if len(seconds) == ESTIMATE_AFTER + 1 and position < self.steps:
            left = duration((self.steps - position) * float(np.mean(seconds[1:])))
            tqdm.write(f"from {ESTIMATE_AFTER} steps: {left} for the remaining {self.steps - position:,}")
        if len(seconds) > 1 and self.bar is not None:
            self.bar.set_postfix_str(f"epoch {epoch + 1}, loss {loss:.4f}, learning rate {learning_rate:.3g}", False)
            self.bar.update()
            if position == self.steps:
                self.bar.close()
        elif len(seconds) > 1 and (time.monotonic() - self.reported >= LINE_EVERY or position == self.steps):
            self.reported = time.monotonic()
            a_step = float(np.mean(seconds[1:][-50:]))
            print(
                f"epoch {epoch + 1} step {position}/{self.steps}: loss {loss:.4f}, learning rate {learning_rate:.3g}, "
                f"{a_step:.2f} s/step, {duration((self.steps - position) * a_step)} left",
                file=sys.stderr,
                flush=True,
            )
