"""One street, from the sky to the light and the faults of the camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from adl.synthetic.canvas import Canvas, Part, outline, sample
from adl.synthetic.facades import windows
from adl.synthetic.plan import FAR
from adl.synthetic.shapes import disc, paint, shade, tinted


def _clouds(canvas: Canvas, extent: float, rng: Generator) -> np.ndarray:
    """(height, width) of mean 0, the finer the larger `extent` is."""
    u = np.linspace(0, 2 * extent, canvas.width) + rng.uniform(0, 4)
    v = np.linspace(0, extent, canvas.height)[:, None] + rng.uniform(0, 4)
    return sample("cloud", u, v)


def sky(canvas: Canvas, rng: Generator) -> None:
    clouds = _clouds(canvas, 3, rng)[..., None] * rng.uniform(0.02, 0.1)
    zenith = rng.choice([(0.45, 0.65, 0.92), (0.74, 0.78, 0.84), (0.6, 0.7, 0.85), (0.85, 0.74, 0.7)])
    haze = np.multiply((0.85, 0.87, 0.88), rng.uniform(0.85, 1.05))
    share = (np.arange(canvas.height) / canvas.horizon).clip(0, 1)[:, None, None]
    canvas.image[:] = (1 - share) * zenith + share * haze + clouds
    canvas.labels[:] = canvas.label_ids["sky"]


def skyline(canvas: Canvas, rng: Generator) -> None:
    """Far houses, woods and hills."""
    x = -FAR
    while x < FAR:
        size = rng.uniform(8, 40)
        kind = rng.integers(4)
        if kind < 2:
            canvas.upright(
                np.array((x, x + size)), (FAR, FAR),
                colour=shade(rng, (0.6, 0.55, 0.5), 0.6, 1.2), height=rng.uniform(6, 30),
                label="building", pattern=windows(rng), texture="plaster",
            )  # fmt: skip
        elif kind == 2:
            across, up = outline(x + size * np.linspace(0, 1, 9), rng.uniform(6, 14, 9))
            canvas.polygon(
                Part((0.22, 0.34, 0.2), canvas.project(across, up, FAR), "leaves", 0.3),
                "vegetation",
                FAR,
            )
        x += size * rng.uniform(0.8, 1.3)


def ground(canvas: Canvas, rng: Generator) -> None:
    """The strips with their lane lines, paving joints and rails."""
    layout = canvas.layout
    pixels = np.arange((int(canvas.horizon) + 1) * canvas.width, canvas.labels.size)
    rows, columns = divmod(pixels, canvas.width)
    z = canvas.focal * canvas.eye / (rows - canvas.horizon)
    x = (columns - canvas.width / 2) * z / canvas.focal - layout.middle(z)
    labels = np.take(layout.labels, np.digitize(x, layout.edges))
    start, end = layout.crossing
    labels[(z > start) & (z < end)] = "road"
    grey = rng.uniform(0.22, 0.36)
    from_kerb = x - layout.road[0]
    lanes = np.abs(from_kerb % 3.3 - 0.1) < 0.07
    surfaces: dict[str, tuple[ArrayLike, str, float, np.ndarray | float]] = {
        "road": (
            (grey, grey, grey * rng.uniform(0.95, 1.1)), "asphalt", 0.22,
            0.9 * (lanes & ((z % 6 < 3) | (np.abs(from_kerb) < 0.4))),
        ),
        "sidewalk": (
            tinted(rng, (0.56, 0.5, 0.47), 0.25), "plaster", 0.1,
            -0.45 * ((x % 0.6 < 0.05) | (z % 0.6 < 0.05)),
        ),
        "parking": (tinted(rng, (0.42, 0.41, 0.4), 0.2), "asphalt", 0.13, 0.8 * (z % 5 < 0.12)),
        "rail track": (
            tinted(rng, (0.4, 0.36, 0.33), 0.2), "fine", 0.25,
            0.9 * (np.abs(x % 1.5 - 0.1) < 0.06) - 0.35 * (z % 0.8 < 0.3),
        ),
        "terrain": (
            tinted(rng, rng.choice([(0.3, 0.42, 0.18), (0.5, 0.44, 0.28), (0.4, 0.36, 0.3)]), 0.3),
            "grass", 0.4, 0.0,
        ),
        "ground": (tinted(rng, (0.5, 0.42, 0.34), 0.2), "grass", 0.12, 0.0),
    }  # fmt: skip
    fade = 1 / (1 + z / 60)
    for label, (colour, texture, contrast, marks) in surfaces.items():
        mask = labels == label
        shades = (1 + contrast * fade * sample(texture, x, z) + marks).astype(np.float32)
        canvas.paint(pixels[mask], label, colour, shades[mask], z[mask])


def patch(canvas: Canvas, rng: Generator) -> None:
    """Something that nobody could name."""
    if rng.random() < 0.3:
        x, z = rng.uniform(-8, 8), rng.uniform(15, 40)
        shape = disc(paint(rng), 0.5, 0.5, 0.6, 0.5, "leaves", 0.4)
        points = canvas.project(x, 0, z) + canvas.focal / z * (shape.points - (0, 1))
        canvas.polygon(shape._replace(points=points), "unlabeled", z)


def light(canvas: Canvas, rng: Generator) -> None:
    """Haze with distance, shadows, and the colour of the light."""
    haze = np.multiply((0.75, 0.78, 0.8), rng.uniform(0.7, 1.1))
    share = 1 - np.exp(-canvas.depth / rng.uniform(150, 600))[..., None]
    image = canvas.image * (1 - share) + haze * share
    shadow = cv2.GaussianBlur(_clouds(canvas, 1.5, rng), (0, 0), canvas.width / 60)
    image *= 1 + rng.uniform(0.05, 0.22) * shadow[..., None].clip(-1.5, 1.5)
    image *= rng.uniform(0.62, 1.2) * rng.uniform(0.92, 1.08, 3)
    canvas.image = image.astype(np.float32)


def frame(canvas: Canvas, rng: Generator) -> None:
    """What is not the street: the own bonnet, and the frame that rectifying the picture leaves."""
    if rng.random() < 0.7:
        rise = canvas.height - canvas.height * rng.uniform(0.9, 0.96)
        t = np.linspace(0.04, 0.96, 25)
        across, up = outline(t, np.sin(np.pi * t) ** 0.4)
        points = np.transpose((canvas.width * across, canvas.height - rise * up))
        canvas.polygon(Part(rng.uniform(0.02, 0.3, 3), points, "metal", 0.1), "ego vehicle", 2)
    border = max(1, canvas.width // 256)
    outermost = np.arange(-border, border)  # from both ends
    canvas.image[:, outermost] = 0
    canvas.labels[:, outermost] = canvas.label_ids["rectification border"]
    canvas.labels[outermost] = canvas.label_ids["out of roi"]


def expose(canvas: Canvas, rng: Generator) -> None:
    """What the camera makes of it: a little blur and noise, gamma, 8 bits."""
    image = cv2.GaussianBlur(canvas.image, (0, 0), canvas.width / 512 * rng.uniform(0.3, 0.7))
    noise = rng.normal(0, rng.uniform(0.004, 0.02), image.shape).astype(np.float32)
    image = 255 * (image + noise).clip(0, 1) ** rng.uniform(0.8, 1.15)
    canvas.image = image.round().astype(np.uint8)
