"""Small real data for tests."""

from __future__ import annotations

import contextlib
import json
import resource
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

from adl import synthetic
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.prepare import layout
from adl.prepare.convert import convert

CITYSCAPES = descriptor.shipped("cityscapes").model_copy(update={"expect": {}})
"""Any number of images will do."""


def described(dataset: DatasetDescriptor, folder: Path) -> Path:
    """The file of a data set, in a folder."""
    path = folder / f"{dataset.name}.yaml"
    path.write_text(json.dumps(dataset.to_json()))
    return path


def write_frame(root: Path, split: str, city: str, name: str, shape=(8, 16)) -> tuple[Path, Path]:
    """An image of noise and a label of ids 0-33; returns both paths."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    image = CITYSCAPES.images.path(root, split, city, name)
    label = CITYSCAPES.labels.path(root, split, city, name)
    for path, content in (
        (image, rng.integers(0, 256, (*shape, 3), dtype=np.uint8)),
        (label, rng.integers(0, 34, shape, dtype=np.uint8)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), content)
    return image, label


def write_scenes(root: Path, *, height: int = 64, **images: int) -> Path:
    """A small tree of drawn scenes: write_scenes(root, train=4, val=2)."""
    # Threads: processes would take longer to start than to draw.
    with mock.patch.object(synthetic, "process_pool", ThreadPoolExecutor):
        synthetic.write(root, CITYSCAPES, images=images, height=height, seed=0, workers=2)
    return root


def write_record(root: Path, split: str, folder: Path, dataset: DatasetDescriptor = CITYSCAPES) -> Path:
    record = folder / f"{split}.mindrecord"
    convert(frames_of(root, split, dataset), record, dataset, workers=2)
    return record


def like_cityscapes(**changes: object) -> DatasetDescriptor:
    """Cityscapes but for these; a copy would keep the tables that were made already."""
    return DatasetDescriptor.model_validate(CITYSCAPES.to_json() | changes)


def write_dataset(path: Path, **changes: object) -> str:
    """The file of a data set that is Cityscapes but for these; returns its path, as the parameter dataset has it."""
    path.write_text(json.dumps(like_cityscapes(**changes).to_json()))
    return str(path)


def frames_of(root: Path, split: str, dataset: DatasetDescriptor = CITYSCAPES) -> list[Frame]:
    return layout.Split(root, split, dataset).passed().frames


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk, no file of this process can become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def huge_png() -> bytes:
    """A sound header of 60000×60000 pixels, more than OpenCV takes, and no pixels behind it."""
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0), b"IDAT", b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content
