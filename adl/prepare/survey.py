"""What the folders of a data set hold: what conversion follows from, and what need not be checked again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import code_digest, digest, read_json, write_json
from adl.parallel.pool import map_ahead
from adl.prepare.check import check_dataset
from adl.prepare.layout import Split

CODE = Path(__file__).parent


class Survey(NamedTuple):
    """A sound data set. table, notes: for people. bytes: of its frames. val_sizes: (width, height) of val."""

    table: str
    notes: list[str]
    bytes: int
    val_sizes: list[tuple[int, int]]


def surveyed(root: Path, dataset: DatasetDescriptor, *, crop_size: int, memory: Path) -> Survey:
    """Check a data set as `check_dataset` does, unless memory, a file, says that this very one was sound.

    Raises DataError if anything is wrong.
    """
    seen = _fingerprint(root, dataset, crop_size)
    known = read_json(memory) if memory.exists() else {}
    if known.pop("fingerprint", None) != seen:
        found = check_dataset(root, dataset, crop_size=crop_size).passed()
        known = {
            "table": found.table(),
            "notes": found.notes,
            "bytes": sum(split.bytes for split in found.splits.values()),
            "val_sizes": sorted(found.splits["val"].sizes),
        }
        write_json(memory, {"fingerprint": seen, **known})
    sizes = [(width, height) for width, height in known["val_sizes"]]
    return Survey(known["table"], known["notes"], known["bytes"], sizes)


def _fingerprint(root: Path, dataset: DatasetDescriptor, crop_size: int) -> str:
    """Equal as long as no file has another name, size or time, and nothing else is looked for in them."""
    sha = hashlib.sha256(repr([root, dataset.to_json(), crop_size, code_digest([CODE], root=CODE)]).encode())
    for name in dataset.labelled_splits:
        split = Split(root, name, dataset)
        sha.update(repr([name, split.problems, split.hidden]).encode())
        for path in (*split.images.values(), *split.labels.values()):
            sha.update(f"\n{path}\0".encode(errors="surrogateescape"))
            with contextlib.suppress(OSError):  # which the check reports, so that it is not remembered
                status = path.stat()
                sha.update(f"{status.st_size}\0{status.st_mtime_ns}".encode())
    return sha.hexdigest()


def listing(root: Path, split: str, dataset: DatasetDescriptor) -> Mapping[str, Any]:
    """All that the conversion of a split follows from: the files with their digests, and what their values mean.

    Raises DataError if a file is missing or cannot be read.
    """
    found = Split(root, split, dataset).passed()
    # One file may hold the labels of all frames.
    paths = list(dict.fromkeys(path for frame in found.frames for path in (frame.image, frame.label)))
    digesting = track(map_ahead(digest, paths, threads=8), len(paths), f"listing {split}")
    digests = dict(zip(paths, digesting, strict=True))
    for_people = {"colour", "category"}
    meaning = dataset.model_dump(
        mode="json",
        include={"name", "images", "labels", "unlisted", "normalise", "classes", "ignored"},
        exclude={
            "images": {"source"},
            "labels": {"source"},
            "classes": {"__all__": for_people},
            "ignored": {"__all__": for_people},
        },
    )
    return {
        "meaning": meaning,
        "frames": {
            frame.name: {str(path.relative_to(root)): digests[path] for path in (frame.image, frame.label)}
            for frame in found.frames
        },
    }
