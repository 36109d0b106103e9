"""From raw frames to a MindRecord file, its index and its manifest."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mindspore.mindrecord import FileReader, FileWriter

from adl.artifacts import scratch_folder, telling_full_disk, write_json
from adl.cityscapes import CLASS_NAMES, CLASSES, TRAIN_ID, Frame, files
from adl.cityscapes.faults import DataError
from adl.progress import track
from adl.records import SCHEMA, manifest_path

_ROWS_A_WRITE = 16


def write(frames: list[Frame], record: Path, *, workers: int) -> dict[str, Any]:
    """Convert frames, in their order, to one MindRecord file, its index and its manifest; returns the manifest.

    An image's bytes are passed through unchanged; a label becomes train ids, 255 where ignored. All three files
    appear when the record is complete. Raises DataError at the first bad frame.
    """
    pixels = np.zeros(256, np.int64)
    sizes: set[tuple[int, int]] = set()
    sha = hashlib.sha256()
    # FileWriter cannot be renamed afterwards, so it writes under the final name in a folder of its own.
    with scratch_folder(record) as folder, telling_full_disk(record):
        writer = FileWriter(str(folder / record.name), shard_num=1, overwrite=True)
        writer.add_schema(SCHEMA, "Cityscapes: raw image PNG, train-id label PNG")
        rows = track(_converted(frames, workers), len(frames), f"converting {record.stem}")
        while batch := list(itertools.islice(rows, _ROWS_A_WRITE)):
            writer.write_raw_data([row for row, _, _ in batch])
            for row, counts, size in batch:
                pixels += counts
                sizes.add(size)
                for part in (row["file_name"].encode(), row["image"], row["label"]):
                    sha.update(hashlib.sha256(part).digest())
        writer.commit()
        if fault := files.encoding_fault(frames[0].label.parent.parent, np.flatnonzero(pixels).tolist(), len(frames)):
            raise DataError([fault])
        reader = FileReader(str(folder / record.name))
        stored = reader.len()
        reader.close()
        if stored != len(frames):
            raise RuntimeError(f"{record}: {stored} rows were stored of {len(frames)}")
        of_class = pixels[[label.id for label in CLASSES]].tolist()
        manifest = {
            "images": len(frames),
            "classes": len(CLASS_NAMES),
            "sizes": [f"{width}x{height}" for height, width in sorted(sizes)],
            "digest": sha.hexdigest(),
            "pixels": dict(zip(CLASS_NAMES, of_class, strict=True)),
            "pixels_ignored": int(pixels.sum()) - sum(of_class),
        }
        write_json(manifest_path(folder / record.name), manifest)
        for path in sorted(folder.iterdir()):
            path.replace(record.parent / path.name)
    return manifest


def _converted(frames: list[Frame], workers: int) -> Iterator[tuple[dict[str, Any], np.ndarray, tuple[int, int]]]:
    """Rows in order. Threads are enough: reading, checksums and OpenCV all release the interpreter's lock."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        waiting: list[concurrent.futures.Future] = []
        remaining = iter(frames)
        try:
            while True:
                waiting += [pool.submit(_convert, f) for f in itertools.islice(remaining, 4 * workers - len(waiting))]
                if not waiting:
                    return
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)


def _convert(frame: Frame) -> tuple[dict[str, Any], np.ndarray, tuple[int, int]]:
    """One row, its pixels by label id (256,), and its (height, width)."""
    image, ids = files.read_frame(frame)
    counts = cv2.calcHist([ids], [0], None, [256], [0, 256])[:, 0].astype(np.int64)
    encoded = cv2.imencode(".png", cv2.LUT(ids, TRAIN_ID))[1].tobytes()
    return {"file_name": frame.name, "image": image, "label": encoded}, counts, (ids.shape[0], ids.shape[1])
