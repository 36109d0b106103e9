"""Progress with the time left: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from adl.runtime import on_terminal as on_terminal

T = TypeVar("T")
LINE_EVERY = 5.0  # seconds


def track(items: Iterable[T], total: int, what: str, unit: str = "images") -> Iterator[T]:
    """Pass the items on while reporting how many there were, how fast, and how long the rest takes."""
    if on_terminal():
        yield from tqdm(items, desc=what, total=total, unit=f" {unit}", dynamic_ncols=True)
        return
    start = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= LINE_EVERY or (done == total and now - start >= 2):
            reported = now
            rate = done / (now - start)
            left = duration((total - done) / rate)
            print(f"{what}: {done}/{total} {unit}, {rate:.3g}/s, {left} left", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person would write them: 8 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rough_duration(seconds: float) -> str:
    """An estimate in one unit: 40 s, 12 min, 3.5 h, 12 days, 2.1 years."""
    # Runs of this field are compared in hours: up to ten days it stays at them.
    for unit, length, least in (("years", 365 * 86400, 1.5), ("days", 86400, 10), ("h", 3600, 1.5), ("min", 60, 1.5)):
        if seconds >= least * length:
            return f"{seconds / length:.{seconds < 9.95 * length:d}f} {unit}"
    return f"{seconds:.0f} s"
