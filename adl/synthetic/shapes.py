"""Flat shapes in a box of one by one, y down, of which objects are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from adl.synthetic.canvas import Colour, Point

Rng = np.random.Generator
TYRE: Colour = (0.07, 0.07, 0.08)
METAL: Colour = (0.45, 0.46, 0.48)


@dataclasses.dataclass(frozen=True)
class Part:
    """A polygon. label: its name where it differs from the object's own."""

    points: Sequence[Point] | np.ndarray
    colour: Colour
    texture: str = "metal"
    contrast: float = 0.12
    label: str | None = None


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def mirrored(*left: Point) -> list[Point]:
    """A symmetric shape from its left half, from top to bottom."""
    right = [(1 - x, y) for x, y in reversed(left)]
    return [*left, *right]


ROUND = np.linspace(0, 2 * np.pi, 20, endpoint=False)


def disc(x: float, y: float, rx: float, ry: float, angles: np.ndarray = ROUND) -> np.ndarray:
    return np.stack((x + rx * np.cos(angles), y + ry * np.sin(angles)), axis=1)


def ring(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """A closed band, a quarter of the radius wide, as one polygon with a seam."""
    angles = np.linspace(0, 2 * np.pi, 25)
    outer = disc(x, y, rx, ry, angles)
    inner = disc(x, y, rx * 0.75, ry * 0.75, angles[::-1])
    return np.concatenate((outer, inner))


def wheels(xs: Sequence[float], y: float, rx: float, ry: float) -> list[Part]:
    return [Part(disc(x, y, rx, ry), TYRE) for x in xs]


def bar(start: Point, end: Point, width: float) -> np.ndarray:
    x, y = np.subtract(end, start)
    across = np.array((-y, x)) / np.hypot(x, y) * width / 2
    return np.stack((start + across, end + across, end - across, start - across))


def cloth(points: np.ndarray | Sequence[Point], colour: Colour) -> Part:
    return Part(points, colour, "cloth", 0.3)


def paint(rng: Rng, *, grey: float = 0.4) -> Colour:
    """A car paint or a piece of cloth: any colour, often a grey one."""
    if rng.random() < grey:
        return (rng.uniform(0.08, 0.8),) * 3
    return rng.uniform(0.04, 0.9, 3)


def livery(rng: Rng, *colours: Colour) -> Colour:
    """One of the colours that a kind of vehicle usually has, or any other."""
    if rng.random() < 0.6:
        return paint(rng)
    return shade(rng, rng.choice(np.array(colours)), 0.75, 1.2)


def shade(rng: Rng, colour: Colour, darkest: float, brightest: float) -> Colour:
    """A colour darker or brighter by a factor between these two."""
    return (np.array(colour) * rng.uniform(darkest, brightest)).clip(0, 1)


def tinted(rng: Rng, colour: Colour, spread: float) -> Colour:
    """A colour a little brighter or darker, and of another tone."""
    scaled = np.array(colour) * rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.92, 1.08, 3)
    return scaled.clip(0.02, 1)
