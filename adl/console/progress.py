"""Progress with the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

from adl.console.text import duration
from adl.device import on_terminal

T = TypeVar("T")
LINE_EVERY = 5.0
"""Seconds between two lines in a log."""


class Progress(tqdm):
    """How much of something is done, how fast it goes, and how long the rest takes: tqdm's bar, or lines in a log."""

    def __init__(self, total: int, what: str, unit: str = "images", **bar: Any) -> None:
        super().__init__(
            desc=what,
            total=total,
            unit=f" {unit}",
            dynamic_ncols=True,
            disable=not on_terminal(),
            **bar,
        )
        self.what, self.units = what, unit
        self.began = self.reported = time.monotonic()

    def advance(self, n: int = 1, *, line: str = "") -> None:
        """Another n are done. line: what a log is told, instead of their number and the time left."""
        if not self.disable:
            self.update(n)
            return
        self.n += n
        now = time.monotonic()
        # The end of what took less than two seconds is not worth a line that only counts.
        is_end = self.n >= self.total and (line or now - self.began >= 2)
        if is_end or now - self.reported >= LINE_EVERY:
            self.reported = now
            standing = f"{self.what}: {self.n}/{self.total} {self.units}"
            if self.n:
                rate = self.n / (now - self.began)
                standing += f", {rate:.3g}/s, {duration(max(self.total - self.n, 0) / rate)} left"
            print(line or standing, file=sys.stderr)


def track(items: Iterable[T], total: int, what: str, unit: str = "images") -> Iterator[T]:
    """Pass the items on while reporting progress."""
    with Progress(total, what, unit) as progress:
        for item in items:
            yield item
            progress.advance()
