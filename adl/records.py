"""MindRecord files: the schema of 2021 (`image`, `label`: PNG bytes) plus the frame's name; and their manifests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adl.errors import AdlError
from adl.runtime import ALONE, World

SCHEMA = {"file_name": {"type": "string"}, "image": {"type": "bytes"}, "label": {"type": "bytes"}}


def record_path(folder: Path, split: str) -> Path:
    return folder / f"cityscapes_{split}.mindrecord"


def manifest_path(record: Path) -> Path:
    return record.with_suffix(".json")


def read_manifest(record: Path) -> dict[str, Any]:
    path = manifest_path(record)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdlError(f"{path}: cannot be read ({error}). `dvc repro mindrecord` makes it.") from None


def read(
    record: Path, *, limit: int | None = None, world: World = ALONE
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, image (H, W, 3) uint8 BGR, label (H, W) uint8 train ids) of the first `limit` rows, in their order.

    Of several ranks each gets its own, and all together each row once.
    """
    import mindspore.dataset as ds

    rows = ds.MindDataset(str(record), columns_list=["file_name", "image", "label"], shuffle=False)
    if limit is not None:
        rows = rows.take(limit)
    for name, image, label in itertools.islice(
        rows.create_tuple_iterator(num_epochs=1, output_numpy=True), world.rank, None, world.size
    ):
        yield str(name), decode_image(image), decode_label(label)


def decode_image(content: np.ndarray) -> np.ndarray:
    """PNG bytes → (H, W, 3) uint8 BGR."""
    return _decoded(content, cv2.IMREAD_COLOR)


def decode_label(content: np.ndarray) -> np.ndarray:
    """PNG bytes → (H, W) uint8 train ids."""
    return _decoded(content, cv2.IMREAD_UNCHANGED)


def _decoded(content: np.ndarray, mode: int) -> np.ndarray:
    # A bytes column arrives as a NumPy bytes scalar.
    image = cv2.imdecode(np.frombuffer(content.tobytes(), np.uint8), mode)
    if image is None:
        raise AdlError("a record holds a PNG whose pixels cannot be decoded: convert the data again (mindrecord).")
    return image
