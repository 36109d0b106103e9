"""Numbers and times as a person would write them."""

from __future__ import annotations

MISSING = "–"
"""What stands where there is no value."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 fault, 2 faults; 3,475 images."""
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def percentage(value: float | None, digits: int = 2) -> str:
    """A value in percent, without its sign."""
    return MISSING if value is None else f"{value:.{digits}f}"


def difference(value: float | None, other: float | None) -> str:
    """How much the second of two values in percent is above the first."""
    if value is None or other is None:
        return MISSING
    return f"{other - value:+.2f}"


def interval(low: float | None, high: float | None) -> str:
    """Between two values in percent."""
    if low is None or high is None:
        return MISSING
    return f"{low:.2f} to {high:.2f}"


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
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


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
