"""What a file in 8 bits loses, with each instruction set that this processor has: each adds the products otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adl import device
from adl.console.progress import track
from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.records import Row
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.export.exported import Exported
from adl.export.proofs import AccuracyDrop, EightBits
from adl.metrics import Confusion
from adl.metrics.bootstrap import bootstrap, interval
from adl.metrics.confusion import count_image

FIRST_IMAGES = 60
"""Images that are scored first; twice as many each time, while it is not certain whether too much is lost."""


class Sample(NamedTuple):
    """One image. counts, checkpoint: (C, C + 1) pixels, of the file and of the checkpoint."""

    counts: np.ndarray
    checkpoint: np.ndarray
    equal: int
    pixels: int


def score(
    path: Path,
    record: Path,
    dataset: DatasetDescriptor,
    mode: Mode,
    *,
    labels: bool,
    expected: Callable[[Row], np.ndarray],
) -> EightBits:
    """Score a file on images that are spread over a record, until it is certain whether it loses too much.

    labels: it returns labels. expected: the checkpoint's label map of a row, in the same mode.
    """
    images = records.read_manifest(record, dataset)["images"]
    order = records.evenly(images)
    start = 0
    with contextlib.ExitStack() as stack:
        files: dict[str, Exported] = {}
        samples: dict[str, list[Sample]] = {}
        for name in device.instruction_sets():
            run = stack.enter_context(runtimes.limited(path, name))
            files[name] = Exported(run, None, labels=labels, name=str(path))
            samples[name] = []
        while True:
            numbers = order[start : max(FIRST_IMAGES, 2 * start)]
            rows = records.read(record, numbers=numbers)
            for row in track(rows, len(numbers), "scoring 8 bits and the checkpoint"):
                theirs = expected(row)
                checkpoint = count_image(dataset, row.label, theirs)
                for name, file in files.items():
                    ours = file.label_maps(row.image[None], mode)[mode.name][0]
                    counts = count_image(dataset, row.label, ours)
                    equal = int((ours == theirs).sum())
                    samples[name].append(Sample(counts, checkpoint, equal, ours.size))
            start += len(numbers)
            drops = {name: _drop(dataset, some) for name, some in samples.items()}
            if start == images or all(drop.is_certain for drop in drops.values()):
                return EightBits(drops)


def _drop(dataset: DatasetDescriptor, samples: list[Sample]) -> AccuracyDrop:
    counts, checkpoint, equal, pixels = map(np.array, zip(*samples, strict=True))
    ours, theirs = (Confusion(dataset, c.sum(axis=0)).mean_iou() for c in (counts, checkpoint))
    lost = None
    if ours is not None and len(samples) > 1:
        drawn, drawn_checkpoint = bootstrap([counts, checkpoint])
        low, high = interval(100 * (drawn_checkpoint - drawn))
        lost = round(low, 4), round(high, 4)
    return AccuracyDrop(len(samples), ours, theirs, float(equal.sum() / pixels.sum()), lost)
