"""What a file in 8 bits loses, with each instruction set that this processor has: each adds the products otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    order = records.evenly(records.read_manifest(record, dataset)["images"])
    scored = 0
    with contextlib.ExitStack() as stack:
        files: dict[str, tuple[Exported, list]] = {}
        for name in device.instruction_sets():
            run = stack.enter_context(runtimes.limited(path, name))
            files[name] = Exported(run, None, labels=labels, name=str(path)), []
        while True:
            numbers = order[scored : max(FIRST_IMAGES, 2 * scored)]
            rows = records.read(record, numbers=numbers)
            for row in track(rows, len(numbers), "scoring 8 bits and the checkpoint"):
                theirs = expected(row)
                checkpoint = count_image(dataset, row.label, theirs)
                for file, samples in files.values():
                    ours = file.label_maps(row.image[None], mode)[mode.name][0]
                    counts = count_image(dataset, row.label, ours)
                    samples.append((counts, checkpoint, (ours == theirs).sum(), ours.size))
            scored += len(numbers)
            drops = {name: _drop(dataset, samples) for name, (_, samples) in files.items()}
            if scored == len(order) or all(drop.is_certain for drop in drops.values()):
                return EightBits(drops)


def _drop(dataset: DatasetDescriptor, samples: list[tuple[Any, ...]]) -> AccuracyDrop:
    """samples: of each image (C, C + 1) pixels of the file and of the checkpoint, equal labels, and all labels."""
    counts, checkpoint, equal, pixels = map(np.array, zip(*samples, strict=True))
    ours, theirs = (Confusion(dataset, c.sum(axis=0)).mean_iou() for c in (counts, checkpoint))
    lost = None
    if ours is not None and len(samples) > 1:
        drawn, drawn_checkpoint = bootstrap([counts, checkpoint])
        low, high = interval(100 * (drawn_checkpoint - drawn))
        lost = round(low, 4), round(high, 4)
    return AccuracyDrop(len(samples), ours, theirs, float(equal.sum() / pixels.sum()), lost)
