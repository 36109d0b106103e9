"""Fitting and scoring the predictors without a network on whole records, in several processes."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adl.console.progress import track
from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.records import Row
from adl.metrics.baselines import Baselines, Scores, Tally
from adl.metrics.confusion import count_image
from adl.parallel.pool import process_pool

MOST_PROCESSES = 16
"""Each reads the whole record for its share of the images, and holds 160 MB of counts at the size of Cityscapes."""


def score(train: Path, val: Path, dataset: DatasetDescriptor, *, processes: int) -> Scores:
    """Fit the baselines on one record and count them on another.

    The result does not depend on the number of processes, of which there are at most MOST_PROCESSES.
    """
    processes = min(processes, MOST_PROCESSES)
    parts = range(processes)
    tally = Tally(len(dataset.classes))
    with process_pool(processes) as pool:
        for of_part in pool.map(functools.partial(_tally, train, dataset, processes), parts):
            tally.merge(of_part)
        count = functools.partial(_count, Baselines(tally), val, dataset, processes)
        return Scores.of_images(collections.ChainMap(*pool.map(count, parts)))


def _tally(record: Path, dataset: DatasetDescriptor, parts: int, part: int) -> Tally:
    tally = Tally(len(dataset.classes))
    for row in _rows(record, dataset, part, parts, "fitting the baselines"):
        tally.add(row.image, row.label)
    return tally


def _count(
    fitted: Baselines, record: Path, dataset: DatasetDescriptor, parts: int, part: int
) -> dict[str, dict[str, np.ndarray]]:
    counted = {}
    for row in _rows(record, dataset, part, parts, "scoring the baselines"):
        counted[row.name] = {
            baseline: count_image(dataset, row.label, predicted)
            for baseline, predicted in fitted.predict(row.image).items()
        }
    return counted


def _rows(record: Path, dataset: DatasetDescriptor, part: int, parts: int, what: str) -> Iterator[Row]:
    """One part of a record's images; the first reports progress."""
    rows = records.read(record, part=part, parts=parts)
    if part > 0:
        return rows
    images = records.read_manifest(record, dataset)["images"]
    return track(rows, len(range(0, images, parts)), what)
