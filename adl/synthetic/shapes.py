"""Flat shapes in a box of one by one, y down, of which objects are made, and their colours.

finish: texture and contrast of a part, if it is no painted metal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from adl.synthetic.canvas import Part

TYRE = (0.07, 0.07, 0.08)
METAL = (0.45, 0.46, 0.48)
CLOTH = ("cloth", 0.3)


def box(colour: ArrayLike, left: float, top: float, right: float, bottom: float, *finish: Any) -> Part:
    return polygon(colour, [left, top, right, top, right, bottom, left, bottom], *finish)


def polygon(colour: ArrayLike, xy: Sequence[float], *finish: Any) -> Part:
    """A shape from its corners x, y, x, y…"""
    return Part(colour, np.reshape(xy, (-1, 2)), *finish)


def symmetric(colour: ArrayLike, xy: Sequence[float], *finish: Any) -> Part:
    """A symmetric shape from its left half x, y, x, y…, from top to bottom."""
    left = np.reshape(xy, (-1, 2))
    return Part(colour, np.concatenate((left, (1, 0) - left[::-1] * (1, -1))), *finish)


def circle(points: int) -> np.ndarray:
    """Points around a circle of radius 1; the last one is the first one again."""
    angles = np.linspace(0, 2 * np.pi, points)
    return np.transpose((np.cos(angles), np.sin(angles)))


def disc(colour: ArrayLike, x: float, y: float, rx: float, ry: float, *finish: Any) -> Part:
    return Part(colour, circle(21)[:-1] * (rx, ry) + (x, y), *finish)


def wheels(xs: Sequence[float], y: float, rx: float, ry: float) -> list[Part]:
    return [disc(TYRE, x, y, rx, ry) for x in xs]


def bar(
    colour: ArrayLike,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    *finish: Any,
) -> Part:
    x, y = np.subtract(end, start)
    across = np.array((-y, x)) / np.hypot(x, y) * width / 2
    return Part(colour, np.array((start + across, end + across, end - across, start - across)), *finish)


def paint(rng: Generator, *, grey: float = 0.4) -> ArrayLike:
    """A car paint or a piece of cloth: any colour, often a grey one."""
    if rng.random() < grey:
        return rng.uniform(0.08, 0.8)
    return rng.uniform(0.04, 0.9, 3)


def livery(rng: Generator, *colours: tuple[float, float, float]) -> ArrayLike:
    """One of the colours that a kind of vehicle usually has, or any other."""
    if rng.random() < 0.6:
        return paint(rng)
    return shade(rng, rng.choice(colours), 0.75, 1.2)


def shade(rng: Generator, colour: ArrayLike, darkest: float, brightest: float) -> np.ndarray:
    """A colour darker or brighter by a factor between these two."""
    return np.multiply(colour, rng.uniform(darkest, brightest)).clip(0, 1)


def tinted(rng: Generator, colour: ArrayLike, spread: float) -> np.ndarray:
    """A colour a little brighter or darker, and of another tone."""
    brightness = rng.uniform(1 - spread, 1 + spread)
    return (np.multiply(colour, brightness) * rng.uniform(0.92, 1.08, 3)).clip(0.02, 1)
