"""What stands and drives in a street, and where: each object a few flat shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from adl.synthetic.canvas import Canvas, Colour
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
    shade,
    wheels,
)
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
    skin = shade(rng, (0.85, 0.66, 0.54), 0.4, 1.1)
    coat, stride = livery(rng, (0.45, 0.12, 0.3), (0.2, 0.22, 0.42)), rng.uniform(0.02, 0.22)
    trousers = shade(rng, (0.13, 0.14, 0.2), 0.5, 1.6)
    return [
        cloth(bar((0.45, 0.5), (0.45 - stride, 1), 0.2), trousers),
        cloth(bar((0.55, 0.5), (0.55 + stride, 1), 0.2), trousers),
        cloth(mirrored((0.2, 0.2), (0.26, 0.56)), coat),
        cloth(bar((0.2, 0.22), (0.1, 0.55), 0.16), coat),
        cloth(bar((0.8, 0.22), (0.9, 0.55), 0.16), coat),
        Part(disc(0.5, 0.1, 0.19, 0.095), skin),
    ]


def _post(rng: Rng) -> Part:
    return Part(box(0.36, 0.06, 0.64, 1), shade(rng, METAL, 0.5, 1.4), label="pole")


def pole(rng: Rng) -> list[Part]:
    post = shade(rng, METAL, 0.4, 1.5)
    parts = [Part(box(0.36, 0, 0.64, 1), post, "metal", 0.1)]
    if rng.random() < 0.5:  # a lamp on an arm
        parts.append(Part(box(0.5, 0, 3.0, 0.025), post))
    return parts


def polegroup(rng: Rng) -> list[Part]:
    return [Part(box(x, rng.uniform(0, 0.2), x + 0.09, 1), METAL) for x in np.arange(0, 1, 0.18)]


def traffic_light(rng: Rng) -> list[Part]:
    case = shade(rng, (0.1, 0.1, 0.08), 0.5, 2.5)
    lit = rng.integers(3)
    lamps = ((0.95, 0.12, 0.08), (0.98, 0.75, 0.1), (0.15, 0.9, 0.35))
    lights = [
        Part(disc(0.5, 0.055 + 0.1 * i, 0.26, 0.04), lamps[i] if i == lit else (0.05, 0.05, 0.05))
        for i in range(3)
    ]
    return [_post(rng), Part(box(0.1, 0, 0.9, 0.31), case, contrast=0.02), *lights]


WHITE: Colour = (0.92, 0.92, 0.9)
RED: Colour = (0.78, 0.08, 0.08)
SIGNS = (
    (disc(0.5, 0.16, 0.5, 0.16), RED, disc(0.5, 0.16, 0.34, 0.11), WHITE),
    (mirrored((0.5, 0), (0, 0.31)), RED, mirrored((0.5, 0.09), (0.22, 0.27)), WHITE),
    (box(0, 0, 1, 0.32), (0.08, 0.22, 0.65), mirrored((0.5, 0.04), (0.2, 0.2)), WHITE),
    (
        mirrored((0.5, 0), (0, 0.16), (0.5, 0.32)),
        WHITE,
        disc(0.5, 0.16, 0.3, 0.1),
        (0.95, 0.8, 0.1),
    ),
)
"""Board and its colour, symbol and its colour: no entry, danger, crossing, priority."""


def traffic_sign(rng: Rng) -> list[Part]:
    board, board_colour, symbol, symbol_colour = SIGNS[rng.integers(len(SIGNS))]
    return [_post(rng), Part(board, board_colour), Part(symbol, symbol_colour)]


def tree(rng: Rng) -> list[Part]:
    green = (rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25))
    crown = []
    for _ in range(9):
        x, y = 0.5 + rng.uniform(-0.26, 0.26), 0.36 + rng.uniform(-0.18, 0.2)
        leaf = shade(rng, green, 0.7, 1.25)
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
        cloth([(0, 0.1), (1, 0.2), (0.85, 0.75), (0.15, 0.75)], paint(rng)),
        *wheels((0.25, 0.75), 0.87, 0.12, 0.13),
    ]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of object.

    label: its name. mean: how many a scene has. size: (width, height) in metres. zone: where it stands. nearest,
    farthest: in metres.
    """

    label: str
    mean: float
    size: tuple[float, float]
    zone: str
    draw: Callable[[Rng], list[Part]]
    nearest: float
    farthest: float


KINDS = (
    Kind("car", 2.0, (3.4, 1.7), "lane", car, 7, 40),
    Kind("car", 0.8, (4.2, 1.7), "kerb", car, 8, 30),
    Kind("truck", 0.7, (7.0, 3.6), "lane", truck, 12, 38),
    Kind("bus", 0.7, (8.5, 3.4), "lane", bus, 12, 38),
    Kind("train", 0.9, (10.0, 3.7), "beside", train, 14, 38),
    Kind("caravan", 0.15, (4.5, 2.6), "kerb", caravan, 10, 30),
    Kind("trailer", 0.15, (2.8, 1.5), "kerb", trailer, 8, 25),
    Kind("person", 3.0, (1.2, 2.0), "pavement", person, 7, 17),
    Kind("person", 0.8, (1.2, 2.0), "lane", person, 8, 17),
    Kind("rider", 0.8, (2.0, 2.0), "lane", ridden(bicycle, "bicycle"), 7, 18),
    Kind("rider", 0.8, (2.3, 2.0), "lane", ridden(motorcycle, "motorcycle"), 7, 18),
    Kind("bicycle", 1.5, (2.4, 1.5), "pavement", bicycle, 7, 16),
    Kind("motorcycle", 1.0, (2.4, 1.5), "kerb", motorcycle, 7, 16),
    Kind("pole", 2.0, (0.7, 6.5), "pavement", pole, 7, 17),
    Kind("polegroup", 0.2, (1.0, 5.0), "pavement", polegroup, 8, 25),
    Kind("traffic light", 1.8, (1.1, 4.4), "pavement", traffic_light, 7, 17),
    Kind("traffic sign", 2.2, (1.4, 3.5), "pavement", traffic_sign, 7, 17),
    Kind("vegetation", 1.4, (5.0, 7.5), "beside", tree, 10, 45),
    Kind("vegetation", 0.6, (2.4, 1.3), "beside", bush, 9, 30),
    Kind("static", 0.4, (0.7, 1.1), "pavement", bin_, 7, 25),
    Kind("dynamic", 0.3, (0.8, 1.0), "pavement", cart, 7, 25),
)
"""Rare classes are made frequent enough to be learned from few images."""


def place(canvas: Canvas, kind: Kind, x: float, z: float, rng: Rng) -> None:
    """Paint one object that stands on the ground at (x, z)."""
    foot = canvas.project(x, 0, z)
    size = np.array(kind.size) * rng.uniform(0.85, 1.15)
    if rng.random() < 0.5:
        size[0] = -size[0]  # it faces the other way
    for part in kind.draw(rng):
        canvas.polygon(
            foot + (np.array(part.points) - (0.5, 1)) * size * (canvas.focal / z),
            label=part.label or kind.label,
            colour=part.colour,
            z=z,
            texture=part.texture,
            contrast=part.contrast,
        )
