"""What stands and drives in a street, and where: each object a few flat shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from adl.synthetic.canvas import Canvas
from adl.synthetic.shapes import METAL, TYRE, Part, Rng, bar, box, disc, livery, paint
from adl.synthetic.vehicles import (
    bicycle,
    bus,
    car,
    caravan,
    motorcycle,
    ridden,
    trailer,
    train,
    truck,
)


def person(rng: Rng) -> list[Part]:
    skin = tuple((np.array((0.85, 0.66, 0.54)) * rng.uniform(0.4, 1.1)).clip(0, 1).tolist())
    coat, stride = livery(rng, (0.45, 0.12, 0.3), (0.2, 0.22, 0.42)), rng.uniform(0.02, 0.22)
    trousers = tuple((np.array((0.13, 0.14, 0.2)) * rng.uniform(0.5, 1.6)).tolist())
    return [
        Part(bar((0.45, 0.5), (0.45 - stride, 1), 0.2), trousers, "cloth", 0.3),
        Part(bar((0.55, 0.5), (0.55 + stride, 1), 0.2), trousers, "cloth", 0.3),
        Part([(0.2, 0.2), (0.8, 0.2), (0.74, 0.56), (0.26, 0.56)], coat, "cloth", 0.3),
        Part(bar((0.2, 0.22), (0.1, 0.55), 0.16), coat, "cloth", 0.3),
        Part(bar((0.8, 0.22), (0.9, 0.55), 0.16), coat, "cloth", 0.3),
        Part(disc(0.5, 0.1, 0.19, 0.095), skin),
    ]


def _post(rng: Rng) -> Part:
    return Part(
        box(0.36, 0.06, 0.64, 1),
        tuple((np.array(METAL) * rng.uniform(0.5, 1.4)).tolist()),
        label=17,
    )


def pole(rng: Rng) -> list[Part]:
    post = tuple((np.array(METAL) * rng.uniform(0.4, 1.5)).tolist())
    parts = [Part(box(0.36, 0, 0.64, 1), post, "metal", 0.1)]
    if rng.random() < 0.5:  # a lamp on an arm
        parts.append(Part(box(0.5, 0, 3.0, 0.025), post))
    return parts


def polegroup(rng: Rng) -> list[Part]:
    return [Part(box(x, rng.uniform(0, 0.2), x + 0.09, 1), METAL) for x in np.arange(0, 1, 0.18)]


def traffic_light(rng: Rng) -> list[Part]:
    case = tuple((np.array((0.1, 0.1, 0.08)) * rng.uniform(0.5, 2.5)).tolist())
    lit = rng.integers(3)
    lamps = ((0.95, 0.12, 0.08), (0.98, 0.75, 0.1), (0.15, 0.9, 0.35))
    lights = [
        Part(disc(0.5, 0.055 + 0.1 * i, 0.26, 0.04), lamps[i] if i == lit else (0.05, 0.05, 0.05))
        for i in range(3)
    ]
    return [_post(rng), Part(box(0.1, 0, 0.9, 0.31), case, contrast=0.02), *lights]


def traffic_sign(rng: Rng) -> list[Part]:
    kind = rng.integers(4)
    red, white, blue, yellow = (
        (0.78, 0.08, 0.08),
        (0.92, 0.92, 0.9),
        (0.08, 0.22, 0.65),
        (0.95, 0.8, 0.1),
    )
    if kind == 0:
        board = [Part(disc(0.5, 0.16, 0.5, 0.16), red), Part(disc(0.5, 0.16, 0.34, 0.11), white)]
    elif kind == 1:
        board = [
            Part([(0.5, 0), (1, 0.31), (0, 0.31)], red),
            Part([(0.5, 0.09), (0.78, 0.27), (0.22, 0.27)], white),
        ]
    elif kind == 2:
        board = [Part(box(0, 0, 1, 0.32), blue), Part([(0.5, 0.04), (0.8, 0.2), (0.2, 0.2)], white)]
    else:
        board = [
            Part([(0.5, 0), (1, 0.16), (0.5, 0.32), (0, 0.16)], white),
            Part(disc(0.5, 0.16, 0.3, 0.1), yellow),
        ]
    return [_post(rng), *board]


def tree(rng: Rng) -> list[Part]:
    green = (rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25))
    crown = []
    for _ in range(9):
        x, y = 0.5 + rng.uniform(-0.26, 0.26), 0.36 + rng.uniform(-0.18, 0.2)
        leaf = tuple((np.array(green) * rng.uniform(0.7, 1.25)).tolist())
        crown.append(
            Part(disc(x, y, rng.uniform(0.2, 0.3), rng.uniform(0.13, 0.2)), leaf, "leaves", 0.45)
        )
    return [Part(box(0.45, 0.4, 0.55, 1), (0.27, 0.2, 0.14), "grass", 0.3), *crown]


def bush(rng: Rng) -> list[Part]:
    green = (rng.uniform(0.12, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25))
    return [
        Part(disc(x, 0.6, 0.26, rng.uniform(0.3, 0.5)), green, "leaves", 0.45)
        for x in (0.25, 0.5, 0.75)
    ]


def bin_(rng: Rng) -> list[Part]:
    colour = paint(rng)
    return [Part(box(0.1, 0.12, 0.9, 1), colour), Part(box(0, 0, 1, 0.14), TYRE)]


def cart(rng: Rng) -> list[Part]:
    return [
        Part([(0, 0.1), (1, 0.2), (0.85, 0.75), (0.15, 0.75)], paint(rng), "cloth", 0.3),
        Part(disc(0.25, 0.87, 0.12, 0.13), TYRE),
        Part(disc(0.75, 0.87, 0.12, 0.13), TYRE),
    ]


@dataclasses.dataclass(frozen=True)
class Kind:
    """label: id. mean: how many a scene has. size: (width, height) in metres. zone: where it stands. reach: metres."""

    label: int
    mean: float
    size: tuple[float, float]
    zone: str
    draw: Callable[[Rng], list[Part]]
    reach: tuple[float, float] = (8, 45)


KINDS = (
    Kind(26, 2.0, (3.4, 1.7), "lane", car, (7, 40)),
    Kind(26, 0.8, (4.2, 1.7), "kerb", car, (8, 30)),
    Kind(27, 0.7, (7.0, 3.6), "lane", truck, (12, 38)),
    Kind(28, 0.7, (8.5, 3.4), "lane", bus, (12, 38)),
    Kind(31, 0.9, (10.0, 3.7), "beside", train, (14, 38)),
    Kind(29, 0.15, (4.5, 2.6), "kerb", caravan, (10, 30)),
    Kind(30, 0.15, (2.8, 1.5), "kerb", trailer, (8, 25)),
    Kind(24, 3.0, (1.2, 2.0), "pavement", person, (7, 17)),
    Kind(24, 0.8, (1.2, 2.0), "lane", person, (8, 17)),
    Kind(25, 0.8, (2.0, 2.0), "lane", ridden(bicycle, 33), (7, 18)),
    Kind(25, 0.8, (2.3, 2.0), "lane", ridden(motorcycle, 32), (7, 18)),
    Kind(33, 1.5, (2.4, 1.5), "pavement", bicycle, (7, 16)),
    Kind(32, 1.0, (2.4, 1.5), "kerb", motorcycle, (7, 16)),
    Kind(17, 2.0, (0.7, 6.5), "pavement", pole, (7, 17)),
    Kind(18, 0.2, (1.0, 5.0), "pavement", polegroup, (8, 25)),
    Kind(19, 1.8, (1.1, 4.4), "pavement", traffic_light, (7, 17)),
    Kind(20, 2.2, (1.4, 3.5), "pavement", traffic_sign, (7, 17)),
    Kind(21, 1.4, (5.0, 7.5), "beside", tree, (10, 45)),
    Kind(21, 0.6, (2.4, 1.3), "beside", bush, (9, 30)),
    Kind(4, 0.4, (0.7, 1.1), "pavement", bin_, (7, 25)),
    Kind(5, 0.3, (0.8, 1.0), "pavement", cart, (7, 25)),
)
"""Label ids as in the official table; rare classes are made frequent enough to be learned from few images."""


def place(canvas: Canvas, kind: Kind, x: float, z: float, rng: Rng) -> None:
    """Paint one object that stands on the ground at (x, z)."""
    scale = rng.uniform(0.85, 1.15)
    width, height = kind.size[0] * scale, kind.size[1] * scale
    column, row = canvas.project(x, 0, z)
    metre = canvas.focal / z
    mirrored = rng.random() < 0.5
    for part in kind.draw(rng):
        points = [
            (
                column + (0.5 - u if mirrored else u - 0.5) * width * metre,
                row + (v - 1) * height * metre,
            )
            for u, v in part.points
        ]
        canvas.polygon(
            points,
            label=kind.label if part.label is None else part.label,
            colour=part.colour,
            z=z,
            texture=part.texture,
            contrast=part.contrast,
        )
