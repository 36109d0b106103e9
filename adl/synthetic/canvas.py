"""A camera over flat ground, and painting with textures in metres. Everything is painted from far to near."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np

from adl.dataset.descriptor import DatasetDescriptor

Colour = Sequence[float] | np.ndarray
"""RGB, 0-1."""
Point = tuple[float, float]
Metres = TypeVar("Metres", float, np.ndarray)
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""pattern(u, v) in metres along and up a surface → a brightness factor of the same shape."""

_TILE = 256
_TILE_METRES = 4.0


@functools.cache
def tile(name: str) -> np.ndarray:
    """A texture that repeats: (256, 256) float32 of mean 0 and standard deviation 1, one for each kind of surface."""
    if name == "slats":
        return tile("ribs").T
    if name == "ribs":
        wave = np.sqrt(2) * np.sin(2 * np.pi * np.arange(_TILE) / (_TILE / 8))
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
    frequency = np.fft.fftfreq(_TILE)
    distance = np.hypot(frequency, frequency[:, None] / stretch)
    amplitude = 1 / np.maximum(distance, 1 / _TILE) ** roughness
    amplitude[0, 0] = 0
    texture = np.fft.ifft2(np.fft.fft2(noise) * amplitude).real
    return (texture / texture.std()).astype(np.float32)


def sample(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The texture at (u, v) metres, which may be a row and a column."""
    scale = _TILE / _TILE_METRES
    return tile(name)[(v * scale).astype(np.int64) % _TILE, (u * scale).astype(np.int64) % _TILE]


class Canvas:
    """Image, label ids and depth of a scene in the making.

    dataset: has a label of each name that is painted. rng: draws the camera.
    """

    def __init__(self, dataset: DatasetDescriptor, height: int, rng: np.random.Generator) -> None:
        self.label_ids = {name: number for number, name in dataset.label_names.items()}
        self.height, self.width = height, 2 * height
        self.horizon = height * rng.uniform(0.38, 0.48)  # its row
        self.eye = rng.uniform(1.5, 2.1)  # metres above the ground
        self.focal = self.width * rng.uniform(0.72, 0.95)  # pixels
        self.depth = np.zeros((height, self.width), np.float32)  # metres; 0 where the sky is
        self.labels = np.zeros_like(self.depth, np.uint8)
        self.image = np.zeros((*self.depth.shape, 3), np.float32)  # RGB, 0-1

    def project(self, x: Metres, y: Metres, z: float) -> tuple[Metres, Metres]:
        """Pixel of the point x metres right, y metres above the ground, z metres ahead; or of several."""
        return self.width / 2 + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z

    def paint(
        self,
        top: int,
        left: int,
        mask: np.ndarray,
        *,
        label: str,
        colour: Colour,
        shade: np.ndarray,
        z: np.ndarray | float,
    ) -> None:
        """Colour the pixels of a mask (h, w) whose corner is at (top, left). shade: (h, w) brightness factors."""
        area = np.s_[top : top + mask.shape[0], left : left + mask.shape[1]]
        self.image[area][mask] = (np.asarray(colour, np.float32) * shade[..., None])[mask]
        self.labels[area][mask] = self.label_ids[label]
        self.depth[area][mask] = np.broadcast_to(z, mask.shape)[mask]

    def polygon(
        self,
        points: Sequence[Point] | np.ndarray,
        *,
        label: str,
        colour: Colour,
        z: float,
        texture: str = "fine",
        contrast: float = 0.1,
    ) -> None:
        """A flat shape that faces the camera at distance z; points in pixels."""
        shape = np.round(points).astype(np.int32)
        left, top = np.maximum(shape.min(axis=0), 0)
        right, bottom = np.minimum(shape.max(axis=0) + 1, (self.width, self.height))
        if left >= right or top >= bottom:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, [shape], (1,), offset=(-left, -top))
        metre = self.focal / z
        u = np.arange(left, right) / metre
        v = np.arange(top, bottom)[:, None] / metre
        shade = 1 + contrast * sample(texture, u, v)
        self.paint(top, left, mask > 0, label=label, colour=colour, shade=shade, z=z)

    def upright(
        self, near: Point, far: Point, height: float, *, label: str, colour: Colour, pattern: Pattern, texture: str,
        contrast: float = 0.1, base: float = 0.0,
    ) -> None:  # fmt: skip
        """A vertical wall between the ground points near and far, (x, z) in metres, with a pattern in perspective."""
        (x0, z0), (x1, z1) = near, far
        column0, _ = self.project(x0, 0, z0)
        column1, _ = self.project(x1, 0, z1)
        left, right = sorted((column0, column1))
        first = int(max(left, 0))
        last = int(min(right, self.width - 1)) + 1
        if last <= first or right - left < 1:
            return
        t = ((np.arange(first, last) - column0) / (column1 - column0)).clip(0, 1)
        inverse = (1 - t) / z0 + t / z1  # 1 / z is linear along the screen
        u = t / z1 / inverse * np.hypot(x1 - x0, z1 - z0)
        ground = self.horizon + self.focal * (self.eye - base) * inverse
        metre = self.focal * inverse
        top = int(max((ground - height * metre).min(), 0))
        bottom = int(min(ground.max(), self.height - 1)) + 1
        if bottom <= top:
            return
        v = (ground - np.arange(top, bottom)[:, None]) / metre
        mask = (v >= 0) & (v <= height)
        shade = pattern(u, v) * (1 + contrast * sample(texture, u, v))
        self.paint(top, first, mask, label=label, colour=colour, shade=shade, z=1 / inverse)
