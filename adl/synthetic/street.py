"""One street: its layout, what lines it, who is in it, the light, the camera's faults."""

from __future__ import annotations

import cv2
import numpy as np

from adl.dataset.descriptor import DatasetDescriptor
from adl.synthetic import objects
from adl.synthetic.canvas import Canvas, Colour, sample
from adl.synthetic.facades import line_street, windows
from adl.synthetic.plan import FAR, Layout, lay_out
from adl.synthetic.shapes import Rng, disc, paint, shade, tinted

SOILS = ((0.3, 0.42, 0.18), (0.5, 0.44, 0.28), (0.4, 0.36, 0.3))


def draw(dataset: DatasetDescriptor, height: int, rng: Rng) -> Canvas:
    """Paint a scene, twice as wide as high."""
    canvas = Canvas(dataset, height, rng)
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


def _clouds(canvas: Canvas, extent: float, rng: Rng) -> np.ndarray:
    """(height, width) of mean 0, the finer the larger `extent` is."""
    u = np.linspace(0, 2 * extent, canvas.width) + rng.uniform(0, 4)
    v = np.linspace(0, extent, canvas.height)[:, None] + rng.uniform(0, 4)
    return sample("cloud", u, v)


def _sky(canvas: Canvas, rng: Rng) -> None:
    clouds = _clouds(canvas, 3, rng)[..., None] * rng.uniform(0.02, 0.1)
    zenith = rng.choice(
        [(0.45, 0.65, 0.92), (0.74, 0.78, 0.84), (0.6, 0.7, 0.85), (0.85, 0.74, 0.7)]
    )
    haze = np.array((0.85, 0.87, 0.88)) * rng.uniform(0.85, 1.05)
    share = (np.arange(canvas.height) / max(canvas.horizon, 1)).clip(0, 1)[:, None, None]
    canvas.image[:] = (1 - share) * zenith + share * haze + clouds
    canvas.labels[:] = canvas.label_ids["sky"]


def _skyline(canvas: Canvas, rng: Rng) -> None:
    """Far houses, woods and hills."""
    x = -FAR
    while x < FAR:
        size = rng.uniform(8, 40)
        kind = rng.integers(4)
        if kind < 2:
            colour = shade(rng, (0.6, 0.55, 0.5), 0.6, 1.2)
            canvas.upright(
                (x, FAR), (x + size, FAR), rng.uniform(6, 30),
                label="building", colour=colour, pattern=windows(rng), texture="plaster",
            )  # fmt: skip
        elif kind == 2:
            across = np.append(x + size * np.linspace(0, 1, 9), (x + size, x))
            up = np.append(rng.uniform(6, 14, 9), (0, 0))
            points = np.transpose(canvas.project(across, up, FAR))
            canvas.polygon(
                points,
                label="vegetation",
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
    labels = np.array(layout.labels)[zone]
    if layout.crossing:
        start, end = layout.crossing
        labels[(z > start) & (z < end)] = "road"
    grey = rng.uniform(0.22, 0.36)
    surfaces: dict[str, tuple[Colour, str, float]] = {
        "road": ((grey, grey, grey * rng.uniform(0.95, 1.1)), "asphalt", 0.22),
        "sidewalk": (tinted(rng, (0.56, 0.5, 0.47), 0.25), "plaster", 0.1),
        "parking": (tinted(rng, (0.42, 0.41, 0.4), 0.2), "asphalt", 0.13),
        "rail track": (tinted(rng, (0.4, 0.36, 0.33), 0.2), "fine", 0.25),
        "terrain": (tinted(rng, rng.choice(SOILS), 0.3), "grass", 0.4),
        "ground": (tinted(rng, (0.5, 0.42, 0.34), 0.2), "grass", 0.12),
    }
    fade = 1 / (1 + z / 60)
    for label, (colour, texture, contrast) in surfaces.items():
        shades = 1 + contrast * fade * sample(texture, x, z) + _marks(label, x, z, layout)
        shades = shades.astype(np.float32)
        canvas.paint(first, 0, labels == label, label=label, colour=colour, shade=shades, z=z)


def _marks(label: str, x: np.ndarray, z: np.ndarray, layout: Layout) -> np.ndarray | float:
    """Lane lines, paving joints, rails: brightness to add."""
    if label == "road":
        lanes = np.abs((x - layout.road[0]) % 3.3 - 0.1) < 0.07
        return 0.9 * (lanes & ((z % 6 < 3) | (np.abs(x - layout.road[0]) < 0.4)))
    if label == "sidewalk":
        return -0.45 * ((x % 0.6 < 0.05) | (z % 0.6 < 0.05))
    if label == "parking":
        return 0.8 * (z % 5 < 0.12)
    if label == "rail track":
        return 0.9 * (np.abs(x % 1.5 - 0.1) < 0.06) - 0.35 * (z % 0.8 < 0.3)
    return 0.0


def _populate(canvas: Canvas, layout: Layout, rng: Rng) -> None:
    standing = []
    for kind in objects.KINDS:
        for _ in range(rng.poisson(kind.mean)):
            # Even in 1/z, so that objects of all sizes on the picture are about equally frequent.
            z = 1 / rng.uniform(1 / kind.farthest, 1 / kind.nearest)
            standing.append((z, kind, _stand(kind, layout, rng) + layout.middle(z)))
    for z, kind, x in sorted(standing, key=lambda entry: -entry[0]):
        objects.place(canvas, kind, x, z, rng)


def _stand(kind: objects.Kind, layout: Layout, rng: Rng) -> float:
    """Metres to the right of the road's middle."""
    left, right = layout.road
    half = min(kind.size[0] / 2, 2.5)
    if kind.zone == "lane":
        return rng.uniform(left + half, right - half)
    side = rng.choice([0, 1])
    kerb, wall = layout.road[side], layout.walls[side]
    outwards = np.sign(kerb)
    if kind.zone == "kerb":
        return kerb - outwards * rng.uniform(0.2, 1.2)
    if kind.zone == "pavement":
        return rng.uniform(*sorted((kerb + outwards * 0.3, wall)))
    return wall - outwards * rng.uniform(-3, 2)


def _unlabeled_patch(canvas: Canvas, rng: Rng) -> None:
    """Something that nobody could name."""
    if rng.random() < 0.3:
        x, z = rng.uniform(-8, 8), rng.uniform(15, 40)
        column, row = canvas.project(x, 0, z)
        size = canvas.focal / z
        points = (column, row) + size * (disc(0.5, 0.5, 0.6, 0.5) - (0, 1))
        canvas.polygon(
            points, label="unlabeled", colour=paint(rng), z=z, texture="leaves", contrast=0.4
        )


def _light(canvas: Canvas, rng: Rng) -> None:
    """Haze with distance, shadows, and the colour of the light."""
    haze = np.array((0.75, 0.78, 0.8)) * rng.uniform(0.7, 1.1)
    share = 1 - np.exp(-canvas.depth / rng.uniform(150, 600))[..., None]
    image = canvas.image * (1 - share) + haze * share
    shadow = cv2.GaussianBlur(_clouds(canvas, 1.5, rng), (0, 0), canvas.width / 60)
    image *= 1 + rng.uniform(0.05, 0.22) * shadow[..., None].clip(-1.5, 1.5)
    image *= rng.uniform(0.62, 1.2) * rng.uniform(0.92, 1.08, 3)
    canvas.image = image.astype(np.float32)


def _frame(canvas: Canvas, rng: Rng) -> None:
    """What is not the street: the own bonnet, and the frame that rectifying the picture leaves."""
    height, width = canvas.height, canvas.width
    if rng.random() < 0.7:
        top = height * rng.uniform(0.9, 0.96)
        t = np.linspace(0.04, 0.96, 25)
        columns = width * np.append(t, (0.96, 0.04))
        rows = height - (height - top) * np.append(np.sin(np.pi * t) ** 0.4, (0, 0))
        canvas.polygon(
            np.transpose((columns, rows)),
            label="ego vehicle",
            colour=rng.uniform(0.02, 0.3, 3),
            z=2,
            texture="metal",
        )
    border = max(1, width // 256)
    canvas.image[:, :border] = canvas.image[:, -border:] = 0
    sides, ends = canvas.label_ids["rectification border"], canvas.label_ids["out of roi"]
    canvas.labels[:, :border] = canvas.labels[:, -border:] = sides
    canvas.labels[:border] = canvas.labels[-border:] = ends


def _expose(image: np.ndarray, rng: Rng) -> np.ndarray:
    """The camera: a little blur and noise, gamma, 8 bits."""
    image = cv2.GaussianBlur(image, (0, 0), image.shape[1] / 512 * rng.uniform(0.3, 0.7))
    noise = rng.normal(0, rng.uniform(0.004, 0.02), image.shape).astype(np.float32)
    return (255 * (image + noise).clip(0, 1) ** rng.uniform(0.8, 1.15)).round().astype(np.uint8)
