"""Label maps in files, and which model gave them for which record."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import digest, read_json, read_png, write_json

_ABOUT = "about.json"


def describe(folder: Path, *, model: Path, record: Path, mode: str, dataset: DatasetDescriptor) -> None:
    """Write into a folder of label maps what they follow from. mode: an `inference.Mode` in words."""
    write_json(folder / _ABOUT, _origin(model, record, dataset) | {"mode": mode})


class LabelMaps(NamedTuple):
    """Label maps that `evaluate` wrote, in a mode."""

    folder: Path
    mode: str
    dataset: DatasetDescriptor

    @classmethod
    def of(cls, folder: Path, *, model: Path, record: Path, dataset: DatasetDescriptor) -> LabelMaps | None:
        """Those of a folder; None if there are none of this model and this record."""
        about = read_json(folder / _ABOUT) if (folder / _ABOUT).exists() else {}
        mode = about.pop("mode", None)
        return cls(folder, mode, dataset) if about == _origin(model, record, dataset) else None

    def read(self, name: str) -> np.ndarray | None:
        """(H, W) uint8 train ids; None for a frame that was not evaluated."""
        path = self.dataset.prediction_path(self.folder, name)
        return self.dataset.train_ids[read_png(path)] if path.exists() else None


def _origin(model: Path, record: Path, dataset: DatasetDescriptor) -> dict[str, str]:
    return {
        "model_digest": digest(model),
        "record_digest": records.read_manifest(record, dataset)["digest"],
    }
