"""The whole data set: what is there, and everything that is wrong with it. Conversion and `adl check-data` share it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tabulate import tabulate

from adl.console.progress import track
from adl.console.text import MISSING, byte_size
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.prepare import DataError, Problem, layout, png
from adl.prepare.png import Header

SAMPLED_LABELS = 24
"""Label files per split that a shallow check decodes: a wrong encoding is in all of them."""
_THREADS = 8
"""Reading waits for the disk; decoding releases the interpreter's lock."""

R = TypeVar("R")


@dataclasses.dataclass
class Split:
    """What was found of one split. headers: of each frame whose headers are sound, the image's and then the label's."""

    files: layout.Found
    headers: dict[Frame, list[Header]]

    @property
    def frames(self) -> list[Frame]:
        return self.files.frames

    @property
    def images(self) -> int:
        return len(self.files.images)

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """(width, height) → images."""
        return Counter(image.size for image, *_ in self.headers.values())

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of most images."""
        return self.sizes.most_common(1)[0][0]

    @property
    def bytes(self) -> int:
        return sum(header.bytes for headers in self.headers.values() for header in headers)

    def to_json(self) -> dict[str, Any]:
        """labels, pairs: None if the labels are withheld."""
        labels = self.files.labels
        paths = [*self.files.images.values(), *(labels or {}).values()]
        return {
            "cities": len({path.parent.name for path in paths}),
            "images": self.images,
            "labels": None if labels is None else len(labels),
            "pairs": None if labels is None else len(self.frames),
            "sizes": {f"{width}x{height}": n for (width, height), n in sorted(self.sizes.items())},
            "bytes": self.bytes,
        }


@dataclasses.dataclass
class DatasetCheck:
    """decoded: label files whose pixels were looked at. hidden: files and folders that were left out."""

    root: Path
    splits: dict[str, Split] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    decoded: int = 0
    hidden: int = 0

    def passed(self) -> DatasetCheck:
        """Itself. Raises DataError if anything is wrong."""
        if self.problems:
            raise DataError(*self.problems)
        return self

    def table(self) -> str:
        """A row per split, for people."""
        headers = ("split", "cities", "images", "labels", "pairs", "size", "bytes")
        rows = []
        for name, split in self.splits.items():
            found = split.to_json()
            if found["labels"] is None:
                found["labels"] = "withheld"
            found["sizes"] = ", ".join(found["sizes"]).replace("x", "×") or None
            found["bytes"] = byte_size(split.bytes)
            rows.append([name, *found.values()])
        alignment = ("left", *["right"] * 6)
        table = tabulate(
            rows, headers=headers, colalign=alignment, disable_numparse=True, missingval=MISSING
        )
        if self.hidden:
            table += f"\nskipped: {self.hidden} hidden (names that begin with a dot)"
        return table

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.root),
            "splits": {name: split.to_json() for name, split in self.splits.items()},
            "labels_decoded": self.decoded,
            "hidden": self.hidden,
            "faults": [problem.to_json() for problem in self.problems],
        }

    def each(
        self,
        check: Callable[[Frame, DatasetDescriptor], R],
        frames: list[Frame],
        dataset: DatasetDescriptor,
        what: str,
    ) -> dict[Frame, R]:
        """What a check returns for each frame that passes it; what is wrong with the others joins the problems."""

        def attempt(frame: Frame) -> R | DataError:
            try:
                return check(frame, dataset)
            except DataError as error:
                return error

        passed = {}
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            results = track(pool.map(attempt, frames), len(frames), what)
            for frame, result in zip(frames, results, strict=True):
                if isinstance(result, DataError):
                    self.problems += result.problems
                else:
                    passed[frame] = result
        return passed


def check_dataset(
    root: str | Path,
    dataset: DatasetDescriptor,
    splits: Iterable[str] = (),
    *,
    expected: Mapping[str, int | None] | None = None,
    official: bool = False,
    deep: bool = False,
) -> DatasetCheck:
    """Look at every file of some splits; by default of all that have labels.

    expected: split → number of images that the parameters ask for (None: any). official: the whole data set must be
    there, whatever they ask for. Of splits without labels alone, only the images need be there. Shallow: the layout,
    the first and last bytes of every file, identical images, and the pixels of some labels per split. deep: every byte
    and pixel.
    """
    found = DatasetCheck(Path(root))
    for name in splits or dataset.labelled_splits:
        split = _check_split(found, name, dataset, deep=deep)
        found.splits[name] = split
        wanted = dataset.split_sizes[name] if official else (expected or {}).get(name)
        if split.frames and wanted not in (None, split.images):
            folder = found.root / dataset.images.folder / name
            key = f"expected_{name}_images"
            expectation = f"{key} is {wanted}"
            remedy = f"Unpack the missing ones, or set {key} to null to use a part"
            if official:
                expectation = f"that of {dataset.title} has {wanted}"
                remedy = "Unpack the missing ones"
            problem = Problem(
                kind="number of images",
                file=folder,
                problem=f"the {name} split has {split.images} images, but {expectation}",
                cause="the zip was not unpacked completely, or this is a part of the data set",
                remedy=remedy,
            )
            found.problems.append(problem)
    found.problems += _duplicates(found.splits)
    # A missing folder is missing for every split.
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _check_split(
    found: DatasetCheck, name: str, dataset: DatasetDescriptor, *, deep: bool
) -> Split:
    files = layout.pairs(found.root, name, dataset)
    found.problems += files.problems
    found.hidden += files.hidden
    check_headers = _image_header if files.labels is None else _headers
    headers = found.each(check_headers, files.frames, dataset, f"checking {name}")
    split = Split(files, headers)
    found.problems += _other_sizes(split)
    sound = list(headers)
    if files.labels is not None:
        stride = 1 if deep else max(1, len(sound) // SAMPLED_LABELS)
        sample = sound[::stride]
        ids = found.each(_label_ids, sample, dataset, f"looking at labels of {name}")
        found.decoded += len(sample)
        folder = found.root / dataset.labels.folder / name
        found.problems += png.encoding_problems(
            folder, set().union(*ids.values()), len(sample), dataset
        )
        sound = list(ids)
    if deep:
        found.each(_decode_image, sound, dataset, f"decoding {name}")
    return split


def _image_header(frame: Frame, dataset: DatasetDescriptor) -> list[Header]:
    return [png.header(frame.image, dataset.images)]


def _headers(frame: Frame, dataset: DatasetDescriptor) -> list[Header]:
    image = png.header(frame.image, dataset.images)
    label = png.header(frame.label, dataset.labels)
    png.check_pair(frame, image.size, label.size)
    return [image, label]


def _label_ids(frame: Frame, dataset: DatasetDescriptor) -> set[int]:
    return set(np.unique(png.read_frame(frame, dataset)[1]).tolist())


def _decode_image(frame: Frame, dataset: DatasetDescriptor) -> None:
    content, _ = png.read(frame.image, dataset.images)
    png.decode(content, frame.image, dataset.images)


def _other_sizes(split: Split) -> list[Problem]:
    if not split.headers:
        return []
    usual = split.size
    problems = []
    for frame, (image, *_) in split.headers.items():
        if image.size != usual:
            problem = Problem(
                kind="size of an image",
                file=frame.image,
                problem=f"is {png.in_pixels(image.size)}, but most images of its split are {png.in_pixels(usual)}",
                cause="images of another source were added, or some were resized",
                remedy="Give all images of a split one size: the exported file accepts only one size",
            )
            problems.append(problem)
    return problems


def _duplicates(splits: Mapping[str, Split]) -> list[Problem]:
    """Frames that the data set has twice, by their content or by their name: a score on them would be too good."""
    lengths = Counter(
        image.bytes for split in splits.values() for image, *_ in split.headers.values()
    )
    by_content: dict[str, tuple[str, Path]] = {}
    by_name: dict[str, tuple[str, Path]] = {}
    problems = []
    for name, split in splits.items():
        for frame in split.frames:
            here = (name, frame.image)
            same_name = by_name.setdefault(frame.name, here)
            same_content = here
            if frame in split.headers and lengths[split.headers[frame][0].bytes] > 1:
                content = hashlib.sha256(frame.image.read_bytes()).hexdigest()
                same_content = by_content.setdefault(content, here)
            if same_content != here:
                problems.append(_duplicate(here, same_content, "is the same image as"))
            elif same_name != here:
                problems.append(_duplicate(here, same_name, "has the same name as"))
    return problems


def _duplicate(here: tuple[str, Path], first: tuple[str, Path], how: str) -> Problem:
    """here, first: split and image."""
    kind = "duplicate frame"
    cause = "it was copied or renamed"
    if here[0] != first[0]:
        kind = "frame in two splits"
        cause = f"{first[0]} and {here[0]} share this frame, so the score would be too high"
    remedy = "Remove one of the two, with its label"
    return Problem(kind, here[1], f"{how} {first[1]}", cause, remedy)
