"""MindRecord files: the schema of 2021 (`image`, `label`: PNG bytes) plus the frame's name; and their manifests."""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mindspore.dataset as ds
import numpy as np
from mindspore.mindrecord import FileReader, FileWriter

from adl import cityscapes
from adl.artifacts import scratch_folder, write_json
from adl.cityscapes import CLASS_NAMES, TRAIN_ID, Frame
from adl.errors import AdlError
from adl.progress import track

SCHEMA = {"file_name": {"type": "string"}, "image": {"type": "bytes"}, "label": {"type": "bytes"}}
_ROWS_A_WRITE = 16


def record_path(folder: Path, split: str) -> Path:
    return folder / f"cityscapes_{split}.mindrecord"


def manifest_path(record: Path) -> Path:
    return record.with_suffix(".json")


def write(frames: list[Frame], record: Path, *, workers: int) -> dict[str, Any]:
    """Convert frames, in their order, to one MindRecord file, its index and its manifest; returns the manifest.

    An image's bytes are passed through unchanged; a label becomes train ids, 255 where ignored. All three files
    appear when the record is complete. Raises AdlError at the first bad frame.
    """
    pixels = np.zeros(256, np.int64)
    sizes: set[tuple[int, int]] = set()
    sha = hashlib.sha256()
    # FileWriter cannot be renamed afterwards, so it writes under the final name in a folder of its own.
    with scratch_folder(record) as folder:
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
        reader = FileReader(str(folder / record.name))
        stored = reader.len()
        reader.close()
        if stored != len(frames):
            raise RuntimeError(f"{record}: {stored} rows were stored of {len(frames)}")
        manifest = {
            "images": len(frames),
            "classes": len(CLASS_NAMES),
            "sizes": [f"{width}x{height}" for height, width in sorted(sizes)],
            "digest": sha.hexdigest(),
            "pixels": dict(zip(CLASS_NAMES, pixels[: len(CLASS_NAMES)].tolist(), strict=True)),
            "pixels_ignored": int(pixels[cityscapes.IGNORE]),
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
    """One row, its pixels by train id (256,), and its (height, width)."""
    image, ids = cityscapes.read_frame(frame)
    label = cv2.LUT(ids, TRAIN_ID)
    counts = cv2.calcHist([label], [0], None, [256], [0, 256])[:, 0].astype(np.int64)
    encoded = cv2.imencode(".png", label)[1].tobytes()
    return {"file_name": frame.name, "image": image, "label": encoded}, counts, (ids.shape[0], ids.shape[1])


def read_manifest(record: Path) -> dict[str, Any]:
    path = manifest_path(record)
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AdlError(f"{path}: cannot be read ({error}). `dvc repro mindrecord` makes it.") from None


def read(record: Path, *, limit: int | None = None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, image (H, W, 3) uint8 BGR, label (H, W) uint8 train ids) of the first `limit` rows, in their order."""
    rows = ds.MindDataset(str(record), columns_list=["file_name", "image", "label"], shuffle=False)
    if limit is not None:
        rows = rows.take(limit)
    for name, image, label in rows.create_tuple_iterator(num_epochs=1, output_numpy=True):
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
