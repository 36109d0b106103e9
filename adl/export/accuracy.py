"""What a file in 8 bits loses, with each instruction set that this processor has: each adds the products otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

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


@dataclasses.dataclass
class _Scores:
    """What a model was found to be on some images; a list has an item for each image."""

    dataset: DatasetDescriptor
    counts: list[np.ndarray] = dataclasses.field(default_factory=list)
    agreement: list[float] = dataclasses.field(default_factory=list)
    pixels: list[int] = dataclasses.field(default_factory=list)

    def add(self, row: Row, labels: np.ndarray, expected: np.ndarray) -> None:
        self.counts.append(count_image(self.dataset, row.label, labels))
        self.agreement.append(float((labels == expected).mean()))
        self.pixels.append(labels.size)

    def mean_iou(self) -> float | None:
        return Confusion(self.dataset, np.sum(self.counts, axis=0)).mean_iou()

    def drop_from(self, checkpoint: _Scores) -> AccuracyDrop:
        ours, theirs = self.mean_iou(), checkpoint.mean_iou()
        lost = None
        if ours is not None and len(self.counts) > 1:
            drawn, drawn_checkpoint = bootstrap(
                [np.array(self.counts), np.array(checkpoint.counts)]
            )
            low, high = interval(100 * (drawn_checkpoint - drawn))
            lost = round(low, 4), round(high, 4)
        agreement = float(np.average(self.agreement, weights=self.pixels))
        return AccuracyDrop(len(self.counts), ours, theirs, agreement, lost)


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
    checkpoint, start = _Scores(dataset), 0
    with contextlib.ExitStack() as stack:
        files = {
            name: Exported(
                stack.enter_context(runtimes.limited(path, name)),
                None,
                labels=labels,
                name=str(path),
            )
            for name in device.instruction_sets()
        }
        scores = {name: _Scores(dataset) for name in files}
        while True:
            numbers = order[start : max(FIRST_IMAGES, 2 * start)]
            rows = records.read(record, numbers=numbers)
            for row in track(rows, len(numbers), "scoring 8 bits and the checkpoint"):
                theirs = expected(row)
                checkpoint.add(row, theirs, theirs)
                for name, file in files.items():
                    ours = file.label_maps(row.image[None], mode)[mode.name][0]
                    scores[name].add(row, ours, theirs)
            start += len(numbers)
            drops = {name: one.drop_from(checkpoint) for name, one in scores.items()}
            if start == images or all(drop.is_certain for drop in drops.values()):
                return EightBits(drops)
