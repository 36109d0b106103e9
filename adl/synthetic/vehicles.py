"""What drives in a street."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from adl.synthetic.canvas import Colour
from adl.synthetic.shapes import (
    METAL,
    TYRE,
    Part,
    Rng,
    bar,
    box,
    cloth,
    disc,
    livery,
    mirrored,
    paint,
    ring,
    wheels,
)

GLASS: Colour = (0.16, 0.2, 0.25)


def car(rng: Rng) -> list[Part]:
    body = paint(rng)
    if rng.random() < 0.5:  # from behind
        return [
            Part(box(0.06, 0.78, 0.24, 1), TYRE),
            Part(box(0.76, 0.78, 0.94, 1), TYRE),
            Part(
                mirrored((0.2, 0.02), (0.06, 0.42), (0, 0.5), (0, 0.9)),
                body,
            ),
            Part(mirrored((0.24, 0.08), (0.13, 0.4)), GLASS),
            Part(box(0.03, 0.5, 0.17, 0.62), (0.7, 0.08, 0.06)),
            Part(box(0.83, 0.5, 0.97, 0.62), (0.7, 0.08, 0.06)),
        ]
    return [
        Part(
            [
                (0, 0.52),
                (0.16, 0.45),
                (0.3, 0.04),
                (0.7, 0.04),
                (0.86, 0.45),
                (1, 0.55),
                (1, 0.86),
                (0, 0.86),
            ],
            body,
        ),
        Part([(0.22, 0.42), (0.33, 0.12), (0.48, 0.12), (0.48, 0.42)], GLASS),
        Part([(0.52, 0.42), (0.52, 0.12), (0.67, 0.12), (0.79, 0.42)], GLASS),
        *wheels((0.21, 0.79), 0.83, 0.085, 0.2),
    ]


def truck(rng: Rng) -> list[Part]:
    load, cab = livery(rng, (0.85, 0.85, 0.83), (0.2, 0.35, 0.6), (0.6, 0.3, 0.15)), paint(rng)
    return [
        Part(box(0, 0, 0.7, 0.84), load, "ribs", 0.28),
        Part([(0.73, 0.22), (0.93, 0.22), (1, 0.52), (1, 0.9), (0.73, 0.9)], cab),
        Part([(0.8, 0.28), (0.91, 0.28), (0.97, 0.5), (0.8, 0.5)], GLASS),
        Part(box(0.0, 0.84, 0.75, 0.9), TYRE),
        *wheels((0.1, 0.24, 0.38, 0.87), 0.91, 0.055, 0.09),
    ]


def bus(rng: Rng) -> list[Part]:
    body = livery(rng, (0.85, 0.68, 0.1), (0.72, 0.14, 0.1))
    windows = [Part(box(x, 0.14, x + 0.1, 0.5), GLASS) for x in np.arange(0.03, 0.9, 0.117)]
    return [
        Part(mirrored((0.02, 0), (0, 0.08), (0, 0.92)), body),
        *windows,
        Part(box(0, 0.58, 1, 0.66), (0.9, 0.9, 0.88)),
        *wheels((0.2, 0.78), 0.92, 0.05, 0.08),
    ]


def train(rng: Rng) -> list[Part]:
    body = livery(rng, (0.16, 0.42, 0.3), (0.55, 0.6, 0.62))
    doors = [Part(box(x, 0.2, x + 0.045, 0.9), (0.75, 0.75, 0.72)) for x in (0.2, 0.5, 0.78)]
    return [
        Part(box(0.45, -0.12, 0.46, 0.05), METAL),
        Part(box(0.55, -0.12, 0.56, 0.05), METAL),
        Part(
            mirrored((0.04, 0.05), (0, 0.45), (0, 0.95)),
            body,
            "slats",
            0.25,
        ),
        Part(box(0.03, 0.2, 0.97, 0.48), GLASS),
        *doors,
        Part(box(0, 0.82, 1, 0.88), (0.15, 0.15, 0.16)),
        Part(box(0.05, 0.95, 0.95, 1), TYRE),
    ]


def caravan(rng: Rng) -> list[Part]:
    return [
        Part([(0.08, 0), (0.9, 0), (1, 0.3), (1, 0.88), (0, 0.88), (0, 0.2)], (0.85, 0.83, 0.78)),
        Part(box(0.15, 0.2, 0.45, 0.48), GLASS),
        Part(box(0.6, 0.18, 0.78, 0.85), (0.7, 0.68, 0.62)),
        Part(disc(0.5, 0.9, 0.09, 0.12), TYRE),
    ]


def trailer(rng: Rng) -> list[Part]:
    return [
        Part(box(0, 0.15, 0.85, 0.7), paint(rng), "cloth", 0.15),
        Part(box(0.85, 0.62, 1, 0.7), METAL),
        Part(disc(0.4, 0.82, 0.1, 0.2), TYRE),
    ]


def bicycle(rng: Rng) -> list[Part]:
    frame = paint(rng, grey=0.3)
    rear, seat, front, pedals = (0.22, 0.68), (0.4, 0.3), (0.72, 0.3), (0.5, 0.7)
    tubes = ((rear, seat), (seat, front), (front, pedals), (pedals, rear), (seat, pedals))
    return [
        # Wheels are filled: annotators label through the spokes.
        *(Part(disc(x, 0.68, 0.22, 0.32), (0.5, 0.5, 0.5), "ribs", 0.3) for x in (0.22, 0.78)),
        *(Part(ring(x, 0.68, 0.22, 0.32), TYRE) for x in (0.22, 0.78)),
        *(Part(bar(start, end, 0.08), frame) for start, end in tubes),
        Part(bar(front, (0.78, 0.68), 0.05), frame),
        Part(bar((0.7, 0.12), (0.74, 0.32), 0.05), METAL),
        Part(box(0.62, 0.1, 0.78, 0.15), TYRE),
        Part(box(0.32, 0.22, 0.48, 0.28), TYRE),
    ]


def motorcycle(rng: Rng) -> list[Part]:
    body = livery(rng, (0.6, 0.1, 0.1), (0.14, 0.14, 0.16))
    return [
        *wheels((0.2, 0.8), 0.7, 0.19, 0.3),
        *(Part(disc(x, 0.7, 0.07, 0.12), METAL) for x in (0.2, 0.8)),
        Part(
            [(0.1, 0.35), (0.45, 0.32), (0.66, 0.2), (0.82, 0.34), (0.72, 0.72), (0.34, 0.76)], body
        ),
        Part(box(0.12, 0.28, 0.48, 0.38), TYRE),
        Part(bar((0.66, 0.06), (0.76, 0.4), 0.06), METAL),
    ]


def ridden(vehicle: Callable[[Rng], list[Part]], label: str) -> Callable[[Rng], list[Part]]:
    """A rider (the object's own label) who sits on a vehicle (of another label)."""

    def draw(rng: Rng) -> list[Part]:
        coat = livery(rng, (0.75, 0.85, 0.1), (0.95, 0.45, 0.1), (0.3, 0.3, 0.4))
        trousers = paint(rng)
        lower = []
        for part in vehicle(rng):
            points = np.array(part.points) * (1, 0.55) + (0, 0.45)
            lower.append(dataclasses.replace(part, points=points, label=label))
        return [
            *lower,
            cloth(bar((0.4, 0.52), (0.6, 0.66), 0.13), trousers),
            cloth(bar((0.6, 0.64), (0.52, 0.86), 0.11), trousers),
            cloth([(0.3, 0.54), (0.42, 0.16), (0.62, 0.18), (0.52, 0.56)], coat),
            cloth(bar((0.56, 0.24), (0.76, 0.5), 0.09), coat),
            Part(disc(0.58, 0.09, 0.11, 0.085), paint(rng, grey=0.6)),
        ]

    return draw
