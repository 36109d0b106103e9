"""Three predictors without a network: what a score must be compared with. They depend on the records only."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adl import records, runtime
from adl.artifacts import percent, replacing
from adl.cityscapes import CLASSES
from adl.errors import AdlError
from adl.progress import track
from adl.runtime import World
from adl.scoring import Confusion, count_image

MOST_PROCESSES = 16
"""Each reads the whole record for its share of the images, and holds 160 MB of counts at the size of Cityscapes."""
_CLASSES = len(CLASSES)
_BITS = 5  # of each colour channel

Row = tuple[str, np.ndarray, np.ndarray]
"""(name, image (H, W, 3) uint8 BGR, label (H, W) uint8 train ids)."""


class Tally:
    """How often each class occurs with each colour, and at each position of images of one size.

    by_colour: (19, colours) int64. by_position: (height, width) → (19, height, width) uint32: two bytes would not hold
    the count of 65,536 images.
    """

    def __init__(self) -> None:
        self.by_colour = np.zeros((_CLASSES, 2 ** (3 * _BITS)), np.int64)
        self.by_position: dict[tuple[int, ...], np.ndarray] = {}

    def add(self, image: np.ndarray, label: np.ndarray) -> None:
        """image: (H, W, 3) uint8 BGR; label: (H, W) uint8 train ids."""
        # One bin more, for all that is no class.
        bins = (_CLASSES + 1) * 2 ** (3 * _BITS)
        pairs = np.minimum(label, _CLASSES).astype(np.int32) << (3 * _BITS) | _colour(image)
        counts = np.bincount(pairs.ravel(), minlength=bins).reshape(_CLASSES + 1, -1)
        self.by_colour += counts[:_CLASSES]
        if label.shape not in self.by_position:
            self.by_position[label.shape] = np.zeros((_CLASSES, *label.shape), np.uint32)
        for train_id, plane in enumerate(self.by_position[label.shape]):
            np.add(plane, 1, out=plane, where=label == train_id)

    def merge(self, other: Tally) -> None:
        self.by_colour += other.by_colour
        for shape, counts in other.by_position.items():
            if shape in self.by_position:
                self.by_position[shape] += counts
            else:
                self.by_position[shape] = counts


class Baselines:
    """Constant class, colour look-up and position prior, each the majority of what was counted."""

    def __init__(self, tally: Tally) -> None:
        self.constant = int(tally.by_colour.sum(axis=1).argmax())
        self.of_colour = _majority(tally.by_colour, self.constant)
        self.of_position = {shape: _majority(counts, self.constant) for shape, counts in tally.by_position.items()}

    def predict(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Baseline → (H, W) uint8 train ids; the position prior only for an image size that was trained on."""
        predictions = {
            "constant": np.full(image.shape[:2], self.constant, np.uint8),
            "colour": self.of_colour[_colour(image)],
        }
        if image.shape[:2] in self.of_position:
            predictions["position"] = self.of_position[image.shape[:2]]
        return predictions


@dataclasses.dataclass
class Scores:
    """What was counted on each image of a record. matrices: baseline → (images, 34, 34) pixels, truth × prediction.

    The matrix of an image that a baseline does not predict is zero.
    """

    names: list[str]
    matrices: dict[str, np.ndarray]

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            np.savez_compressed(temporary, names=self.names, **self.matrices)

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Raises AdlError where there are none."""
        try:
            with np.load(path) as file:
                stored = {name: file[name] for name in file.files}
            return cls(stored.pop("names").tolist(), stored)
        except Exception as error:  # a damaged file raises whatever its parser meets
            raise AdlError(f"{path}: cannot be read ({error}). `dvc repro baselines` makes it.") from None

    def metrics(self) -> dict[str, Any]:
        confusions = self.of(self.names)
        return {"images": len(self.names), "mIOU": {name: percent(c.mean_iou()) for name, c in confusions.items()}}

    def of(self, names: Sequence[str]) -> dict[str, Confusion]:
        """Baseline → its counts over these images, if it has a score there. Raises AdlError where one is unknown."""
        places = {name: place for place, name in enumerate(self.names)}
        if unknown := [name for name in names if name not in places]:
            raise AdlError(
                f"the baselines were not scored on {unknown[0]}: they are of other data. `dvc repro baselines` makes "
                "them anew."
            )
        chosen = [places[name] for name in names]
        confusions = {name: Confusion(matrices[chosen].sum(axis=0)) for name, matrices in self.matrices.items()}
        return {name: confusion for name, confusion in confusions.items() if confusion.mean_iou() is not None}


def score(train: Path, val: Path, *, processes: int) -> Scores:
    """Fit the baselines on one record and count them on another; the images are sorted by name.

    The result does not depend on the number of processes, of which there are at most MOST_PROCESSES.
    """
    processes = min(processes, MOST_PROCESSES)
    shares = [World(rank, processes) for rank in range(processes)]
    tally = Tally()
    # Spawned, because a forked child inherits the locks of OpenCV and MindSpore.
    with concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _prepare_worker, (os.getpid(),)
    ) as pool:
        for part in pool.map(_tally, itertools.repeat(train), shares):
            tally.merge(part)
        fitted = Baselines(tally)
        parts = pool.map(_count, itertools.repeat(fitted), itertools.repeat(val), shares)
        return _scores([pair for part in parts for pair in part])


def _prepare_worker(parent: int) -> None:
    runtime.die_with_parent(parent)
    cv2.setNumThreads(1)


def _tally(record: Path, share: World) -> Tally:
    tally = Tally()
    for _, image, label in _rows(record, share, "fitting the baselines"):
        tally.add(image, label)
    return tally


def _count(fitted: Baselines, record: Path, share: World) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(name, baseline → (34, 34) counts) of this share of a record's images."""
    return [
        (name, {kind: count_image(label, predicted) for kind, predicted in fitted.predict(image).items()})
        for name, image, label in _rows(record, share, "scoring the baselines")
    ]


def _rows(record: Path, share: World, what: str) -> Iterator[Row]:
    """This share of a record's images; the first process tells how far it is."""
    rows = records.read(record, world=share)
    if share.rank:
        return rows
    return track(rows, len(range(0, records.read_manifest(record)["images"], share.size)), what)


def _scores(counted: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> Scores:
    counted = sorted(counted, key=lambda pair: pair[0])
    kinds = dict.fromkeys(kind for _, of_image in counted for kind in of_image)
    nothing = np.zeros_like(Confusion().matrix, np.uint32)
    matrices = {kind: np.array([of_image.get(kind, nothing) for _, of_image in counted]) for kind in kinds}
    return Scores([name for name, _ in counted], matrices)


def _colour(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 → (H, W) uint16 number of the quantised colour."""
    blue, green, red = (image[..., channel].astype(np.uint16) >> (8 - _BITS) for channel in range(3))
    return blue << (2 * _BITS) | green << _BITS | red


def _majority(counts: np.ndarray, otherwise: int) -> np.ndarray:
    """Class with the largest count on the first axis; `otherwise` where nothing was counted."""
    return np.where(counts.any(axis=0), counts.argmax(axis=0), otherwise).astype(np.uint8)
