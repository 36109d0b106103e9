"""One street: its layout, what lines it, who is in it, the light, the camera's faults."""

from __future__ import annotations

import cv2
import numpy as np

from adl.synthetic import objects
from adl.synthetic.canvas import Canvas, Colour, sample
from adl.synthetic.facades import line_street, windows
from adl.synthetic.plan import (
    BORDER,
    BUILDING,
    EGO,
    FAR,
    GROUND,
    OUT_OF_ROI,
    PARKING,
    RAIL,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    UNLABELED,
    VEGETATION,
    Layout,
    lay_out,
    tinted,
)
from adl.synthetic.shapes import Rng, disc, paint

SOILS = ((0.3, 0.42, 0.18), (0.5, 0.44, 0.28), (0.4, 0.36, 0.3))


def draw(height: int, width: int, rng: Rng) -> Canvas:
    """Paint a scene."""
    canvas = Canvas(
        height,
        width,
        horizon=height * rng.uniform(0.38, 0.48),
        eye=rng.uniform(1.5, 2.1),
        focal=width * rng.uniform(0.72, 0.95),
    )
    layout = lay_out(rng)
    _sky(canvas, rng)
    _skyline(canvas, rng)
    _ground(canvas, layout, rng)
    line_street(canvas, layout, rng)
    _populate(canvas, layout, rng)
    _unlabeled_patch(canvas, rng)
    _light(canvas, rng)
    _frame(canvas, rng)
    canvas.image = _expose(canvas.image, rng)
    return canvas


def _sky(canvas: Canvas, rng: Rng) -> None:
    rows, columns = canvas.height, canvas.width
    v, u = np.meshgrid(np.linspace(0, 3, rows), np.linspace(0, 6, columns), indexing="ij")
    clouds = sample("cloud", u + rng.uniform(0, 4), v + rng.uniform(0, 4))[..., None] * rng.uniform(
        0.02, 0.1
    )
    zenith = np.array(
        rng.choice([(0.45, 0.65, 0.92), (0.74, 0.78, 0.84), (0.6, 0.7, 0.85), (0.85, 0.74, 0.7)])
    )
    haze = np.array((0.85, 0.87, 0.88)) * rng.uniform(0.85, 1.05)
    share = (np.arange(rows) / max(canvas.horizon, 1)).clip(0, 1)[:, None, None]
    canvas.image[:] = (1 - share) * zenith + share * haze + clouds
    canvas.labels[:] = SKY


def _skyline(canvas: Canvas, rng: Rng) -> None:
    """Far houses, woods and hills."""
    x = -FAR
    while x < FAR:
        size = rng.uniform(8, 40)
        kind = rng.integers(4)
        if kind < 2:
            colour = tuple((np.array((0.6, 0.55, 0.5)) * rng.uniform(0.6, 1.2)).tolist())
            canvas.upright(
                (x, FAR), (x + size, FAR), rng.uniform(6, 30),
                label=BUILDING, colour=colour, pattern=windows(rng), texture="plaster",
            )  # fmt: skip
        elif kind == 2:
            points = [
                canvas.project(x + size * t, rng.uniform(6, 14), FAR) for t in np.linspace(0, 1, 9)
            ]
            points += [canvas.project(x + size, 0, FAR), canvas.project(x, 0, FAR)]
            canvas.polygon(
                points,
                label=VEGETATION,
                colour=(0.22, 0.34, 0.2),
                z=FAR,
                texture="leaves",
                contrast=0.3,
            )
        x += size * rng.uniform(0.8, 1.3)


def _ground(canvas: Canvas, layout: Layout, rng: Rng) -> None:
    first = int(canvas.horizon) + 1
    rows, columns = np.mgrid[first : canvas.height, 0 : canvas.width]
    z = canvas.focal * canvas.eye / (rows - canvas.horizon)
    x = (columns - canvas.width / 2) * z / canvas.focal - layout.middle(z)
    zone = np.digitize(x, layout.edges[1:-1])
    labels = np.array(layout.labels, np.uint8)[zone]
    if layout.crossing:
        across = (z > layout.crossing[0]) & (z < layout.crossing[1])
        labels[across] = ROAD
    grey = rng.uniform(0.22, 0.36)
    surfaces: dict[int, tuple[Colour, str, float]] = {
        ROAD: ((grey, grey, grey * rng.uniform(0.95, 1.1)), "asphalt", 0.22),
        SIDEWALK: (tinted(rng, (0.56, 0.5, 0.47), 0.25), "plaster", 0.1),
        PARKING: (tinted(rng, (0.42, 0.41, 0.4), 0.2), "asphalt", 0.13),
        RAIL: (tinted(rng, (0.4, 0.36, 0.33), 0.2), "fine", 0.25),
        TERRAIN: (tinted(rng, tuple(rng.choice(SOILS).tolist()), 0.3), "grass", 0.4),
        GROUND: (tinted(rng, (0.5, 0.42, 0.34), 0.2), "grass", 0.12),
    }
    fade = 1 / (1 + z / 60)
    for label, (colour, texture, contrast) in surfaces.items():
        mask = labels == label
        if not mask.any():
            continue
        shade = 1 + contrast * fade * sample(texture, x, z) + _marks(label, x, z, layout)
        canvas.paint(
            first,
            0,
            mask,
            np.asarray(colour, np.float32) * shade[..., None].astype(np.float32),
            label,
            z.astype(np.float32),
        )


def _marks(label: int, x: np.ndarray, z: np.ndarray, layout: Layout) -> np.ndarray:
    """Lane lines, paving joints, rails: brightness to add."""
    if label == ROAD:
        lanes = np.abs((x - layout.road[0]) % 3.3 - 0.1) < 0.07
        return 0.9 * (lanes & ((z % 6 < 3) | (np.abs(x - layout.road[0]) < 0.4)))
    if label == SIDEWALK:
        return -0.45 * ((x % 0.6 < 0.05) | (z % 0.6 < 0.05))
    if label == PARKING:
        return 0.8 * (z % 5 < 0.12)
    if label == RAIL:
        return 0.9 * (np.abs(x % 1.5 - 0.1) < 0.06) - 0.35 * (z % 0.8 < 0.3)
    return np.zeros_like(x)


def _populate(canvas: Canvas, layout: Layout, rng: Rng) -> None:
    standing = []
    for kind in objects.KINDS:
        for _ in range(rng.poisson(kind.mean)):
            # Even in 1/z, so that objects of all sizes on the picture are about equally frequent.
            z = 1 / rng.uniform(1 / kind.reach[1], 1 / kind.reach[0])
            standing.append((z, kind, _stand(kind, layout, rng) + layout.middle(z)))
    for z, kind, x in sorted(standing, key=lambda entry: -entry[0]):
        objects.place(canvas, kind, x, z, rng)


def _stand(kind: objects.Kind, layout: Layout, rng: Rng) -> float:
    """Metres to the right of the road's middle."""
    left, right = layout.road
    half = min(kind.size[0] / 2, 2.5)
    if kind.zone == "lane":
        return (
            rng.uniform(left + half, right - half)
            if right - left > 2 * half
            else (left + right) / 2
        )
    side = rng.choice([0, 1])
    kerb, wall = layout.road[side], layout.walls[side]
    if kind.zone == "kerb":
        return kerb - np.sign(kerb) * rng.uniform(0.2, 1.2)
    if kind.zone == "pavement":
        return rng.uniform(*sorted((kerb + np.sign(kerb) * 0.3, wall)))
    return wall - np.sign(wall) * rng.uniform(-3, 2)


def _unlabeled_patch(canvas: Canvas, rng: Rng) -> None:
    """Something that nobody could name."""
    if rng.random() < 0.3:
        x, z = rng.uniform(-8, 8), rng.uniform(15, 40)
        column, row = canvas.project(x, 0, z)
        size = canvas.focal / z
        points = [
            (column + size * px, row + size * (py - 1)) for px, py in disc(0.5, 0.5, 0.6, 0.5)
        ]
        canvas.polygon(
            points, label=UNLABELED, colour=paint(rng), z=z, texture="leaves", contrast=0.4
        )


def _light(canvas: Canvas, rng: Rng) -> None:
    """Haze with distance, shadows, and the colour of the light."""
    haze = np.array((0.75, 0.78, 0.8)) * rng.uniform(0.7, 1.1)
    share = (
        1
        - np.exp(-np.where(np.isfinite(canvas.depth), canvas.depth, 0) / rng.uniform(150, 600))[
            ..., None
        ]
    )
    image = canvas.image * (1 - share) + haze * share
    v, u = np.meshgrid(
        np.linspace(0, 1.5, canvas.height), np.linspace(0, 3, canvas.width), indexing="ij"
    )
    shadow = cv2.GaussianBlur(
        sample("cloud", u + rng.uniform(0, 4), v + rng.uniform(0, 4)), (0, 0), canvas.width / 60
    )
    image *= 1 + rng.uniform(0.05, 0.22) * shadow[..., None].clip(-1.5, 1.5)
    image *= rng.uniform(0.62, 1.2) * rng.uniform(0.92, 1.08, 3)
    canvas.image = image.astype(np.float32)


def _frame(canvas: Canvas, rng: Rng) -> None:
    """What is not the street: the own bonnet, and the frame that rectifying the picture leaves."""
    height, width = canvas.height, canvas.width
    if rng.random() < 0.7:
        top = height * rng.uniform(0.9, 0.96)
        points = [
            (width * t, height - (height - top) * np.sin(np.pi * t) ** 0.4)
            for t in np.linspace(0.04, 0.96, 25)
        ]
        points += [(width * 0.96, height), (width * 0.04, height)]
        canvas.polygon(
            points,
            label=EGO,
            colour=tuple(rng.uniform(0.02, 0.3, 3).tolist()),
            z=2,
            texture="metal",
        )
    border = max(1, width // 256)
    canvas.image[:, :border] = canvas.image[:, -border:] = 0
    canvas.labels[:, :border] = canvas.labels[:, -border:] = BORDER
    canvas.labels[:border] = canvas.labels[-border:] = OUT_OF_ROI


def _expose(image: np.ndarray, rng: Rng) -> np.ndarray:
    """The camera: a little blur and noise, gamma, 8 bits."""
    image = cv2.GaussianBlur(image, (0, 0), image.shape[1] / 512 * rng.uniform(0.3, 0.7))
    noise = rng.normal(0, rng.uniform(0.004, 0.02), image.shape).astype(np.float32)
    return (255 * (image + noise).clip(0, 1) ** rng.uniform(0.8, 1.15)).round().astype(np.uint8)
