"""Flat shapes in a box of one by one, y down, of which objects are made."""

from __future__ import annotations

import dataclasses

import numpy as np

from adl.synthetic.canvas import Colour, Point

Rng = np.random.Generator
TYRE: Colour = (0.07, 0.07, 0.08)
METAL: Colour = (0.45, 0.46, 0.48)


@dataclasses.dataclass(frozen=True)
class Part:
    """A polygon. label: a label id where it differs from the object's own."""

    points: list[Point]
    colour: Colour
    texture: str = "metal"
    contrast: float = 0.12
    label: int | None = None


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def disc(x: float, y: float, rx: float, ry: float) -> list[Point]:
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return list(
        zip((x + rx * np.cos(angles)).tolist(), (y + ry * np.sin(angles)).tolist(), strict=True)
    )


def ring(x: float, y: float, rx: float, ry: float, width: float) -> list[Point]:
    """A closed band, as one polygon with a seam."""
    angles = np.linspace(0, 2 * np.pi, 25)
    outer = [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles]
    inner = [
        (x + rx * (1 - width) * np.cos(a), y + ry * (1 - width) * np.sin(a)) for a in angles[::-1]
    ]
    return outer + inner


def bar(start: Point, end: Point, width: float) -> list[Point]:
    (x0, y0), (x1, y1) = start, end
    length = max(np.hypot(x1 - x0, y1 - y0), 1e-6)
    dx, dy = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
    return [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)]


def paint(rng: Rng, *, grey: float = 0.4) -> Colour:
    """A car paint or a piece of cloth: any colour, often a grey one."""
    if rng.random() < grey:
        return (rng.uniform(0.08, 0.8),) * 3
    return tuple(rng.uniform(0.04, 0.9, 3).tolist())


def livery(rng: Rng, *colours: Colour) -> Colour:
    """One of the colours that a kind of vehicle usually has, or any other."""
    if rng.random() < 0.6:
        return paint(rng)
    return tuple((np.array(rng.choice(colours)) * rng.uniform(0.75, 1.2)).clip(0, 1).tolist())
