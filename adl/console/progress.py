"""Progress with the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from adl.console.text import duration
from adl.device import on_terminal as on_terminal

T = TypeVar("T")
LINE_EVERY = 5.0
"""Seconds between two lines in a log."""
_WORTH_A_LINE = 2.0
"""Seconds after which the end of the work is worth a line."""


class Progress:
    """How much of something is done, how fast it goes, and how long the rest takes."""

    def __init__(self, total: int, what: str, unit: str = "images") -> None:
        self.total, self.what, self.unit = total, what, unit
        self.done = 0
        self.began = self.reported = time.monotonic()
        self.bar = tqdm(
            desc=what,
            total=total,
            unit=f" {unit}",
            dynamic_ncols=True,
            disable=not on_terminal(),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def advance(self, n: int = 1) -> None:
        """Another n are done."""
        self.done += n
        self.bar.update(n)
        now = time.monotonic()
        is_end = self.done >= self.total and now - self.began >= _WORTH_A_LINE
        if self.bar.disable and (is_end or now - self.reported >= LINE_EVERY):
            self.reported = now
            line = f"{self.what}: {self.done}/{self.total} {self.unit}"
            if self.done:
                rate = self.done / (now - self.began)
                line += f", {rate:.3g}/s, {duration(max(self.total - self.done, 0) / rate)} left"
            print(line, file=sys.stderr, flush=True)


def track(items: Iterable[T], total: int, what: str, unit: str = "images") -> Iterator[T]:
    """Pass the items on while reporting progress."""
    with Progress(total, what, unit) as progress:
        for item in items:
            yield item
            progress.advance()
