"""Progress with the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
LINE_EVERY = 5.0  # seconds


def track(items: Iterable[T], total: int, what: str, unit: str = "images") -> Iterator[T]:
    """Pass the items on while reporting how many there were, how fast, and how long the rest takes."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit=f" {unit}", dynamic_ncols=True)
        return
    start = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= LINE_EVERY or (done == total and now - start >= 2):
            reported = now
            rate = done / (now - start)
            print(f"{what}: {done}/{total} {unit}, {rate:.3g}/s, {duration((total - done) / rate)} left", flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person would write them: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
