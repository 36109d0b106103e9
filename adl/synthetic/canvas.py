"""A camera over flat ground, and painting with textures in metres. Everything is painted from far to near."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy import fft
from numpy.random import Generator
from numpy.typing import ArrayLike

from adl.dataset.descriptor import DatasetDescriptor
from adl.synthetic.plan import Layout

_TILE = 256
_PIXELS_PER_METRE = 64


@functools.cache
def tile(name: str) -> np.ndarray:
    """A texture that repeats: (256, 256) float32 of mean 0 and standard deviation 1, one for each kind of surface."""
    if name == "slats":
        return tile("ribs").T
    if name == "ribs":
        wave = np.sqrt(2) * np.sin(2 * np.pi * np.arange(_TILE) / (_TILE // 8))
        return np.tile(wave, (_TILE, 1)).astype(np.float32)
    roughness, stretch = {
        "fine": (0.3, 1.0),
        "asphalt": (0.6, 1.0),
        "grass": (0.5, 3.0),
        "leaves": (1.1, 1.0),
        "cloth": (1.4, 0.4),
        "metal": (2.0, 0.15),
        "cloud": (1.9, 0.5),
        "plaster": (1.5, 1.0),
    }[name]
    noise = np.random.default_rng(len(name)).normal(size=(_TILE, _TILE))
    frequency = fft.fftfreq(_TILE)
    distance = np.hypot(frequency, frequency[:, None] / stretch).clip(1 / _TILE)
    amplitude = 1 / distance**roughness
    amplitude[0, 0] = 0
    texture = fft.ifft2(fft.fft2(noise) * amplitude).real
    return (texture / texture.std()).astype(np.float32)


def sample(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The texture at (u, v) metres, which may be a row and a column."""
    row = (v * _PIXELS_PER_METRE).astype(np.int64) % _TILE
    column = (u * _PIXELS_PER_METRE).astype(np.int64) % _TILE
    return tile(name)[row, column]


class Part(NamedTuple):
    """A flat shape.

    colour: RGB, 0-1, or one value of grey. points: (n, 2). label: its name where it differs from the object's own.
    """

    colour: ArrayLike
    points: np.ndarray
    texture: str = "metal"
    contrast: float = 0.12
    label: str | None = None


def outline(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve, closed along the line y = 0."""
    return np.append(x, (x[-1], x[0])), np.append(y, (0, 0))


def plain(u: np.ndarray, v: np.ndarray) -> np.ndarray | float:
    return 1.0


class Canvas:
    """Image, label ids and depth of a scene in the making.

    dataset: has a label of each name that is painted. rng: draws the camera and the layout of the street.
    """

    def __init__(self, dataset: DatasetDescriptor, height: int, rng: Generator) -> None:
        self.label_ids = {name: number for number, name in dataset.label_names.items()}
        self.height, self.width = height, 2 * height
        self.horizon = height * rng.uniform(0.38, 0.48)  # its row
        self.eye = rng.uniform(1.5, 2.1)  # metres above the ground
        self.focal = self.width * rng.uniform(0.72, 0.95)  # pixels
        self.layout = Layout(rng)
        self.depth = np.zeros((height, self.width), np.float32)  # metres; 0 where the sky is
        self.labels = np.zeros_like(self.depth, np.uint8)
        self.image = np.zeros((*self.depth.shape, 3), np.float32)  # RGB, 0-1

    def project(self, x: float | np.ndarray, y: float | np.ndarray, z: float | np.ndarray) -> np.ndarray:
        """(column, row) of the point x metres right, y above the ground, z ahead; or (n, 2) of several."""
        return np.array((self.width / 2 + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z)).T

    def paint(
        self,
        pixels: np.ndarray,
        label: str,
        colour: ArrayLike,
        shade: np.ndarray,
        z: float | np.ndarray,
    ) -> None:
        """Colour pixels, which are counted row by row. shade: a brightness factor for each. z: their distance."""
        self.image.reshape(-1, 3)[pixels] = np.outer(shade, np.asarray(colour, np.float32))
        self.labels.flat[pixels] = self.label_ids[label]
        self.depth.flat[pixels] = z

    def polygon(self, part: Part, label: str, z: float) -> None:
        """A flat shape that faces the camera at distance z; its points in pixels."""
        mask = np.zeros_like(self.labels)
        cv2.fillPoly(mask, [part.points.round().astype(np.int32)], (1,))
        pixels = np.flatnonzero(mask)
        rows, columns = divmod(pixels, self.width)
        metre = self.focal / z
        shade = 1 + part.contrast * sample(part.texture, columns / metre, rows / metre)
        self.paint(pixels, part.label or label, part.colour, shade, z)

    def upright(
        self, x: np.ndarray, z: np.ndarray | Sequence[float], height: float, *, label: str, colour: ArrayLike,
        texture: str, contrast: float = 0.1, base: float = 0.0,
        pattern: Callable[[np.ndarray, np.ndarray], np.ndarray | float] = plain,
    ) -> None:  # fmt: skip
        """A vertical wall in perspective.

        x, z: of its ends, in metres. base: of its foot. pattern(u, v): metres along and up the wall → a brightness
        factor for each.
        """
        start, end = self.project(x, 0, np.array(z))[:, 0]
        left, right = sorted((start, end))
        if right - left < 1:
            return
        columns = np.arange(int(max(left, 0)), int(min(right, self.width - 1)) + 1)
        t = ((columns - start) / (end - start)).clip(0, 1)
        inverse = (1 - t) / z[0] + t / z[1]  # 1 / z is linear along the screen
        u = t / z[1] / inverse * np.hypot(np.diff(x), np.diff(z))
        ground = self.horizon + self.focal * (self.eye - base) * inverse
        v = (ground - np.arange(self.height)[:, None]) / (self.focal * inverse)
        rows, along = divmod(np.flatnonzero((v >= 0) & (v <= height)), columns.size)
        u, v = u[along], v[rows, along]
        shade = pattern(u, v) * (1 + contrast * sample(texture, u, v))
        self.paint(rows * self.width + columns[along], label, colour, shade, 1 / inverse[along])
