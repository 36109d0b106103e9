"""From raw frames to a MindRecord file, its index and its manifest."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adl import workspace
from adl.console.progress import track
from adl.dataset.descriptor import IGNORE, DatasetDescriptor, Frame
from adl.dataset.records import SCHEMA
from adl.files import full_disk_reported, scratch_folder, write_json
from adl.parallel.pool import map_ahead
from adl.prepare import labels
from adl.prepare.labels import Label, LabelFiles


def convert(
    frames: list[Frame], record: Path, dataset: DatasetDescriptor, *, workers: int, drawn: bool = False
) -> dict[str, Any]:
    """Convert frames, in their order, to one MindRecord file, its index and its manifest; returns the manifest.

    drawn: the frames are the embedded scenes, which the manifest says.
    An image's bytes are passed through unchanged; a label becomes train ids, 255 where ignored. All three files
    appear when the record is complete. Raises DataError at the first bad frame.
    """
    from mindspore.mindrecord import FileReader, FileWriter

    files = LabelFiles(frames, dataset)
    pixels, numbers = np.zeros((2, 256), np.int64)
    sizes = set()
    sha = hashlib.sha256()
    # FileWriter cannot be renamed afterwards, so it writes under the final name in a folder of its own.
    with scratch_folder(record) as folder, full_disk_reported(record):
        target = folder / record.name
        writer = FileWriter(str(target), shard_num=1, overwrite=True)
        writer.add_schema(SCHEMA, f"{dataset.title}: raw image, train-id label PNG")
        # Threads are enough: reading, checksums and OpenCV all release the interpreter's lock.
        converting = track(
            map_ahead(lambda frame: _convert(frame, files), frames, threads=workers),
            len(frames),
            f"converting {record.stem}",
        )
        while batch := list(itertools.islice(converting, 16)):
            writer.write_raw_data([row for row, _ in batch])
            for row, label in batch:
                pixels += label.pixels
                numbers += label.numbers
                sizes.add(label.train_ids.shape)
                for part in (row["file_name"].encode(), row["image"], row["label"]):
                    sha.update(hashlib.sha256(part).digest())
        writer.commit()
        labels.check_encoding(frames[0].label.parent.parent, numbers, len(frames), dataset)
        reader = FileReader(str(target))
        stored = reader.len()
        reader.close()
        if stored != len(frames):
            raise RuntimeError(f"{record}: {stored} rows were stored of {len(frames)}")
        counts = pixels.tolist()
        manifest = {
            "dataset": dataset.name,
            "images": stored,
            "classes": list(dataset.class_names),
            # It changes no record, but what a network that is trained on it sees.
            "normalise": dataset.normalise.model_dump(mode="json"),
            "sizes": [f"{width}x{height}" for height, width in sorted(sizes)],
            "digest": sha.hexdigest(),
            "pixels": dict(zip(dataset.class_names, counts, strict=False)),
            "pixels_ignored": counts[IGNORE],
            "drawn": drawn,
        }
        write_json(workspace.manifest(target), manifest)
        for path in sorted(folder.iterdir()):
            path.replace(record.parent / path.name)
    return manifest


def _convert(frame: Frame, files: LabelFiles) -> tuple[dict[str, Any], Label]:
    """The row of a frame as the schema has it, and its label."""
    image, label = files.read_frame(frame)
    _, encoded = cv2.imencode(".png", label.train_ids)
    return {"file_name": frame.name, "image": image.content, "label": encoded.tobytes()}, label
