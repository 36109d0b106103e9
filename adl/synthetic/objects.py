"""What stands and drives in a street: each object a few flat shapes in a box of one by one, y down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from adl.synthetic.canvas import Canvas, Colour, Point

Rng = np.random.Generator
GLASS: Colour = (0.16, 0.2, 0.25)
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
    return list(zip((x + rx * np.cos(angles)).tolist(), (y + ry * np.sin(angles)).tolist(), strict=True))


def ring(x: float, y: float, rx: float, ry: float, width: float) -> list[Point]:
    """A closed band, as one polygon with a seam."""
    angles = np.linspace(0, 2 * np.pi, 25)
    outer = [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles]
    inner = [(x + rx * (1 - width) * np.cos(a), y + ry * (1 - width) * np.sin(a)) for a in angles[::-1]]
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


def car(rng: Rng) -> list[Part]:
    body = paint(rng)
    if rng.random() < 0.5:  # from behind
        return [
            Part(box(0.06, 0.78, 0.24, 1), TYRE),
            Part(box(0.76, 0.78, 0.94, 1), TYRE),
            Part([(0.2, 0.02), (0.8, 0.02), (0.94, 0.42), (1, 0.5), (1, 0.9), (0, 0.9), (0, 0.5), (0.06, 0.42)], body),
            Part([(0.24, 0.08), (0.76, 0.08), (0.87, 0.4), (0.13, 0.4)], GLASS),
            Part(box(0.03, 0.5, 0.17, 0.62), (0.7, 0.08, 0.06)),
            Part(box(0.83, 0.5, 0.97, 0.62), (0.7, 0.08, 0.06)),
        ]
    return [
        Part([(0, 0.52), (0.16, 0.45), (0.3, 0.04), (0.7, 0.04), (0.86, 0.45), (1, 0.55), (1, 0.86), (0, 0.86)], body),
        Part([(0.22, 0.42), (0.33, 0.12), (0.48, 0.12), (0.48, 0.42)], GLASS),
        Part([(0.52, 0.42), (0.52, 0.12), (0.67, 0.12), (0.79, 0.42)], GLASS),
        Part(disc(0.21, 0.83, 0.085, 0.2), TYRE),
        Part(disc(0.79, 0.83, 0.085, 0.2), TYRE),
    ]


def livery(rng: Rng, *colours: Colour) -> Colour:
    """One of the colours that a kind of vehicle usually has, or any other."""
    if rng.random() < 0.6:
        return paint(rng)
    return tuple((np.array(rng.choice(colours)) * rng.uniform(0.75, 1.2)).clip(0, 1).tolist())


def truck(rng: Rng) -> list[Part]:
    load, cab = livery(rng, (0.85, 0.85, 0.83), (0.2, 0.35, 0.6), (0.6, 0.3, 0.15)), paint(rng)
    wheels = [Part(disc(x, 0.91, 0.055, 0.09), TYRE) for x in (0.1, 0.24, 0.38, 0.87)]
    return [
        Part(box(0, 0, 0.7, 0.84), load, "ribs", 0.28),
        Part([(0.73, 0.22), (0.93, 0.22), (1, 0.52), (1, 0.9), (0.73, 0.9)], cab),
        Part([(0.8, 0.28), (0.91, 0.28), (0.97, 0.5), (0.8, 0.5)], GLASS),
        Part(box(0.0, 0.84, 0.75, 0.9), TYRE),
        *wheels,
    ]


def bus(rng: Rng) -> list[Part]:
    body = livery(rng, (0.85, 0.68, 0.1), (0.72, 0.14, 0.1))
    windows = [Part(box(x, 0.14, x + 0.1, 0.5), GLASS) for x in np.arange(0.03, 0.9, 0.117)]
    stripe = Part(box(0, 0.58, 1, 0.66), (0.9, 0.9, 0.88))
    return [
        Part([(0.02, 0), (0.98, 0), (1, 0.08), (1, 0.92), (0, 0.92), (0, 0.08)], body),
        *windows,
        stripe,
        Part(disc(0.2, 0.92, 0.05, 0.08), TYRE),
        Part(disc(0.78, 0.92, 0.05, 0.08), TYRE),
    ]


def train(rng: Rng) -> list[Part]:
    body = livery(rng, (0.16, 0.42, 0.3), (0.55, 0.6, 0.62))
    doors = [Part(box(x, 0.2, x + 0.045, 0.9), (0.75, 0.75, 0.72)) for x in (0.2, 0.5, 0.78)]
    return [
        Part(box(0.45, -0.12, 0.46, 0.05), METAL),
        Part(box(0.55, -0.12, 0.56, 0.05), METAL),
        Part([(0.04, 0.05), (0.96, 0.05), (1, 0.45), (1, 0.95), (0, 0.95), (0, 0.45)], body, "slats", 0.25),
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


def bicycle(rng: Rng) -> list[Part]:
    frame = paint(rng, grey=0.3)
    joints = ((0.22, 0.68), (0.4, 0.3), (0.72, 0.3), (0.5, 0.7))
    return [
        # Wheels are filled: annotators label through the spokes.
        *(Part(disc(x, 0.68, 0.22, 0.32), (0.5, 0.5, 0.5), "ribs", 0.3) for x in (0.22, 0.78)),
        *(Part(ring(x, 0.68, 0.22, 0.32, 0.25), TYRE) for x in (0.22, 0.78)),
        *(Part(bar(joints[a], joints[b], 0.08), frame) for a, b in ((0, 1), (1, 2), (2, 3), (3, 0), (1, 3))),
        Part(bar((0.72, 0.3), (0.78, 0.68), 0.05), frame),
        Part(bar((0.7, 0.12), (0.74, 0.32), 0.05), METAL),
        Part(box(0.62, 0.1, 0.78, 0.15), TYRE),
        Part(box(0.32, 0.22, 0.48, 0.28), TYRE),
    ]


def motorcycle(rng: Rng) -> list[Part]:
    body = livery(rng, (0.6, 0.1, 0.1), (0.14, 0.14, 0.16))
    return [
        Part(disc(0.2, 0.7, 0.19, 0.3), TYRE),
        Part(disc(0.8, 0.7, 0.19, 0.3), TYRE),
        Part(disc(0.2, 0.7, 0.07, 0.12), METAL),
        Part(disc(0.8, 0.7, 0.07, 0.12), METAL),
        Part([(0.1, 0.35), (0.45, 0.32), (0.66, 0.2), (0.82, 0.34), (0.72, 0.72), (0.34, 0.76)], body),
        Part(box(0.12, 0.28, 0.48, 0.38), TYRE),
        Part(bar((0.66, 0.06), (0.76, 0.4), 0.06), METAL),
    ]


def ridden(vehicle: Callable[[Rng], list[Part]], label: int) -> Callable[[Rng], list[Part]]:
    """A rider (the object's own label) who sits on a vehicle (of another label)."""

    def draw(rng: Rng) -> list[Part]:
        coat, trousers = livery(rng, (0.75, 0.85, 0.1), (0.95, 0.45, 0.1), (0.3, 0.3, 0.4)), paint(rng)
        lower = [
            dataclasses.replace(part, points=[(x, 0.45 + 0.55 * y) for x, y in part.points], label=label)
            for part in vehicle(rng)
        ]
        return [
            *lower,
            Part(bar((0.4, 0.52), (0.6, 0.66), 0.13), trousers, "cloth", 0.3),
            Part(bar((0.6, 0.64), (0.52, 0.86), 0.11), trousers, "cloth", 0.3),
            Part([(0.3, 0.54), (0.42, 0.16), (0.62, 0.18), (0.52, 0.56)], coat, "cloth", 0.3),
            Part(bar((0.56, 0.24), (0.76, 0.5), 0.09), coat, "cloth", 0.3),
            Part(disc(0.58, 0.09, 0.11, 0.085), paint(rng, grey=0.6)),
        ]

    return draw


def _post(rng: Rng) -> Part:
    return Part(box(0.36, 0.06, 0.64, 1), tuple((np.array(METAL) * rng.uniform(0.5, 1.4)).tolist()), label=17)


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
        Part(disc(0.5, 0.055 + 0.1 * i, 0.26, 0.04), lamps[i] if i == lit else (0.05, 0.05, 0.05)) for i in range(3)
    ]
    return [_post(rng), Part(box(0.1, 0, 0.9, 0.31), case, contrast=0.02), *lights]


def traffic_sign(rng: Rng) -> list[Part]:
    kind = rng.integers(4)
    red, white, blue, yellow = (0.78, 0.08, 0.08), (0.92, 0.92, 0.9), (0.08, 0.22, 0.65), (0.95, 0.8, 0.1)
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
        board = [Part([(0.5, 0), (1, 0.16), (0.5, 0.32), (0, 0.16)], white), Part(disc(0.5, 0.16, 0.3, 0.1), yellow)]
    return [_post(rng), *board]


def tree(rng: Rng) -> list[Part]:
    green = (rng.uniform(0.1, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25))
    crown = []
    for _ in range(9):
        x, y = 0.5 + rng.uniform(-0.26, 0.26), 0.36 + rng.uniform(-0.18, 0.2)
        leaf = tuple((np.array(green) * rng.uniform(0.7, 1.25)).tolist())
        crown.append(Part(disc(x, y, rng.uniform(0.2, 0.3), rng.uniform(0.13, 0.2)), leaf, "leaves", 0.45))
    return [Part(box(0.45, 0.4, 0.55, 1), (0.27, 0.2, 0.14), "grass", 0.3), *crown]


def bush(rng: Rng) -> list[Part]:
    green = (rng.uniform(0.12, 0.4), rng.uniform(0.25, 0.5), rng.uniform(0.05, 0.25))
    return [Part(disc(x, 0.6, 0.26, rng.uniform(0.3, 0.5)), green, "leaves", 0.45) for x in (0.25, 0.5, 0.75)]


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
            (column + (0.5 - u if mirrored else u - 0.5) * width * metre, row + (v - 1) * height * metre)
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
