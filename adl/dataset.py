"""Training batches from a record: which samples, in which order, by which workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mindspore.dataset as ds
import numpy as np

from adl.augment import SCALES, augment, normalise
from adl.cityscapes import IGNORE
from adl.records import decode_image, decode_label
from adl.runtime import ALONE, World
from adl.schedule import steps_an_epoch

_ORDER = 1  # keeps these draws apart from those of the masks (2) and the augmentation (none)


def epoch_order(*, seed: int, epoch: int, images: int, batch_size: int) -> np.ndarray:
    """Indices of the samples of an epoch: a permutation, completed from its own start to whole batches."""
    permutation = np.random.default_rng([seed, epoch, _ORDER]).permutation(images)
    return np.resize(permutation, steps_an_epoch(images, batch_size) * batch_size)


def batches(
    record: Path,
    *,
    images: int,
    epoch: int,
    seed: int,
    batch_size: int,
    crop_size: int,
    ignore_label: int,
    workers: int,
    scales: tuple[float, float] = SCALES,
    first_batch: int = 0,
    world: World = ALONE,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of one epoch from `first_batch` on: images (N, 3, crop, crop) float32, labels (N, crop, crop) int32.

    Each rank gets its part of every batch. The sample at place p of the run's whole order is augmented from (seed, p),
    whatever the number of workers.
    """
    order = epoch_order(seed=seed, epoch=epoch, images=images, batch_size=batch_size)
    places = epoch * len(order) + np.arange(len(order))
    mine = np.arange(len(order)).reshape(-1, batch_size)[first_batch:, world.share(batch_size)].ravel()
    order, places = order[mine], places[mine]

    def prepare(image: np.ndarray, label: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ids = decode_label(label)
        if ignore_label != IGNORE:
            ids[ids == IGNORE] = ignore_label
        rng = np.random.default_rng([seed, int(place)])
        pixels, ids = augment(
            decode_image(image), ids, rng, crop_size=crop_size, ignore_label=ignore_label, scales=scales
        )
        return np.ascontiguousarray(normalise(pixels).transpose(2, 0, 1)), ids.astype(np.int32)

    # A sampler takes no more indices than the record has rows, so the completing ones are read by another.
    parts = [order[i : i + images].tolist() for i in range(0, len(order), images)]
    rows = None
    for part in parts:
        part_rows = ds.MindDataset(
            str(record), columns_list=["image", "label"], sampler=ds.SubsetSampler(part), num_parallel_workers=1
        )
        rows = part_rows if rows is None else rows + part_rows
    numbered = ds.zip((rows, ds.NumpySlicesDataset({"place": places}, shuffle=False, num_parallel_workers=1)))
    prepared = numbered.map(
        prepare,
        input_columns=["image", "label", "place"],
        output_columns=["image", "label"],
        num_parallel_workers=workers,
    )
    batched = prepared.project(["image", "label"]).batch(batch_size // world.size, drop_remainder=True)
    yield from batched.create_tuple_iterator(num_epochs=1, output_numpy=True)
