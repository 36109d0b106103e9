"""The plan of a street: its strips from wall to wall, and the labels that the ground has."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np

from adl.synthetic.canvas import Colour
from adl.synthetic.shapes import Rng

Metres = TypeVar("Metres", float, np.ndarray)

# Label ids of the official table that the ground, the walls and the camera's frame need.
EGO, BORDER, OUT_OF_ROI, GROUND, ROAD, SIDEWALK, PARKING, RAIL = 1, 2, 3, 6, 7, 8, 9, 10
BUILDING, WALL, FENCE, GUARD_RAIL, BRIDGE, TUNNEL, VEGETATION, TERRAIN, SKY = (
    11,
    12,
    13,
    14,
    15,
    16,
    21,
    22,
    23,
)
UNLABELED = 0
FAR = 120.0
"""Metres to the end of what is drawn."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Boundaries in metres to the right of the road's middle, ascending, and the label between two of them."""

    edges: tuple[float, ...]
    labels: tuple[int, ...]
    road: tuple[float, float]
    walls: tuple[float, float]
    bend: float
    offset: float
    crossing: tuple[float, float] | None

    def middle(self, z: Metres) -> Metres:
        """x of the road's middle at distance z."""
        return self.offset + self.bend * z * z


def lay_out(rng: Rng) -> Layout:
    """Draw lots for the strips of a street."""
    left, right = -rng.uniform(3, 5), rng.uniform(3, 5)
    edges: list[float] = [left, right]
    labels: list[int] = [ROAD]
    for side in (-1, 1):
        strips = (
            [(int(rng.choice([PARKING, RAIL, TERRAIN])), rng.uniform(1.5, 3))]
            if rng.random() < 0.3
            else []
        )
        strips.append((SIDEWALK, rng.uniform(1.5, 3.5)))
        if rng.random() < 0.3:
            strips.append(
                (int(rng.choice([TERRAIN, TERRAIN, RAIL, GROUND, PARKING])), rng.uniform(2, 5))
            )
        for label, size in strips:
            if side < 0:
                edges.insert(0, edges[0] - size)
                labels.insert(0, label)
            else:
                edges.append(edges[-1] + size)
                labels.append(label)
    crossing = None
    if rng.random() < 0.35:
        start = rng.uniform(12, 35)
        crossing = (start, start + rng.uniform(5, 10))
    walls = (edges[0], edges[-1])
    outside = [int(rng.choice([TERRAIN, GROUND, SIDEWALK])) for _ in range(2)]
    return Layout(
        edges=(-np.inf, *edges, np.inf),
        labels=(outside[0], *labels, outside[1]),
        road=(left, right),
        walls=walls,
        bend=rng.uniform(-0.004, 0.004),
        offset=rng.uniform(-2, 2),
        crossing=crossing,
    )


def tinted(rng: Rng, colour: Colour, spread: float) -> Colour:
    """A colour a little brighter or darker, and of another tone."""
    scaled = np.array(colour) * rng.uniform(1 - spread, 1 + spread) * rng.uniform(0.92, 1.08, 3)
    return tuple(scaled.clip(0.02, 1).tolist())
