"""What lines a street: houses, walls, fences and hedges, now and then a bridge or a tunnel."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from adl.synthetic.canvas import Canvas, Part, outline
from adl.synthetic.plan import FAR
from adl.synthetic.shapes import tinted

PIECES = {
    "building": 0.26,
    "wall": 0.27,
    "fence": 0.27,
    "vegetation": 0.10,
    "guard rail": 0.04,
    "gap": 0.06,
}
"""How frequent each is along a street."""
FACADES = (
    (0.75, 0.62, 0.45),
    (0.66, 0.44, 0.36),
    (0.76, 0.74, 0.68),
    (0.56, 0.56, 0.6),
    (0.82, 0.72, 0.5),
)


def windows(rng: Generator) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A pattern of windows, alike in all of a house."""
    wide, high, share_u, share_v, dark = rng.uniform((1.3, 2.2, 0.4, 0.45, 0.2), (2.2, 3.0, 0.6, 0.65, 0.45))

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        storey = v / high % 1
        window = (np.abs(u / wide % 1 - 0.5) < share_u / 2) & (np.abs(storey - 0.55) < share_v / 2)
        return np.where(window, dark, 1.0) - 0.12 * (storey < 0.05)

    return pattern


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    shift = 0.35 * (np.floor(v / 0.3) % 2)
    return np.where((v % 0.3 < 0.05) | ((u + shift) % 0.7 < 0.06), 0.55, 1.0)


def _pickets(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.where((u % 0.35 < 0.14) | (np.abs(v % 0.9 - 0.7) < 0.06), 1.0, 0.2)


def _rails(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.where((np.abs(v - 0.6) < 0.16) | (u % 2 < 0.15), 1.0, 0.5)


def line_street(canvas: Canvas, rng: Generator) -> None:
    """Houses, walls, fences and hedges along both sides, with gaps; now and then a bridge or a tunnel at the end."""
    if rng.random() < 0.12:
        _bridge(canvas, rng)
    layout = canvas.layout
    pieces = []
    for wall in layout.walls:
        z = rng.uniform(2, 5)
        while z < FAR * 0.8:
            ends = np.array((z, z + rng.uniform(5, 22)))
            x = wall + np.sign(wall) * rng.uniform(0, 2) + layout.middle(ends)
            pieces.append((x, ends))
            z = ends[1]
            if rng.random() < 0.35:
                z += rng.uniform(1, 9)
    start, end = layout.crossing
    for x, (near, far) in sorted(pieces, key=lambda piece: piece[1][1], reverse=True):
        if near >= end or far <= start:
            kind = rng.choice(list(PIECES), p=list(PIECES.values()))
            _piece(functools.partial(canvas.upright, x, (near, far), label=kind), kind, rng)


def _piece(stand: Callable[..., None], kind: str, rng: Generator) -> None:
    """Paint what stands between two points on the ground. The order of the arguments is the order of the draws."""
    match kind:
        case "building":
            facade = rng.choice(FACADES) if rng.random() < 0.6 else rng.uniform(0.25, 0.85, 3)
            stand(
                colour=tinted(rng, facade, 0.25),
                height=rng.uniform(5, 18),
                pattern=windows(rng),
                texture="plaster",
                contrast=0.06,
            )
        case "wall":
            stones = ((0.55, 0.3, 0.24), (0.5, 0.5, 0.48), (0.68, 0.62, 0.5))
            stand(
                colour=tinted(rng, rng.choice(stones), 0.3),
                height=rng.uniform(2.2, 4.5),
                pattern=_bricks,
                texture="fine",
            )
        case "fence":
            railings = ((0.42, 0.3, 0.18), (0.3, 0.33, 0.31), (0.52, 0.52, 0.54))
            stand(
                colour=tinted(rng, rng.choice(railings), 0.3),
                height=rng.uniform(1.4, 3.0),
                pattern=_pickets,
                texture="fine",
            )
        case "vegetation":
            stand(
                height=rng.uniform(1.2, 5),
                colour=tinted(rng, (0.24, 0.36, 0.16), 0.3),
                texture="leaves",
                contrast=0.3,
            )
        case "guard rail":
            stand(colour=0.6, height=0.8, pattern=_rails, texture="metal")


def _bridge(canvas: Canvas, rng: Generator) -> None:
    z = rng.uniform(35, 70)
    middle = canvas.layout.middle(z)
    span = functools.partial(
        canvas.upright,
        np.add(canvas.layout.walls, (-5, 5)) + middle,
        (z, z),
        colour=tinted(rng, (0.5, 0.49, 0.47), 0.25),
        texture="plaster",
    )
    if rng.random() < 0.6:
        span(height=2.5, label="bridge", base=5)
        return
    span(height=9, label="building", pattern=_bricks)
    angles = np.linspace(0, np.pi, 15)
    across, up = outline(4.5 * np.cos(angles), 1.5 + 3.8 * np.sin(angles))
    canvas.polygon(Part((0.08, 0.08, 0.09), canvas.project(middle + across, up, z), "fine", 0.1), "tunnel", z)
