"""The plan of a street: its strips from wall to wall, and the labels that the ground has."""

from __future__ import annotations

import dataclasses

import numpy as np

from adl.synthetic.canvas import Metres
from adl.synthetic.shapes import Rng

FAR = 120.0
"""Metres to the end of what is drawn."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Boundaries in metres to the right of the road's middle, ascending, and the label's name between two of them."""

    edges: tuple[float, ...]
    labels: tuple[str, ...]
    road: tuple[float, float]
    walls: tuple[float, float]
    bend: float
    offset: float
    crossing: tuple[float, float] | None

    def middle(self, z: Metres) -> Metres:
        """x of the road's middle at distance z."""
        return self.offset + self.bend * z * z


def _strips(rng: Rng) -> list[tuple[str, float]]:
    """Label and width of the strips on one side of the road, from the kerb outwards."""
    strips = []
    if rng.random() < 0.3:
        strips.append((rng.choice(["parking", "rail track", "terrain"]), rng.uniform(1.5, 3)))
    strips.append(("sidewalk", rng.uniform(1.5, 3.5)))
    if rng.random() < 0.3:
        kinds = ["terrain", "terrain", "rail track", "ground", "parking"]
        strips.append((rng.choice(kinds), rng.uniform(2, 5)))
    return strips


def lay_out(rng: Rng) -> Layout:
    """Draw lots for the strips of a street."""
    left, right = -rng.uniform(3, 5), rng.uniform(3, 5)
    edges = [left, right]
    labels = ["road"]
    for label, size in _strips(rng):
        edges.insert(0, edges[0] - size)
        labels.insert(0, label)
    for label, size in _strips(rng):
        edges.append(edges[-1] + size)
        labels.append(label)
    crossing = None
    if rng.random() < 0.35:
        start = rng.uniform(12, 35)
        crossing = (start, start + rng.uniform(5, 10))
    outside = rng.choice(["terrain", "ground", "sidewalk"], 2)
    return Layout(
        edges=(-np.inf, *edges, np.inf),
        labels=(outside[0], *labels, outside[1]),
        road=(left, right),
        walls=(edges[0], edges[-1]),
        bend=rng.uniform(-0.004, 0.004),
        offset=rng.uniform(-2, 2),
        crossing=crossing,
    )
