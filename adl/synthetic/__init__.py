"""The embedded data set: drawn street scenes in the folder layout of Cityscapes.

A scene follows from (seed, split, number) alone, so the splits share none and the number of images changes no image.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adl import cityscapes, runtime
from adl.artifacts import replacing_folder, write_image
from adl.progress import track
from adl.synthetic import street

CITIES = {"train": ("aldorf", "brenhaven", "carlsund", "dunmere"), "val": ("elmstad", "fjordby"), "test": ("grenholm",)}


def write(root: Path, *, images: dict[str, int], height: int, seed: int, workers: int) -> None:
    """Draw `images[split]` scenes a split, height × 2·height, with labels, in place of the folder `root`."""
    tasks = []
    with replacing_folder(root) as folder:
        for split, count in images.items():
            for number in range(count):
                city = CITIES[split][number % len(CITIES[split])]
                tasks.append((folder, split, city, number, height, seed))
        # Spawned, because a forked child inherits OpenCV's locks.
        with multiprocessing.get_context("spawn").Pool(workers, _prepare_worker, (os.getpid(),)) as pool:
            for _ in track(pool.imap_unordered(_write_scene, tasks), len(tasks), "drawing street scenes"):
                pass


def _prepare_worker(parent: int) -> None:
    runtime.die_with_parent(parent)
    cv2.setNumThreads(1)


def _write_scene(task: tuple[Path, str, str, int, int, int]) -> None:
    root, split, city, number, height, seed = task
    drawn = scene(split, number, height=height, seed=seed)
    name = f"{city}_{number:06d}_000019"
    label_path = cityscapes.label_path(root, split, city, name)
    write_image(cityscapes.image_path(root, split, city, name), drawn.image)
    write_image(label_path, drawn.labels)
    write_image(label_path.with_name(f"{name}_gtFine_instanceIds.png"), drawn.instances)


class Scene(NamedTuple):
    """image: (height, 2·height, 3) uint8 RGB. labels: uint8 label ids. instances: uint16, as `Canvas.instances`."""

    image: np.ndarray
    labels: np.ndarray
    instances: np.ndarray


def scene(split: str, number: int, *, height: int, seed: int) -> Scene:
    """Draw one scene; it follows from split, number and seed."""
    rng = np.random.default_rng([seed, list(CITIES).index(split), number, 3])
    canvas = street.draw(height, 2 * height, rng)
    countable = [label.id for label in cityscapes.LABELS if label.hasInstances]
    return Scene(canvas.image, canvas.labels, canvas.instances(countable))
