"""The whole data set: what is there, and everything that is wrong with it. Conversion and `adl check-data` share it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tabulate import tabulate

from adl.console.progress import track
from adl.console.text import MISSING, byte_size, size
from adl.dataset.descriptor import DatasetDescriptor, FileKind, Frame
from adl.prepare import layout, png
from adl.prepare.duplicates import shared_frames
from adl.prepare.faults import DataError, Fault
from adl.prepare.missing import missing_folders
from adl.prepare.png import Header

SAMPLED_LABELS = 24
"""Label files per split that a shallow check decodes: a wrong encoding is in all of them."""
_THREADS = 8
"""Reading waits for the disk; decoding releases the interpreter's lock."""

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

    def to_json(self) -> dict[str, Any]:
        return {
            "cities": self.cities,
            "images": self.images,
            "labels": self.labels,
            "pairs": len(self.frames) if self.labels is not None else None,
            "sizes": {f"{width}x{height}": n for (width, height), n in sorted(self.sizes.items())},
            "bytes": self.bytes,
        }


@dataclasses.dataclass
class Survey:
    """decoded: label files whose pixels were looked at. hidden: files and folders that were left out."""

    root: Path
    splits: dict[str, Split]
    faults: list[Fault]
    decoded: int
    hidden: int = 0

    def checked(self) -> Survey:
        """Raises DataError if anything is wrong."""
        if self.faults:
            raise DataError(self.faults)
        return self

    def table(self) -> str:
        """A row per split, for people."""
        headers = ("split", "cities", "images", "labels", "pairs", "size", "bytes")
        rows = [_table_row(split) for split in self.splits.values()]
        table = tabulate(
            rows, headers=headers, colalign=("left", *["right"] * 6), disable_numparse=True
        )
        if self.hidden:
            table += f"\nskipped: {self.hidden} hidden (names that begin with a dot)"
        return table

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.root),
            "splits": {split.name: split.to_json() for split in self.splits.values()},
            "labels_decoded": self.decoded,
            "hidden": self.hidden,
            "faults": [fault.to_json() for fault in self.faults],
        }


def _table_row(split: Split) -> tuple[object, ...]:
    sizes = ", ".join(size(height, width) for width, height in sorted(split.sizes))
    labels: tuple[object, object] = (split.labels, len(split.frames))
    if split.labels is None:
        labels = ("withheld", MISSING)
    counts = (split.cities, split.images, *labels)
    return split.name, *counts, sizes or MISSING, byte_size(split.bytes)


def survey(
    root: str | Path,
    dataset: DatasetDescriptor,
    splits: Iterable[str] | None = None,
    *,
    expected: Mapping[str, int | None] | None = None,
    official: bool = False,
    deep: bool = False,
) -> Survey:
    """Look at every file of some splits; None: of all that have labels.

    expected: split → number of images that the parameters ask for (None: any). official: the whole data set must be
    there, whatever they ask for. Of splits without labels alone, only the images need be there. Shallow: the layout,
    the first and last bytes of every file, identical images, and the pixels of some labels per split. deep: every byte
    and pixel.
    """
    names = dataset.labelled_splits if splits is None else tuple(splits)
    found = Survey(Path(root), {}, [], 0)
    headers: dict[Path, Header] = {}
    needs_labels = any(name not in dataset.withheld for name in names)
    kinds: tuple[FileKind, ...] = (
        (dataset.images, dataset.labels) if needs_labels else (dataset.images,)
    )
    found.faults += missing_folders(found.root, dataset, kinds)
    for name in names:
        _survey_split(found, headers, name, dataset, deep=deep)
        split = found.splits[name]
        wanted = dataset.split_sizes[name] if official else (expected or {}).get(name)
        if wanted is not None and split.frames and split.images != wanted:
            found.faults.append(_count_fault(found.root, split, wanted, dataset, official=official))
    frames = {name: split.frames for name, split in found.splits.items()}
    found.faults += shared_frames(headers, frames, dataset)
    return found


def _survey_split(
    found: Survey, headers: dict[Path, Header], name: str, dataset: DatasetDescriptor, *, deep: bool
) -> None:
    """Add one split to what was found."""
    is_labelled = name not in dataset.withheld
    files = layout.pairs if is_labelled else layout.unlabelled
    in_split = files(found.root, name, dataset)
    found.faults += in_split.faults
    found.hidden += in_split.hidden
    of_split: dict[Path, Header] = {}
    good = []

    def check(frame: Frame) -> dict[Path, Header] | DataError:
        return _check_headers(frame, dataset, is_labelled=is_labelled)

    frames = in_split.frames
    for frame, result in zip(frames, _in_threads(check, frames, f"checking {name}"), strict=True):
        if isinstance(result, DataError):
            found.faults += result.faults
        else:
            of_split |= result
            good.append(frame)
    sizes = Counter(of_split[frame.image].size for frame in good)
    found.faults += _other_sizes(good, of_split, sizes)
    headers |= {frame.image: of_split[frame.image] for frame in good}
    if is_labelled:
        good = _check_labels(found, name, good, dataset, deep=deep)
    if deep:
        for faults in _in_threads(
            lambda frame: _image_faults(frame, dataset), good, f"decoding {name}"
        ):
            found.faults += faults
    paths = [*in_split.images.values(), *(in_split.labels or {}).values()]
    found.splits[name] = Split(
        name=name,
        frames=frames,
        cities=len({path.parent.name for path in paths}),
        images=len(in_split.images),
        labels=None if in_split.labels is None else len(in_split.labels),
        sizes=sizes,
        bytes=sum(header.bytes for header in of_split.values()),
    )


def _check_headers(
    frame: Frame, dataset: DatasetDescriptor, *, is_labelled: bool
) -> dict[Path, Header] | DataError:
    try:
        image = png.header(frame.image, dataset.images)
        if not is_labelled:
            return {frame.image: image}
        label = png.header(frame.label, dataset.labels)
        png.check_pair(frame, image.size, label.size)
    except DataError as error:
        return error
    return {frame.image: image, frame.label: label}


def _check_labels(
    found: Survey, name: str, frames: list[Frame], dataset: DatasetDescriptor, *, deep: bool
) -> list[Frame]:
    """Decode the labels of all frames, or of an even sample; returns the frames without those that failed."""
    stride = 1 if deep else max(1, len(frames) // SAMPLED_LABELS)
    chosen = frames[::stride]
    ids: set[int] = set()
    failed = set()
    results = _in_threads(
        lambda frame: _label_ids(frame, dataset), chosen, f"looking at labels of {name}"
    )
    for frame, result in zip(chosen, results, strict=True):
        if isinstance(result, DataError):
            found.faults += result.faults
            failed.add(frame)
        else:
            ids |= result
    found.decoded += len(chosen)
    fault = png.encoding_fault(found.root / dataset.labels.folder / name, ids, len(chosen), dataset)
    if fault:
        found.faults.append(fault)
    return [frame for frame in frames if frame not in failed]


def _label_ids(frame: Frame, dataset: DatasetDescriptor) -> set[int] | DataError:
    try:
        return set(np.unique(png.read_frame(frame, dataset)[1]).tolist())
    except DataError as error:
        return error


def _image_faults(frame: Frame, dataset: DatasetDescriptor) -> tuple[Fault, ...]:
    try:
        png.decode_image(png.checked_image(frame.image, dataset), frame.image, dataset)
    except DataError as error:
        return error.faults
    return ()


def _in_threads(check: Callable[[T], R], items: list[T], what: str) -> list[R]:
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return list(track(pool.map(check, items), len(items), what))


def _other_sizes(
    frames: list[Frame], headers: dict[Path, Header], sizes: Counter[tuple[int, int]]
) -> list[Fault]:
    if len(sizes) <= 1:
        return []
    usual = sizes.most_common(1)[0][0]
    faults = []
    for frame in frames:
        found = headers[frame.image].size
        if found != usual:
            fault = Fault(
                kind="size of an image",
                file=frame.image,
                problem=f"is {png.in_pixels(found)}, but most images of its split are {png.in_pixels(usual)}",
                cause="images of another source were added, or some were resized",
                remedy="Give all images of a split one size: the exported file accepts only one size",
            )
            faults.append(fault)
    return faults


def _count_fault(
    root: Path, split: Split, wanted: int, dataset: DatasetDescriptor, *, official: bool
) -> Fault:
    key = f"expected_{split.name}_images"
    expectation = f"that of {dataset.title} has" if official else f"{key} is"
    remedy = (
        "Unpack the missing ones"
        if official
        else f"Unpack the missing ones, or set {key} to null to use a part"
    )
    return Fault(
        kind="number of images",
        file=root / dataset.images.folder / split.name,
        problem=f"the {split.name} split has {split.images} images, but {expectation} {wanted}",
        cause="the zip was not unpacked completely, or this is a part of the data set",
        remedy=remedy,
    )
