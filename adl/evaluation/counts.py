"""What is counted and timed while images are predicted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from adl.artifacts import replacing


class ImageResult(NamedTuple):
    """One image. counts: mode → (C, C + 1) pixels (`Confusion.counts`).

    seconds: all in all; network_seconds: from the image on the host to the label maps on the host; NaN if a graph was
    compiled for it.
    """

    name: str
    counts: dict[str, np.ndarray]
    seconds: float
    network_seconds: float


@dataclasses.dataclass
class Counts:
    """The results of some images, each field in the order of the names. counts: mode → (images, C, C + 1) pixels."""

    names: list[str]
    counts: dict[str, np.ndarray]
    seconds: list[float]
    network_seconds: list[float]

    @classmethod
    def of_images(cls, results: Iterable[ImageResult]) -> Counts:
        """All images, sorted by name."""
        ordered = sorted(results, key=lambda result: result.name)
        counts = {}
        for mode in ordered[0].counts if ordered else ():
            counts[mode] = np.array([result.counts[mode] for result in ordered])
        return cls(
            names=[result.name for result in ordered],
            counts=counts,
            seconds=[result.seconds for result in ordered],
            network_seconds=[result.network_seconds for result in ordered],
        )

    @classmethod
    def merged(cls, parts: Iterable[Counts]) -> Counts:
        """All images, sorted by name."""
        results: list[ImageResult] = []
        for part in parts:
            results += part.images()
        return cls.of_images(results)

    def images(self) -> list[ImageResult]:
        results = []
        for i, name in enumerate(self.names):
            counts = {mode: of_mode[i] for mode, of_mode in self.counts.items()}
            results.append(ImageResult(name, counts, self.seconds[i], self.network_seconds[i]))
        return results

    def save(self, path: Path) -> None:
        times = {"seconds": self.seconds, "network_seconds": self.network_seconds}
        with replacing(path) as temporary:
            np.savez_compressed(temporary, names=self.names, **times, **self.counts)

    @classmethod
    def load(cls, path: Path) -> Counts:
        with np.load(path) as file:
            stored = {name: file[name] for name in file.files}
        fields: dict[str, Any] = {
            name: stored.pop(name).tolist() for name in ("names", "seconds", "network_seconds")
        }
        return cls(counts=stored, **fields)

    def milliseconds(self) -> dict[str, float | None]:
        """The usual image's time in one process, without those that waited for a compilation."""
        return {
            "ms_per_image": _usual(self.seconds),
            "network_ms_per_image": _usual(self.network_seconds),
        }


def _usual(seconds: list[float]) -> float | None:
    known = [value for value in seconds if not math.isnan(value)]
    return round(1000 * float(np.median(known)), 1) if known else None
