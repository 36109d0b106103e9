"""The embedded data set: drawn street scenes in the folder layout of Cityscapes.

A scene follows from (seed, split, number) alone, so the splits share none and the number of images changes no image.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import replacing_folder, write_png
from adl.parallel.pool import process_pool
from adl.synthetic.canvas import Canvas
from adl.synthetic.facades import line_street
from adl.synthetic.objects import populate
from adl.synthetic.street import expose, frame, ground, light, patch, sky, skyline

CITIES = {
    "train": ("aldorf", "brenhaven", "carlsund", "dunmere"),
    "val": ("elmstad", "fjordby"),
    "test": ("grenholm",),
}


def scene(
    dataset: DatasetDescriptor, split: str, number: int, *, height: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one scene; it follows from split, number and seed. dataset: whose label ids it gets.

    Returns the image, (height, 2·height, 3) uint8 RGB, and its labels, (height, 2·height) uint8 label ids.
    """
    rng = np.random.default_rng([seed, list(CITIES).index(split), number, 3])
    canvas = Canvas(dataset, height, rng)
    for paint in (sky, skyline, ground, line_street, populate, patch, light, frame, expose):
        paint(canvas, rng)
    return canvas.image, canvas.labels


def write(
    root: Path,
    dataset: DatasetDescriptor,
    *,
    images: dict[str, int],
    height: int,
    seed: int,
    workers: int,
) -> None:
    """Draw `images[split]` scenes per split, height × 2·height, with labels, in place of the folder `root`."""
    with replacing_folder(root) as folder, process_pool(workers) as pool:
        for split, count in images.items():
            draw = functools.partial(_write_scene, folder, dataset, height, seed, split)
            for _ in track(pool.map(draw, range(count)), count, f"drawing scenes of {split}"):
                pass


def _write_scene(root: Path, dataset: DatasetDescriptor, height: int, seed: int, split: str, number: int) -> None:
    image, labels = scene(dataset, split, number, height=height, seed=seed)
    city = CITIES[split][number % len(CITIES[split])]
    name = f"{city}_{number:06d}_000019"
    write_png(dataset.images.path(root, split, city, name), image)
    write_png(dataset.labels.path(root, split, city, name), labels)
