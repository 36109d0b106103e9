"""Training batches from a record, prepared by several workers."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterator
from pathlib import Path

import mindspore.dataset as ds
import numpy as np

from adl import device
from adl.config.params import Params
from adl.dataset.augment import Normalise, augment
from adl.dataset.descriptor import IGNORE
from adl.dataset.order import epoch_order
from adl.dataset.records import decode_image, decode_label
from adl.parallel.world import ALONE, World


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
    """The training batches of a record.

    record: the MindRecord file. images: rows that it holds. params: their batch_size is over all ranks; their
    ignore_label is what the label 255 becomes; their workers prepare samples, and change no batch.
    """

    record: Path
    images: int
    params: Params
    normalise: Normalise
    world: World = ALONE

    def epoch(self, epoch: int, *, first_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of one epoch from `first_batch` on.

        Yields images (N, 3, crop, crop) float32 and labels (N, crop, crop) int32: this rank's part of every batch. The
        sample at place p of the run's whole order is augmented from (seed, p).
        """
        p = self.params
        order = epoch_order(seed=p.seed, epoch=epoch, images=self.images, batch_size=p.batch_size)
        by_batch = np.arange(len(order)).reshape(-1, p.batch_size)
        of_rank = by_batch[first_batch:, self.world.share(p.batch_size)].ravel()
        numbers = ds.NumpySlicesDataset({"place": epoch * len(order) + of_rank}, shuffle=False, num_parallel_workers=1)
        samples = ds.zip((self._rows(order[of_rank]), numbers)).map(
            self._prepare,
            input_columns=["image", "label", "place"],
            output_columns=["image", "label"],
            num_parallel_workers=device.workers(p.workers),
        )
        yield from samples.batch(p.batch_size // self.world.size).create_tuple_iterator(num_epochs=1, output_numpy=True)

    def _rows(self, order: np.ndarray) -> ds.Dataset:
        """The rows with these indices, in this order."""
        # A sampler takes no more indices than the record has rows, so the completing ones are read by another.
        parts = (
            ds.MindDataset(
                str(self.record),
                columns_list=["image", "label"],
                sampler=ds.SubsetSampler(order[start : start + self.images].tolist()),
                num_parallel_workers=1,
            )
            for start in range(0, len(order), self.images)
        )
        return functools.reduce(operator.add, parts)

    def _prepare(self, image: np.ndarray, label: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One sample: PNG bytes of the record, and its place in the run's whole order."""
        p = self.params
        pixels, ids = augment(
            decode_image(image),
            decode_label(label),
            np.random.default_rng([p.seed, int(place)]),
            crop_size=p.crop_size,
            scales=(p.min_scale, p.max_scale),
        )
        labels = ids.astype(np.int32)
        labels[labels == IGNORE] = p.ignore_label
        return np.ascontiguousarray(self.normalise(pixels).transpose(2, 0, 1)), labels
