"""What stands and drives in a street: each object a few flat shapes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from adl.synthetic.canvas import Canvas, Part
from adl.synthetic.shapes import (
    CLOTH,
    METAL,
    TYRE,
    bar,
    box,
    disc,
    livery,
    paint,
    polygon,
    shade,
    symmetric,
    wheels,
)
from adl.synthetic.vehicles import (
    bicycle,
    bus,
    car,
    caravan,
    motorcycle,
    rider,
    trailer,
    train,
    truck,
)


def person(rng: Generator) -> list[Part]:
    skin = shade(rng, (0.85, 0.66, 0.54), 0.4, 1.1)
    coat = livery(rng, (0.45, 0.12, 0.3), (0.2, 0.22, 0.42))
    stride = rng.uniform(0.02, 0.22)
    trousers = shade(rng, (0.13, 0.14, 0.2), 0.5, 1.6)
    return [
        bar(trousers, (0.45, 0.5), (0.45 - stride, 1), 0.2, *CLOTH),
        bar(trousers, (0.55, 0.5), (0.55 + stride, 1), 0.2, *CLOTH),
        symmetric(coat, [0.2, 0.2, 0.26, 0.56], *CLOTH),
        bar(coat, (0.2, 0.22), (0.1, 0.55), 0.16, *CLOTH),
        bar(coat, (0.8, 0.22), (0.9, 0.55), 0.16, *CLOTH),
        disc(skin, 0.5, 0.1, 0.19, 0.095),
    ]


def _post(rng: Generator) -> Part:
    return box(shade(rng, METAL, 0.5, 1.4), 0.36, 0.06, 0.64, 1)._replace(label="pole")


def pole(rng: Generator) -> list[Part]:
    post = shade(rng, METAL, 0.4, 1.5)
    parts = [box(post, 0.36, 0, 0.64, 1, "metal", 0.1)]
    if rng.random() < 0.5:  # a lamp on an arm
        parts.append(box(post, 0.5, 0, 3.0, 0.025))
    return parts


def polegroup(rng: Generator) -> list[Part]:
    return [box(METAL, x, rng.uniform(0, 0.2), x + 0.09, 1) for x in np.arange(0, 1, 0.18)]


def traffic_light(rng: Generator) -> list[Part]:
    case = shade(rng, (0.1, 0.1, 0.08), 0.5, 2.5)
    lamps: list[ArrayLike] = [0.05] * 3
    lit = rng.integers(3)
    lamps[lit] = ((0.95, 0.12, 0.08), (0.98, 0.75, 0.1), (0.15, 0.9, 0.35))[lit]
    return [
        _post(rng),
        box(case, 0.1, 0, 0.9, 0.31, "metal", 0.02),
        *(disc(lamp, 0.5, 0.055 + 0.1 * i, 0.26, 0.04) for i, lamp in enumerate(lamps)),
    ]


WHITE = (0.92, 0.92, 0.9)
RED = (0.78, 0.08, 0.08)
SIGNS = (
    (disc(RED, 0.5, 0.16, 0.5, 0.16), disc(WHITE, 0.5, 0.16, 0.34, 0.11)),
    (symmetric(RED, [0.5, 0, 0, 0.31]), symmetric(WHITE, [0.5, 0.09, 0.22, 0.27])),
    (box((0.08, 0.22, 0.65), 0, 0, 1, 0.32), symmetric(WHITE, [0.5, 0.04, 0.2, 0.2])),
    (
        symmetric(WHITE, [0.5, 0, 0, 0.16, 0.5, 0.32]),
        disc((0.95, 0.8, 0.1), 0.5, 0.16, 0.3, 0.1),
    ),
)
"""Board and symbol: no entry, danger, crossing, priority."""


def traffic_sign(rng: Generator) -> list[Part]:
    sign = SIGNS[rng.integers(len(SIGNS))]
    return [_post(rng), *sign]


def tree(rng: Generator) -> list[Part]:
    green = rng.uniform((0.1, 0.25, 0.05), (0.4, 0.5, 0.25))
    parts = [box((0.27, 0.2, 0.14), 0.45, 0.4, 0.55, 1, "grass", 0.3)]
    for _ in range(9):
        x, y = 0.5 + rng.uniform(-0.26, 0.26), 0.36 + rng.uniform(-0.18, 0.2)
        leaf = shade(rng, green, 0.7, 1.25)
        rx, ry = rng.uniform((0.2, 0.13), (0.3, 0.2))
        parts.append(disc(leaf, x, y, rx, ry, "leaves", 0.45))
    return parts


def bush(rng: Generator) -> list[Part]:
    green = rng.uniform((0.12, 0.25, 0.05), (0.4, 0.5, 0.25))
    return [disc(green, x, 0.6, 0.26, rng.uniform(0.3, 0.5), "leaves", 0.45) for x in (0.25, 0.5, 0.75)]


def bin_(rng: Generator) -> list[Part]:
    return [box(paint(rng), 0.1, 0.12, 0.9, 1), box(TYRE, 0, 0, 1, 0.14)]


def cart(rng: Generator) -> list[Part]:
    return [
        polygon(paint(rng), [0, 0.1, 1, 0.2, 0.85, 0.75, 0.15, 0.75], *CLOTH),
        *wheels((0.25, 0.75), 0.87, 0.12, 0.13),
    ]


class Kind(NamedTuple):
    """A kind of object.

    label: its name. mean: how many a scene has. width, height: in metres. zone: where it stands. nearest, farthest:
    in metres.
    """

    label: str
    mean: float
    width: float
    height: float
    zone: str
    draw: Callable[[Generator], list[Part]]
    nearest: float
    farthest: float


KINDS = (
    Kind("car", 2.0, 3.4, 1.7, "lane", car, 7, 40),
    Kind("car", 0.8, 4.2, 1.7, "kerb", car, 8, 30),
    Kind("truck", 0.7, 7.0, 3.6, "lane", truck, 12, 38),
    Kind("bus", 0.7, 8.5, 3.4, "lane", bus, 12, 38),
    Kind("train", 0.9, 10.0, 3.7, "beside", train, 14, 38),
    Kind("caravan", 0.15, 4.5, 2.6, "kerb", caravan, 10, 30),
    Kind("trailer", 0.15, 2.8, 1.5, "kerb", trailer, 8, 25),
    Kind("person", 3.0, 1.2, 2.0, "pavement", person, 7, 17),
    Kind("person", 0.8, 1.2, 2.0, "lane", person, 8, 17),
    Kind("rider", 0.8, 2.0, 2.0, "lane", partial(rider, bicycle, "bicycle"), 7, 18),
    Kind("rider", 0.8, 2.3, 2.0, "lane", partial(rider, motorcycle, "motorcycle"), 7, 18),
    Kind("bicycle", 1.5, 2.4, 1.5, "pavement", bicycle, 7, 16),
    Kind("motorcycle", 1.0, 2.4, 1.5, "kerb", motorcycle, 7, 16),
    Kind("pole", 2.0, 0.7, 6.5, "pavement", pole, 7, 17),
    Kind("polegroup", 0.2, 1.0, 5.0, "pavement", polegroup, 8, 25),
    Kind("traffic light", 1.8, 1.1, 4.4, "pavement", traffic_light, 7, 17),
    Kind("traffic sign", 2.2, 1.4, 3.5, "pavement", traffic_sign, 7, 17),
    Kind("vegetation", 1.4, 5.0, 7.5, "beside", tree, 10, 45),
    Kind("vegetation", 0.6, 2.4, 1.3, "beside", bush, 9, 30),
    Kind("static", 0.4, 0.7, 1.1, "pavement", bin_, 7, 25),
    Kind("dynamic", 0.3, 0.8, 1.0, "pavement", cart, 7, 25),
)
"""Rare classes are made frequent enough to be learned from few images."""


def populate(canvas: Canvas, rng: Generator) -> None:
    """Draw which objects a street has and where they stand on the ground, and paint them."""
    standing = []
    for kind in KINDS:
        for _ in range(rng.poisson(kind.mean)):
            # Even in 1/z, so that objects of all sizes on the picture are about equally frequent.
            z = 1 / rng.uniform(1 / kind.farthest, 1 / kind.nearest)
            x = canvas.layout.place(kind.zone, kind.width, rng) + canvas.layout.middle(z)
            standing.append((z, kind, x))
    for z, kind, x in sorted(standing, key=itemgetter(0), reverse=True):
        foot = canvas.project(x, 0, z)
        size = np.multiply((kind.width, kind.height), rng.uniform(0.85, 1.15))
        if rng.random() < 0.5:
            size *= (-1, 1)  # it faces the other way
        for part in kind.draw(rng):
            points = foot + (part.points - (0.5, 1)) * size * (canvas.focal / z)
            canvas.polygon(part._replace(points=points), kind.label, z)
