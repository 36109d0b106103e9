"""From raw frames to a MindRecord file, its index and its manifest."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from adl import workspace
from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.dataset.records import SCHEMA
from adl.files import full_disk_reported, scratch_folder, write_json
from adl.parallel.pool import map_ahead
from adl.prepare import DataError, png

_ROWS_PER_WRITE = 16


class Converted(NamedTuple):
    """row: as the schema has it. pixels: (256,) by label id. size: (height, width)."""

    row: dict[str, Any]
    pixels: np.ndarray
    size: tuple[int, int]


class Contents:
    """What has been written so far. pixels: by label id. sha: of every part of every row."""

    def __init__(self) -> None:
        self.images = 0
        self.pixels = np.zeros(256, np.int64)
        self.sizes: set[tuple[int, int]] = set()
        self.sha = hashlib.sha256()

    def add(self, converted: Converted) -> None:
        self.images += 1
        self.pixels += converted.pixels
        self.sizes.add(converted.size)
        row = converted.row
        for part in (row["file_name"].encode(), row["image"], row["label"]):
            self.sha.update(hashlib.sha256(part).digest())

    def manifest(self, dataset: DatasetDescriptor) -> dict[str, Any]:
        pixels = {}
        for label in dataset.classes:
            pixels[label.name] = int(self.pixels[list(label.label_ids)].sum())
        return {
            "dataset": dataset.name,
            "images": self.images,
            "classes": list(dataset.class_names),
            "sizes": [f"{width}x{height}" for height, width in sorted(self.sizes)],
            "digest": self.sha.hexdigest(),
            "pixels": pixels,
            "pixels_ignored": int(self.pixels.sum()) - sum(pixels.values()),
        }


def convert(
    frames: list[Frame],
    record: Path,
    dataset: DatasetDescriptor,
    *,
    workers: int,
    drawn: bool = False,
) -> dict[str, Any]:
    """Convert frames, in their order, to one MindRecord file, its index and its manifest; returns the manifest.

    drawn: the frames are the embedded scenes, which the manifest says.
    An image's bytes are passed through unchanged; a label becomes train ids, 255 where ignored. All three files
    appear when the record is complete. Raises DataError at the first bad frame.
    """
    from mindspore.mindrecord import FileReader, FileWriter

    contents = Contents()
    # FileWriter cannot be renamed afterwards, so it writes under the final name in a folder of its own.
    with scratch_folder(record) as folder, full_disk_reported(record):
        target = folder / record.name
        writer = FileWriter(str(target), shard_num=1, overwrite=True)
        writer.add_schema(SCHEMA, f"{dataset.title}: raw image PNG, train-id label PNG")
        # Threads are enough: reading, checksums and OpenCV all release the interpreter's lock.
        converting = map_ahead(
            lambda frame: _convert(frame, dataset), frames, threads=workers, ahead=4 * workers
        )
        rows = track(converting, len(frames), f"converting {record.stem}")
        while batch := list(itertools.islice(rows, _ROWS_PER_WRITE)):
            writer.write_raw_data([converted.row for converted in batch])
            for converted in batch:
                contents.add(converted)
        writer.commit()
        labels = frames[0].label.parent.parent
        ids = np.flatnonzero(contents.pixels).tolist()
        problems = png.encoding_problems(labels, ids, len(frames), dataset)
        if problems:
            raise DataError(*problems)
        reader = FileReader(str(target))
        stored = reader.len()
        reader.close()
        if stored != len(frames):
            raise RuntimeError(f"{record}: {stored} rows were stored of {len(frames)}")
        manifest = contents.manifest(dataset) | {"drawn": drawn}
        write_json(workspace.manifest(target), manifest)
        for path in sorted(folder.iterdir()):
            path.replace(record.parent / path.name)
    return manifest


def _convert(frame: Frame, dataset: DatasetDescriptor) -> Converted:
    image, ids = png.read_frame(frame, dataset)
    pixels = cv2.calcHist([ids], [0], None, [256], [0, 256])[:, 0].astype(np.int64)
    label = cv2.imencode(".png", cv2.LUT(ids, dataset.train_ids))[1].tobytes()
    row = {"file_name": frame.name, "image": image, "label": label}
    return Converted(row, pixels, size=(ids.shape[0], ids.shape[1]))
