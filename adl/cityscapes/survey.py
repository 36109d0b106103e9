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

from adl.cityscapes import IMAGES, LABELLED, SPLIT_SIZES, SPLITS, Frame, files, layout
from adl.cityscapes.faults import ZIPS, DataError, Fault
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
    cities: int
    images: int
    labels: int | None
    sizes: Counter[tuple[int, int]]
    bytes: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of most images."""
        return self.sizes.most_common(1)[0][0]


@dataclasses.dataclass
class Survey:
    """decoded: label files whose pixels were looked at. hidden: files and folders that were left out."""

    root: Path
    splits: dict[str, Split]
    faults: list[Fault]
    decoded: int
    hidden: int = 0

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
        table = tabulate(rows, headers=headers, colalign=("left", *["right"] * 6), disable_numparse=True)
        if self.hidden:
            table += f"\nleft out: {self.hidden} hidden, with names that begin with a dot"
        return table

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
            "hidden": self.hidden,
            "faults": [fault.to_json() for fault in self.faults],
        }


def survey(
    root: str | Path,
    splits: Iterable[str] = SPLITS,
    *,
    expected: Mapping[str, int | None] | None = None,
    official: bool = False,
    deep: bool = False,
) -> Survey:
    """Look at every file of some splits.

    expected: split → number of images that the parameters ask for (None: any). official: the whole data set must be
    there, whatever they ask for. Of the test split alone, only the images need be there. Shallow: the layout, the first
    and last bytes of every file, identical images, and the pixels of some labels a split. deep: every byte and pixel.
    """
    found = Survey(Path(root), {}, [], 0)
    headers: dict[Path, Header] = {}
    names = tuple(splits)
    found.faults += layout.missing_folders(found.root, (IMAGES,) if names == ("test",) else tuple(ZIPS))
    for name in names:
        _survey_split(found, headers, name, deep)
        wanted = SPLIT_SIZES[name] if official else (expected or {}).get(name)
        split = found.splits[name]
        if wanted is not None and split.frames and split.images != wanted:
            found.faults.append(_count(found.root, split, wanted, official))
    copies = _identical(headers)
    found.faults += copies + _same_names(found.splits.values(), {fault.file for fault in copies})
    return found


def _survey_split(found: Survey, headers: dict[Path, Header], name: str, deep: bool) -> None:
    """Add one split to what was found."""
    labelled = name != "test"
    there = layout.pairs(found.root, name) if labelled else layout.unlabelled(found.root, name)
    frames = there.frames
    found.faults += there.faults
    found.hidden += there.hidden
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
        good = _check_labels(found, name, good, deep)
    if deep:
        found.faults += [f for of_image in _in_threads(_image_faults, good, f"decoding {name}") for f in of_image]
    cities = {path.parent.name for side in (there.images, there.labels or {}) for path in side.values()}
    size = sum(header.bytes for header in of_split.values())
    labels = None if there.labels is None else len(there.labels)
    found.splits[name] = Split(name, frames, len(cities), len(there.images), labels, sizes, size)


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


def _check_labels(found: Survey, name: str, frames: list[Frame], deep: bool) -> list[Frame]:
    """Decode the labels of all frames, or of an even sample; returns the frames without those that failed."""
    chosen = frames[:: 1 if deep else max(1, len(frames) // SAMPLED_LABELS)]
    ids: set[int] = set()
    failed = set()
    for frame, result in zip(chosen, _in_threads(_label_ids, chosen, f"looking at labels of {name}"), strict=True):
        if isinstance(result, DataError):
            found.faults += result.faults
            failed.add(frame)
        else:
            ids |= result
    found.decoded += len(chosen)
    fault = files.encoding_fault(found.root / LABELLED / name, ids, len(chosen))
    found.faults += [fault] if fault else []
    return [frame for frame in frames if frame not in failed]


def _label_ids(frame: Frame) -> set[int] | DataError:
    try:
        return set(np.unique(files.read_label(frame)).tolist())
    except DataError as error:
        return error


def _image_faults(frame: Frame) -> tuple[Fault, ...]:
    try:
        files.decode_image(files.read_image(frame.image), frame.image)
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


def _count(root: Path, split: Split, wanted: int, official: bool) -> Fault:
    key = f"expected_{split.name}_images"
    return Fault(
        "number of images",
        root / IMAGES / split.name,
        f"the {split.name} split has {split.images} images, but {'that of Cityscapes' if official else key} "
        f"{'has' if official else 'is'} {wanted}",
        "the zip was not unpacked to its end, or this is a part of the data set",
        "Unpack the missing ones" + ("" if official else f", or set {key} to null to work with a part"),
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
        problem = f"is the same image as {original}"
        if original.parent.parent != path.parent.parent:
            faults.append(_in_two_splits(path, original, problem))
        else:
            cause, remedy = "it was copied or renamed", "Remove one of the two, with its label"
            faults.append(Fault("duplicate frame", path, problem, cause, remedy))
    return faults


def _same_names(splits: Iterable[Split], known: set[Path]) -> list[Fault]:
    """Frames that two splits have, by their names. known: images that are reported already."""
    first: dict[str, Path] = {}
    return [
        _in_two_splits(frame.image, first[frame.name], f"has the name of {first[frame.name]}")
        for split in splits
        for frame in split.frames
        if first.setdefault(frame.name, frame.image) != frame.image and frame.image not in known
    ]


def _in_two_splits(image: Path, original: Path, problem: str) -> Fault:
    one, other = (path.parent.parent.name for path in (original, image))
    cause = f"{one} and {other} share it, so the score would be too good"
    return Fault("frame in two splits", image, problem, cause, "Remove one of the two, with its label")


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
