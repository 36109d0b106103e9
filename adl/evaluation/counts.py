"""What the processes of an evaluation are given, and what they give back: pickled, so no module that is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adl.architecture import Architecture
from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.evaluation.inference import Mode


class EvaluationJob(NamedTuple):
    """What every process of an evaluation needs to know.

    model: a checkpoint, or an exported file. architecture: of a checkpoint; None for an exported file. dataset: what
    it was trained on. limit: the first so many images; None: all.
    """

    model: Path
    architecture: Architecture | None
    dataset: DatasetDescriptor
    record: Path
    device_target: str
    mode: Mode
    limit: int | None
    batch_size: int

    @property
    def images(self) -> int:
        in_record = records.read_manifest(self.record, self.dataset)["images"]
        return min(self.limit or in_record, in_record)

    @property
    def sizes(self) -> int:
        """How many sizes the images of the record have."""
        return len(records.read_manifest(self.record, self.dataset)["sizes"])


@dataclasses.dataclass
class ImageResult:
    """One image. counts: mode → (C, C + 1) pixels (`Confusion.counts`).

    seconds: all in all; network_seconds: from the image on the host to the label maps on the host; None if a graph was
    compiled for it.
    """

    name: str
    counts: dict[str, np.ndarray]
    seconds: float | None = None
    network_seconds: float | None = None
