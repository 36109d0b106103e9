"""The plan of a street: its strips from wall to wall, and where in it things stand."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

FAR = 120.0
"""Metres to the end of what is drawn."""
STRIPS = (
    (0.3, ("parking", "rail track", "terrain"), 1.5, 3),
    (1, ("sidewalk",), 1.5, 3.5),
    (0.3, ("terrain", "terrain", "rail track", "ground", "parking"), 2, 5),
)
"""From the kerb outwards: how likely a strip is, its possible labels, its least and greatest width."""


class Layout:
    """Metres to the right of the road's middle.

    edges: between the strips, ascending. labels: of the strips, and of what is outside on the left and on the right.
    road, walls: the left and the right one. crossing: where another road begins and ends, in metres ahead.
    """

    def __init__(self, rng: Generator) -> None:
        edges = [-rng.uniform(3, 5), rng.uniform(3, 5)]
        labels = ["road"]
        self.road = tuple(edges)
        for side in (-1, 1):
            # So that what is appended lies outwards on this side.
            edges.reverse()
            labels.reverse()
            for chance, kinds, narrowest, widest in STRIPS:
                if chance == 1 or rng.random() < chance:
                    labels.append(rng.choice(kinds))
                    edges.append(edges[-1] + side * rng.uniform(narrowest, widest))
        self.edges = edges
        self.walls = edges[0], edges[-1]
        start = end = 0.0
        if rng.random() < 0.35:
            start = rng.uniform(12, 35)
            end = start + rng.uniform(5, 10)
        self.crossing = start, end
        left, right = rng.choice(["terrain", "ground", "sidewalk"], 2)
        self.labels = [left, *labels, right]
        self.bend = rng.uniform(-0.004, 0.004)
        self.offset = rng.uniform(-2, 2)

    def middle(self, z: float | np.ndarray) -> float | np.ndarray:
        """x of the road's middle at distance z."""
        return self.offset + self.bend * z * z

    def place(self, zone: str, width: float, rng: Generator) -> float:
        """Draw where something of this width stands, in metres to the right of the road's middle."""
        left, right = self.road
        if zone == "lane":
            half = min(width / 2, 2.5)
            return rng.uniform(left + half, right - half)
        side = rng.integers(2)
        kerb, wall = self.road[side], self.walls[side]
        outwards = np.sign(kerb)
        if zone == "kerb":
            return kerb - outwards * rng.uniform(0.2, 1.2)
        if zone == "pavement":
            return rng.uniform(*sorted((kerb + outwards * 0.3, wall)))
        return wall - outwards * rng.uniform(-3, 2)
