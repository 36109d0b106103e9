"""What lines a street: houses, walls, fences and hedges, now and then a bridge or a tunnel."""

from __future__ import annotations

from typing import Any

import numpy as np

from adl.synthetic.canvas import Canvas, Colour, Pattern, Point
from adl.synthetic.plan import FAR, Layout
from adl.synthetic.shapes import Rng, tinted

RAILINGS = ((0.42, 0.3, 0.18), (0.3, 0.33, 0.31), (0.52, 0.52, 0.54))
STONES = ((0.55, 0.3, 0.24), (0.5, 0.5, 0.48), (0.68, 0.62, 0.5))
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


def windows(rng: Rng) -> Pattern:
    """A pattern of windows, alike in all of a house."""
    wide, high = rng.uniform(1.3, 2.2), rng.uniform(2.2, 3.0)
    share_u, share_v, dark = rng.uniform(0.4, 0.6), rng.uniform(0.45, 0.65), rng.uniform(0.2, 0.45)

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        window = (np.abs(u / wide % 1 - 0.5) < share_u / 2) & (
            np.abs(v / high % 1 - 0.55) < share_v / 2
        )
        return np.where(window, dark, 1.0) - 0.12 * (v / high % 1 < 0.05)

    return pattern


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.floor(v / 0.3)
    joint = (v % 0.3 < 0.05) | ((u + 0.35 * (row % 2)) % 0.7 < 0.06)
    return np.where(joint, 0.55, 1.0)


def _pickets(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.where((u % 0.35 < 0.14) | (np.abs(v % 0.9 - 0.7) < 0.06), 1.0, 0.2)


def _rails(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.where((np.abs(v - 0.6) < 0.16) | (u % 2 < 0.15), 1.0, 0.5)


def _plain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.ones_like(v)


def line_street(canvas: Canvas, layout: Layout, rng: Rng) -> None:
    """Houses, walls, fences and hedges along both sides, with gaps; now and then a bridge or a tunnel at the end."""
    if rng.random() < 0.12:
        _bridge(canvas, layout, rng)
    pieces: list[tuple[Point, Point]] = []
    for edge in layout.walls:
        z = rng.uniform(2, 5)
        while z < FAR * 0.8:
            following = z + rng.uniform(5, 22)
            setback = np.sign(edge) * rng.uniform(0, 2)
            near = edge + setback + layout.middle(z), z
            far = edge + setback + layout.middle(following), following
            pieces.append((near, far))
            z = following + (rng.uniform(1, 9) if rng.random() < 0.35 else 0)
    for near, far in sorted(pieces, key=lambda piece: -piece[1][1]):
        if layout.crossing and near[1] < layout.crossing[1] and far[1] > layout.crossing[0]:
            continue
        kind = rng.choice(list(PIECES), p=list(PIECES.values()))
        _piece(canvas, near, far, kind, rng)


def _piece(canvas: Canvas, near: Point, far: Point, kind: str, rng: Rng) -> None:
    """Paint what stands between two points on the ground."""
    style: dict[str, Any]
    colour: Colour
    if kind == "building":
        facade = rng.choice(FACADES) if rng.random() < 0.6 else rng.uniform(0.25, 0.85, 3)
        colour = tinted(rng, facade, 0.25)
        height = rng.uniform(5, 18)
        style = {"pattern": windows(rng), "texture": "plaster", "contrast": 0.06}
    elif kind == "wall":
        colour = tinted(rng, rng.choice(STONES), 0.3)
        height = rng.uniform(2.2, 4.5)
        style = {"pattern": _bricks, "texture": "fine"}
    elif kind == "fence":
        colour = tinted(rng, rng.choice(RAILINGS), 0.3)
        height = rng.uniform(1.4, 3.0)
        style = {"pattern": _pickets, "texture": "fine"}
    elif kind == "vegetation":
        height = rng.uniform(1.2, 5)
        colour = tinted(rng, (0.24, 0.36, 0.16), 0.3)
        style = {"pattern": _plain, "texture": "leaves", "contrast": 0.3}
    elif kind == "guard rail":
        colour, height = (0.6, 0.6, 0.6), 0.8
        style = {"pattern": _rails, "texture": "metal"}
    else:
        return
    canvas.upright(near, far, height, label=kind, colour=colour, **style)


def _bridge(canvas: Canvas, layout: Layout, rng: Rng) -> None:
    z = rng.uniform(35, 70)
    left = layout.walls[0] - 5 + layout.middle(z), z
    right = layout.walls[1] + 5 + layout.middle(z), z
    colour = tinted(rng, (0.5, 0.49, 0.47), 0.25)
    if rng.random() < 0.6:
        canvas.upright(
            left,
            right,
            2.5,
            label="bridge",
            colour=colour,
            pattern=_plain,
            texture="plaster",
            base=5,
        )
        return
    canvas.upright(
        left,
        right,
        9,
        label="building",
        colour=colour,
        pattern=_bricks,
        texture="plaster",
    )
    angles = np.linspace(0, np.pi, 15)
    across = np.append(4.5 * np.cos(angles), (-4.5, 4.5))
    up = np.append(1.5 + 3.8 * np.sin(angles), (0, 0))
    arch = np.transpose(canvas.project(layout.middle(z) + across, up, z))
    canvas.polygon(arch, label="tunnel", colour=(0.08, 0.08, 0.09), z=z)
