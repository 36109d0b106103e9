"""Numbers and times as a person would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
"""What stands where there is no value."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 fault, 2 faults; 3,475 images."""
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str], most: int = 4) -> str:
    """The first of many names."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def percentage(value: float | None, digits: int = 2) -> str:
    """A value in percent, without its sign."""
    return MISSING if value is None else f"{value:.{digits}f}"


def difference(value: float | None, other: float | None) -> str:
    """How much the second of two values in percent is above the first."""
    if value is None or other is None:
        return MISSING
    return f"{other - value:+.2f}"


def interval(score: Mapping[str, Any]) -> str:
    """Of the mIOU, as metrics/evaluate.json has it; runs from before it was computed have none."""
    if score.get("mIOU_low") is None:
        return MISSING
    return f"{score['mIOU_low']:.2f} to {score['mIOU_high']:.2f}"


def size(height: int, width: int) -> str:
    """Of an image, the width first."""
    return f"{width}×{height}"


def byte_size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds: 8 s, 3 min 20 s, 2 h 05 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_of_hour = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest:02d} s"
    return f"{hours} h {minutes_of_hour:02d} min"


def rough_duration(seconds: float) -> str:
    """An estimate in one unit: 40 s, 12 min, 3.5 h, 12 days, 2.1 years."""
    # Runs of this field are compared in hours: up to ten days it stays at them.
    for unit, length, least in (
        ("years", 365 * 86400, 1.5),
        ("days", 86400, 10),
        ("h", 3600, 1.5),
        ("min", 60, 1.5),
    ):
        amount = seconds / length
        if amount >= least:
            digits = 1 if amount < 9.95 else 0
            return f"{amount:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def listing(names: list[str], most: int) -> str:
    """The first few of some names."""
    shown = ", ".join(names[:most])
    return f"{shown}, …" if len(names) > most else shown
