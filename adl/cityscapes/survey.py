"""The whole data set: what is there, and everything that is wrong with it. Conversion and `adl check-data` share it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tabulate import tabulate

from adl.cityscapes import IMAGES, LABELLED, SPLITS, Frame, files, layout
from adl.cityscapes.faults import DataError, Fault
from adl.cityscapes.files import Header
from adl.progress import track

SAMPLED_LABELS = 24
"""Label files a split that a shallow check decodes: a wrong encoding is in all of them."""
_THREADS = 8  # reading waits for the disk; decoding releases the interpreter's lock

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass
class Split:
    """What was found of one split. sizes: (width, height) → images."""

    name: str
    frames: list[Frame]
    images: int
    labels: int | None
    sizes: Counter[tuple[int, int]]
    bytes: int

    @property
    def cities(self) -> int:
        return len({frame.city for frame in self.frames})

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of most images."""
        return self.sizes.most_common(1)[0][0]


@dataclasses.dataclass
class Survey:
    """decoded: label files whose pixels were looked at."""

    root: Path
    splits: dict[str, Split]
    faults: list[Fault]
    decoded: int

    def checked(self) -> Survey:
        """Raises DataError where anything is wrong."""
        if self.faults:
            raise DataError(self.faults)
        return self

    def table(self) -> str:
        rows = [
            (
                split.name,
                split.cities,
                split.images,
                "withheld" if split.labels is None else split.labels,
                "–" if split.labels is None else len(split.frames),
                ", ".join(f"{width}×{height}" for width, height in sorted(split.sizes)) or "–",
                _bytes(split.bytes),
            )
            for split in self.splits.values()
        ]
        headers = ("split", "cities", "images", "labels", "pairs", "size", "bytes")
        return tabulate(rows, headers=headers, colalign=("left", *["right"] * 6), disable_numparse=True)

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.root),
            "splits": {
                split.name: {
                    "cities": split.cities,
                    "images": split.images,
                    "labels": split.labels,
                    "pairs": len(split.frames) if split.labels is not None else None,
                    "sizes": {f"{width}x{height}": n for (width, height), n in sorted(split.sizes.items())},
                    "bytes": split.bytes,
                }
                for split in self.splits.values()
            },
            "labels_decoded": self.decoded,
            "faults": [fault.to_json() for fault in self.faults],
        }


def survey(
    root: str | Path,
    splits: Iterable[str] = SPLITS,
    *,
    expected: Mapping[str, int | None] | None = None,
    deep: bool = False,
) -> Survey:
    """Look at every file of some splits.

    expected: split → number of images that it must have (None: any). Shallow: the layout, the first and last bytes of
    every file, identical images, and the pixels of some labels a split. deep: every byte and every pixel.
    """
    found = Survey(Path(root), {}, [], 0)
    headers: dict[Path, Header] = {}
    for name in splits:
        _survey_split(found, headers, name, (expected or {}).get(name), deep)
        if layout.missing_folders(found.root):
            break
    found.faults += _identical(headers)
    return found


def _survey_split(found: Survey, headers: dict[Path, Header], name: str, expected: int | None, deep: bool) -> None:
    """Add one split to what was found."""
    labelled = name != "test"
    frames, faults = layout.pairs(found.root, name) if labelled else layout.unlabelled(found.root, name)
    found.faults += faults
    of_split: dict[Path, Header] = {}
    good = []
    checks = _in_threads(lambda frame: _check_headers(frame, labelled=labelled), frames, f"checking {name}")
    for frame, result in zip(frames, checks, strict=True):
        if isinstance(result, DataError):
            found.faults += result.faults
        else:
            of_split |= result
            good.append(frame)
    sizes = Counter(of_split[frame.image].size for frame in good)
    found.faults += _other_sizes(good, of_split, sizes)
    headers |= {frame.image: of_split[frame.image] for frame in good}
    if labelled:
        _check_labels(found, name, good, deep)
    if deep:
        found.faults += [f for of_image in _in_threads(_image_faults, good, f"decoding {name}") for f in of_image]
    alone = Counter(fault.kind for fault in faults)
    images, labels = (len(frames) + alone[kind] for kind in ("image without label", "label without image"))
    if expected is not None and frames and images != expected:
        found.faults.append(_count(found.root, name, images, expected))
    size = sum(header.bytes for header in of_split.values())
    found.splits[name] = Split(name, frames, images, labels if labelled else None, sizes, size)


def _check_headers(frame: Frame, *, labelled: bool) -> dict[Path, Header] | DataError:
    try:
        image = files.header(frame.image, IMAGES)
        if not labelled:
            return {frame.image: image}
        label = files.header(frame.label, LABELLED)
        files.check_pair(frame, image.size, label.size)
    except DataError as error:
        return error
    return {frame.image: image, frame.label: label}


def _check_labels(found: Survey, name: str, frames: list[Frame], deep: bool) -> None:
    """Decode the labels of all frames, or of an even sample."""
    chosen = frames[:: 1 if deep else max(1, len(frames) // SAMPLED_LABELS)]
    ids: set[int] = set()
    for result in _in_threads(_label_ids, chosen, f"looking at labels of {name}"):
        if isinstance(result, DataError):
            found.faults += result.faults
        else:
            ids |= result
    found.decoded += len(chosen)
    fault = files.encoding_fault(found.root / LABELLED / name, ids, len(chosen))
    found.faults += [fault] if fault else []


def _label_ids(frame: Frame) -> set[int] | DataError:
    try:
        return set(np.unique(files.read_label(frame)).tolist())
    except DataError as error:
        return error


def _image_faults(frame: Frame) -> tuple[Fault, ...]:
    try:
        files.decode_image(frame.image.read_bytes(), frame.image)
    except DataError as error:
        return error.faults
    return ()


def _in_threads(check: Callable[[T], R], items: list[T], what: str) -> list[R]:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return list(track(pool.map(check, items), len(items), what))


def _other_sizes(frames: list[Frame], headers: dict[Path, Header], sizes: Counter[tuple[int, int]]) -> list[Fault]:
    if len(sizes) <= 1:
        return []
    usual = sizes.most_common(1)[0][0]
    return [
        Fault(
            "size of an image",
            frame.image,
            f"is {files.text(headers[frame.image].size)}, most of its split are {files.text(usual)}",
            "images of another source were added, or some were resized",
            "Give all images of a split one size: the exported file takes one",
        )
        for frame in frames
        if headers[frame.image].size != usual
    ]


def _count(root: Path, split: str, found: int, expected: int) -> Fault:
    return Fault(
        "number of images",
        root / IMAGES / split,
        f"the {split} split has {found} images, but expected_{split}_images is {expected}",
        "the zip was not unpacked to its end, or this is a part of the data set",
        f"Unpack the missing ones, or set expected_{split}_images to null to work with a part",
    )


def _identical(headers: dict[Path, Header]) -> list[Fault]:
    """Images that are copies of another one: in a second city, or in another split."""
    of_length: defaultdict[int, list[Path]] = defaultdict(list)
    for path, header in headers.items():
        of_length[header.bytes].append(path)
    first: dict[str, Path] = {}
    faults = []
    for path in (path for paths in of_length.values() if len(paths) > 1 for path in paths):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        original = first.setdefault(content, path)
        if original == path:
            continue
        leak = original.parent.parent != path.parent.parent
        faults.append(
            Fault(
                "frame in two splits" if leak else "duplicate frame",
                path,
                f"is the same image as {original}",
                "train and val share it, so the score would be too good" if leak else "it was copied or renamed",
                "Remove one of the two, with its label",
            )
        )
    return faults


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
