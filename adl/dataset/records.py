"""MindRecord files: the schema of 2021 (`image`, `label`: PNG bytes) plus the frame's name; and their manifests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from adl import workspace
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import read_json

SCHEMA = {"file_name": {"type": "string"}, "image": {"type": "bytes"}, "label": {"type": "bytes"}}


class Row(NamedTuple):
    """One sample. name: of its frame. image: (H, W, 3) uint8 BGR. label: (H, W) uint8 train ids, 255 where ignored."""

    name: str
    image: np.ndarray
    label: np.ndarray


def read_manifest(record: Path, dataset: DatasetDescriptor) -> dict[str, Any]:
    """What a record holds: `images`, `classes` (names), `sizes`, `digest`, `pixels` per class, `pixels_ignored`.

    Raises AdlError if it cannot be read, or if the record is not of this data set.
    """
    path = workspace.manifest(record)
    try:
        manifest = read_json(path)
    except (OSError, ValueError) as error:
        raise AdlError(f"{path}: cannot be read ({error}). `dvc repro mindrecord` makes it.") from None
    if manifest.get("classes") != list(dataset.class_names):
        raise AdlError(f"{path}: its classes are not those of {dataset.title}. `dvc repro mindrecord` makes it again.")
    return manifest


def evenly(rows: int) -> list[int]:
    """The numbers of all rows, in such an order that the first ones, however many, are spread over the record.

    Rows that follow one another are frames of one drive: the first hundred of Cityscapes are one city.
    """
    return sorted(range(rows), key=lambda number: f"{number:0{rows.bit_length()}b}"[::-1])


def read(
    record: Path,
    *,
    limit: int | None = None,
    numbers: Sequence[int] | None = None,
    part: int = 0,
    parts: int = 1,
) -> Iterator[Row]:
    """The first `limit` rows in their order; of these, one part of several, which together hold each row once.

    numbers: those of the rows to read, in this order; None: of all.
    """
    import mindspore.dataset as ds

    sampler = ds.SequentialSampler() if numbers is None else ds.SubsetSampler(list(numbers))
    rows = ds.MindDataset(str(record), columns_list=[*SCHEMA], sampler=sampler)
    if limit is not None:
        rows = rows.take(limit)
    tuples = rows.create_tuple_iterator(num_epochs=1, output_numpy=True)
    for name, image, label in itertools.islice(tuples, part, None, parts):
        yield Row(str(name), decode_image(image), decode_label(label))


def decode_image(content: np.ndarray) -> np.ndarray:
    """PNG bytes → (H, W, 3) uint8 BGR."""
    return _decoded(content, cv2.IMREAD_COLOR)


def decode_label(content: np.ndarray) -> np.ndarray:
    """PNG bytes → (H, W) uint8 train ids."""
    return _decoded(content, cv2.IMREAD_UNCHANGED)


def _decoded(content: np.ndarray, mode: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), mode)
    if image is None:
        raise AdlError("a record holds a PNG whose pixels cannot be decoded: convert the data again (mindrecord).")
    return image
