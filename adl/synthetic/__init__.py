"""The embedded data set: drawn street scenes in the folder layout of Cityscapes.

A scene follows from (seed, split, number) alone, so the splits share none and the number of images changes no image.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from adl.artifacts import replacing_folder, write_png
from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor
from adl.parallel.pool import process_pool
from adl.synthetic import street

CITIES = {
    "train": ("aldorf", "brenhaven", "carlsund", "dunmere"),
    "val": ("elmstad", "fjordby"),
    "test": ("grenholm",),
}
COUNTABLE = range(24, 34)
"""Label ids of what the official table counts one by one: persons and vehicles."""


class Task(NamedTuple):
    """One scene to draw. number: in its split."""

    root: Path
    dataset: DatasetDescriptor
    split: str
    number: int
    height: int
    seed: int


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
        tasks = []
        for split, count in images.items():
            tasks += [Task(folder, dataset, split, number, height, seed) for number in range(count)]
        for _ in track(pool.map(_write_scene, tasks), len(tasks), "drawing street scenes"):
            pass


def _write_scene(task: Task) -> None:
    drawn = scene(task.split, task.number, height=task.height, seed=task.seed)
    cities = CITIES[task.split]
    city = cities[task.number % len(cities)]
    name = f"{city}_{task.number:06d}_000019"
    label_path = task.dataset.labels.path(task.root, task.split, city, name)
    write_png(task.dataset.images.path(task.root, task.split, city, name), drawn.image)
    write_png(label_path, drawn.labels)
    write_png(label_path.with_name(f"{name}_gtFine_instanceIds.png"), drawn.instances)


class Scene(NamedTuple):
    """image: (height, 2·height, 3) uint8 RGB. labels: uint8 label ids. instances: uint16, as `Canvas.instances`."""

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


def scene(split: str, number: int, *, height: int, seed: int) -> Scene:
    """Draw one scene; it follows from split, number and seed."""
    rng = np.random.default_rng([seed, list(CITIES).index(split), number, 3])
    canvas = street.draw(height, 2 * height, rng)
    return Scene(canvas.image, canvas.labels, canvas.instances(COUNTABLE))
