"""What is counted and timed while images are predicted."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class ImageResult(NamedTuple):
    """One image. counts: mode → (C, C + 1) pixels (`Confusion.counts`).

    seconds: all in all; network_seconds: from the image on the host to the label maps on the host; NaN if a graph was
    compiled for it.
    """

    name: str
    counts: dict[str, np.ndarray]
    seconds: float
    network_seconds: float


def save(results: list[ImageResult], path: Path) -> None:
    """For the process that started this one, which reads it and deletes it."""
    path.write_bytes(pickle.dumps(results))


def load(path: Path) -> list[ImageResult]:
    return pickle.loads(path.read_bytes())


@dataclasses.dataclass
class Counts:
    """The results of some images, each field in the order of the names. counts: mode → (images, C, C + 1) pixels."""

    names: list[str]
    counts: dict[str, np.ndarray]
    seconds: list[float]
    network_seconds: list[float]

    @classmethod
    def of_images(cls, results: Iterable[ImageResult]) -> Counts:
        """All images, sorted by name. Raises ValueError if there are none."""
        ordered = sorted(results, key=lambda result: result.name)
        names, counts, seconds, network_seconds = zip(*ordered, strict=True)
        by_mode = {mode: np.array([of_image[mode] for of_image in counts]) for mode in counts[0]}
        return cls(list(names), by_mode, list(seconds), list(network_seconds))

    def milliseconds(self) -> dict[str, float | None]:
        """The usual image's time in one process, without those that waited for a compilation."""
        return {
            "ms_per_image": _usual(self.seconds),
            "network_ms_per_image": _usual(self.network_seconds),
        }


def _usual(seconds: list[float]) -> float | None:
    if np.isnan(seconds).all():
        return None
    return round(1000 * float(np.nanmedian(seconds)), 1)
