"""What drives in a street."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from adl.synthetic.canvas import Part
from adl.synthetic.shapes import (
    CLOTH,
    METAL,
    TYRE,
    bar,
    box,
    circle,
    disc,
    livery,
    paint,
    polygon,
    symmetric,
    wheels,
)

GLASS = (0.16, 0.2, 0.25)


def car(rng: Generator) -> list[Part]:
    body = paint(rng)
    if rng.random() < 0.5:  # from behind
        return [
            box(TYRE, 0.06, 0.78, 0.24, 1),
            box(TYRE, 0.76, 0.78, 0.94, 1),
            symmetric(body, [0.2, 0.02, 0.06, 0.42, 0, 0.5, 0, 0.9]),
            symmetric(GLASS, [0.24, 0.08, 0.13, 0.4]),
            box((0.7, 0.08, 0.06), 0.03, 0.5, 0.17, 0.62),
            box((0.7, 0.08, 0.06), 0.83, 0.5, 0.97, 0.62),
        ]
    return [
        polygon(body, [0, 0.52, 0.16, 0.45, 0.3, 0.04, 0.7, 0.04, 0.86, 0.45, 1, 0.55, 1, 0.86, 0, 0.86]),
        polygon(GLASS, [0.22, 0.42, 0.33, 0.12, 0.48, 0.12, 0.48, 0.42]),
        polygon(GLASS, [0.52, 0.42, 0.52, 0.12, 0.67, 0.12, 0.79, 0.42]),
        *wheels((0.21, 0.79), 0.83, 0.085, 0.2),
    ]


def truck(rng: Generator) -> list[Part]:
    load = livery(rng, (0.85, 0.85, 0.83), (0.2, 0.35, 0.6), (0.6, 0.3, 0.15))
    return [
        box(load, 0, 0, 0.7, 0.84, "ribs", 0.28),
        polygon(paint(rng), [0.73, 0.22, 0.93, 0.22, 1, 0.52, 1, 0.9, 0.73, 0.9]),
        polygon(GLASS, [0.8, 0.28, 0.91, 0.28, 0.97, 0.5, 0.8, 0.5]),
        box(TYRE, 0.0, 0.84, 0.75, 0.9),
        *wheels((0.1, 0.24, 0.38, 0.87), 0.91, 0.055, 0.09),
    ]


def bus(rng: Generator) -> list[Part]:
    body = livery(rng, (0.85, 0.68, 0.1), (0.72, 0.14, 0.1))
    return [
        symmetric(body, [0.02, 0, 0, 0.08, 0, 0.92]),
        *(box(GLASS, x, 0.14, x + 0.1, 0.5) for x in np.arange(0.03, 0.9, 0.117)),
        box((0.9, 0.9, 0.88), 0, 0.58, 1, 0.66),
        *wheels((0.2, 0.78), 0.92, 0.05, 0.08),
    ]


def train(rng: Generator) -> list[Part]:
    body = livery(rng, (0.16, 0.42, 0.3), (0.55, 0.6, 0.62))
    return [
        box(METAL, 0.45, -0.12, 0.46, 0.05),
        box(METAL, 0.55, -0.12, 0.56, 0.05),
        symmetric(body, [0.04, 0.05, 0, 0.45, 0, 0.95], "slats", 0.25),
        box(GLASS, 0.03, 0.2, 0.97, 0.48),
        *(box((0.75, 0.75, 0.72), x, 0.2, x + 0.045, 0.9) for x in (0.2, 0.5, 0.78)),
        box((0.15, 0.15, 0.16), 0, 0.82, 1, 0.88),
        box(TYRE, 0.05, 0.95, 0.95, 1),
    ]


def caravan(rng: Generator) -> list[Part]:
    return [
        polygon((0.85, 0.83, 0.78), [0.08, 0, 0.9, 0, 1, 0.3, 1, 0.88, 0, 0.88, 0, 0.2]),
        box(GLASS, 0.15, 0.2, 0.45, 0.48),
        box((0.7, 0.68, 0.62), 0.6, 0.18, 0.78, 0.85),
        disc(TYRE, 0.5, 0.9, 0.09, 0.12),
    ]


def trailer(rng: Generator) -> list[Part]:
    return [
        box(paint(rng), 0, 0.15, 0.85, 0.7, "cloth", 0.15),
        box(METAL, 0.85, 0.62, 1, 0.7),
        disc(TYRE, 0.4, 0.82, 0.1, 0.2),
    ]


def _tyre(x: float) -> Part:
    """A closed band, a quarter of the radius wide, as one polygon with a seam."""
    rim = circle(25)
    band = np.concatenate((rim * (0.22, 0.32), rim[::-1] * (0.165, 0.24)))
    return Part(TYRE, np.add(band, (x, 0.68)))


def bicycle(rng: Generator) -> list[Part]:
    frame = paint(rng, grey=0.3)
    rear, seat, front, pedals = (0.22, 0.68), (0.4, 0.3), (0.72, 0.3), (0.5, 0.7)
    return [
        # Wheels are filled: annotators label through the spokes.
        *(disc(0.5, x, 0.68, 0.22, 0.32, "ribs", 0.3) for x in (0.22, 0.78)),
        *(_tyre(x) for x in (0.22, 0.78)),
        *(bar(frame, start, end, 0.08) for start, end in pairwise((seat, front, pedals, rear, seat, pedals))),
        bar(frame, front, (0.78, 0.68), 0.05),
        bar(METAL, (0.7, 0.12), (0.74, 0.32), 0.05),
        box(TYRE, 0.62, 0.1, 0.78, 0.15),
        box(TYRE, 0.32, 0.22, 0.48, 0.28),
    ]


def motorcycle(rng: Generator) -> list[Part]:
    body = livery(rng, (0.6, 0.1, 0.1), (0.14, 0.14, 0.16))
    return [
        *wheels((0.2, 0.8), 0.7, 0.19, 0.3),
        *(disc(METAL, x, 0.7, 0.07, 0.12) for x in (0.2, 0.8)),
        polygon(body, [0.1, 0.35, 0.45, 0.32, 0.66, 0.2, 0.82, 0.34, 0.72, 0.72, 0.34, 0.76]),
        box(TYRE, 0.12, 0.28, 0.48, 0.38),
        bar(METAL, (0.66, 0.06), (0.76, 0.4), 0.06),
    ]


def rider(vehicle: Callable[[Generator], list[Part]], label: str, rng: Generator) -> list[Part]:
    """A rider (the object's own label) who sits on a vehicle (of another label)."""
    coat = livery(rng, (0.75, 0.85, 0.1), (0.95, 0.45, 0.1), (0.3, 0.3, 0.4))
    trousers = paint(rng)
    return [
        *(part._replace(points=part.points * (1, 0.55) + (0, 0.45), label=label) for part in vehicle(rng)),
        bar(trousers, (0.4, 0.52), (0.6, 0.66), 0.13, *CLOTH),
        bar(trousers, (0.6, 0.64), (0.52, 0.86), 0.11, *CLOTH),
        polygon(coat, [0.3, 0.54, 0.42, 0.16, 0.62, 0.18, 0.52, 0.56], *CLOTH),
        bar(coat, (0.56, 0.24), (0.76, 0.5), 0.09, *CLOTH),
        disc(paint(rng, grey=0.6), 0.58, 0.09, 0.11, 0.085),
    ]
