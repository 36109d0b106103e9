"""The whole data set: what is there, and everything that is wrong with it.

Conversion and `adl dataset check` share it.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl.console.progress import track
from adl.console.text import MISSING, byte_size, percentage
from adl.dataset.descriptor import IGNORE, DatasetDescriptor, Frame, Value
from adl.files import digest
from adl.parallel.pool import map_ahead
from adl.prepare import DataError, Problem, images, labels, lost
from adl.prepare.images import Picture, in_pixels
from adl.prepare.labels import Label, LabelFiles
from adl.prepare.layout import Split
from adl.prepare.notes import notes

SAMPLED_LABELS = 24
"""Label files per split that a shallow check decodes: a wrong encoding is in all of them."""


@dataclasses.dataclass
class DatasetCheck:
    """notes: what is worth knowing, and no problem. decoded: label files whose pixels were looked at. hidden: files and
    folders that were left out.
    """

    root: Path
    dataset: DatasetDescriptor
    splits: dict[str, Split] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    decoded: int = 0
    hidden: int = 0

    def passed(self) -> DatasetCheck:
        """Itself. Raises DataError if anything is wrong."""
        if self.problems:
            raise DataError(*self.problems)
        return self

    def table(self) -> str:
        """A row per split, for people."""
        rows = []
        for name, split in self.splits.items():
            row = {"split": name} | split.to_json()
            if split.is_withheld:
                row["labels"] = "withheld"
            row["sizes"] = ", ".join(row["sizes"]).replace("x", "×") or None
            row["bytes"] = byte_size(split.bytes)
            rows.append(row)
        table = _table(rows)
        if self.hidden:
            table += f"\nskipped: {self.hidden} hidden (names that begin with a dot)"
        return table

    def table_of_classes(self) -> str:
        """A row per class, and one for what is ignored: its share of the pixels and its images, for each split."""
        rows = []
        for train_id, name, values in self._classes():
            row = {"class": name, "values": json.dumps(values)[1:-1]}
            for split in self._counted():
                row[f"{split.name} %"] = percentage(100 * float(split.shares[train_id]))
                row[f"{split.name} images"] = f"{split.shown[train_id]:,}"
            rows.append(row)
        return _table(rows)

    def _classes(self) -> Iterator[tuple[int, str, tuple[Value, ...]]]:
        """Train id, name and values of each class, and of what is ignored."""
        of_train_id = defaultdict(list)
        for value, train_id in self.dataset.meanings.items():
            of_train_id[train_id].append(value)
        for train_id, name in enumerate((*self.dataset.class_names, "ignored")):
            place = train_id if train_id < len(self.dataset.classes) else IGNORE
            yield place, name, tuple(of_train_id[place])

    def _counted(self) -> list[Split]:
        """The splits of which labels were read."""
        return [split for split in self.splits.values() if split.pixels.any()]

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.root),
            "splits": {name: split.to_json() for name, split in self.splits.items()},
            "labels_decoded": self.decoded,
            "hidden": self.hidden,
            "classes": {
                name: {
                    "values": values,
                    **{
                        split.name: {
                            "pixels": int(split.pixels[train_id]),
                            "share": float(split.shares[train_id]),
                            "images": int(split.shown[train_id]),
                        }
                        for split in self._counted()
                    },
                }
                for train_id, name, values in self._classes()
            },
            "notes": self.notes,
            "problems": [problem._asdict() for problem in self.problems],
        }


def _table(rows: list[dict[str, Any]]) -> str:
    return tabulate(
        rows,
        headers="keys",
        colglobalalign="right",
        colalign=["left"],
        disable_numparse=True,
        missingval=MISSING,
    )


def check_dataset(
    root: str | Path,
    dataset: DatasetDescriptor,
    splits: Iterable[str] = (),
    *,
    every_label: bool = False,
    deep: bool = False,
    crop_size: int | None = None,
) -> DatasetCheck:
    """Look at every file of some splits; by default of all that have labels.

    Of splits without labels, only the images need be there. Shallow: the layout, the first and last bytes of every
    file, identical images, and the pixels of some labels per split, or of every label; only then is a class that train
    lacks a problem. deep: every byte and pixel. crop_size: of the training; smaller images are worth a note.
    """
    found = DatasetCheck(Path(root), dataset)
    for name in splits or dataset.labelled_splits:
        split = _check_split(found, name, every_label=every_label or deep, deep=deep)
        found.splits[name] = split
        wanted = dataset.expect.get(name)
        if split.frames and wanted not in (None, len(split.images)):
            found.problems.append(
                Problem(
                    kind="number of images",
                    file=split.place(dataset.images),
                    problem=f"the {name} split has {len(split.images)} images, that of {dataset.title} has {wanted}",
                    cause=f"{lost(dataset.images)}, or this is a part of the data set",
                    remedy=f"Add the missing ones; to use a part, take {name} out of `expect` in the data set's file.",
                )
            )
    found.problems += _duplicates(found.splits)
    # A missing folder is missing for every split.
    found.problems = list(dict.fromkeys(found.problems))
    found.notes = notes(found.splits, crop_size)
    return found


def _check_split(found: DatasetCheck, name: str, *, every_label: bool, deep: bool) -> Split:
    """Look at the files of a split. What is wrong joins the problems."""
    dataset = found.dataset
    split = Split(found.root, name, dataset)
    found.problems += split.problems
    found.hidden += split.hidden
    labelled = [] if split.is_withheld else split.frames
    try:
        files = LabelFiles(labelled, dataset)
    except DataError as error:
        found.problems += error.problems
        return split
    stride = 1 if every_label else max(1, len(split.frames) // SAMPLED_LABELS)
    sample = set(labelled[::stride])

    def look(frame: Frame) -> tuple[Picture, int, Label | None] | DataError:
        """Its image, the bytes of its files, and its label, if it is sampled."""
        try:
            image = images.header(frame.image, dataset.images, whole=deep)
            images.check_image(image, dataset)
            if deep:
                images.decode(image, dataset.images)
            if split.is_withheld:
                return image, image.bytes, None
            size = images.size_of(image, dataset)
            if frame in sample:
                return image, image.bytes + frame.label.stat().st_size, files.read(frame, size)
            return image, image.bytes + files.check(frame, size), None
        except DataError as error:
            return error

    # Reading waits for the disk; decoding releases the interpreter's lock.
    looking = map_ahead(look, split.frames, threads=8)
    results = track(looking, len(split.frames), f"checking {name}")
    for frame, result in zip(split.frames, results, strict=True):
        if isinstance(result, DataError):
            found.problems += result.problems
        else:
            image, size, label = result
            split.sound[frame] = image._replace(content=b"")
            split.sizes[images.size_of(image, dataset)] += 1
            split.bytes += size
            if label:
                split.count(label.pixels, label.numbers)
    found.problems += _sizes(split)
    try:
        labels.check_encoding(split.place(dataset.labels), split.numbers, len(sample), dataset)
    except DataError as error:
        found.problems += error.problems
    else:
        # Of labels that were not read, nobody knows what they show.
        if name == "train" and every_label and split.counted == len(split.frames):
            found.problems += _absent_classes(split)
    found.decoded += len(sample)
    return split


def _sizes(split: Split) -> Iterator[Problem]:
    """Images of another size than most, where all must have one."""
    if split.dataset.images.sizes == "any":
        return
    for image in split.sound.values():
        if image.size != split.size:
            yield Problem(
                kind="size of an image",
                file=image.path,
                problem=f"is {in_pixels(image.size)}, but most images of its split are {in_pixels(split.size)}",
                cause="images of another source were added, or some were resized",
                remedy=f"Give all images of {split.dataset.title} one size.",
            )


def _absent_classes(split: Split) -> Iterator[Problem]:
    """Classes that no label of the split shows."""
    absent = [label.name for train_id, label in enumerate(split.dataset.classes) if not split.shown[train_id]]
    if absent and split.frames:
        names = ", ".join(absent)
        yield Problem(
            kind="class absent from train",
            file=split.place(split.dataset.labels),
            problem=f"no label of the train split shows {names}, so that nothing can be learned of it",
            cause="its `values:` are not what the labels hold, or its images are in another split",
            remedy=f"Correct the `values:` of {names} in the data set's file, or take it out of `classes:`.",
        )


def _duplicates(splits: Mapping[str, Split]) -> Iterable[Problem]:
    """Frames that the data set has twice, by their content or by their name: a score on them would be too good."""
    lengths = Counter(image.bytes for split in splits.values() for image in split.sound.values())
    first: dict[str, tuple[str, Path]] = {}
    problems: dict[Frame, Problem] = {}
    for name, split in splits.items():
        for frame in split.frames:
            marks = {frame.name: "has the same name as"}
            if frame in split.sound and lengths[split.sound[frame].bytes] > 1:
                marks = {digest(frame.image): "is the same image as", **marks}
            for mark, how in marks.items():
                other_split, other = first.setdefault(mark, (name, frame.image))
                if other == frame.image:
                    continue
                kind = "duplicate frame"
                cause = "it was copied or renamed"
                if other_split != name:
                    kind = "frame in two splits"
                    cause = f"{other_split} and {name} share this frame, so the score would be too high"
                problems.setdefault(
                    frame,
                    Problem(
                        kind=kind,
                        file=frame.image,
                        problem=f"{how} {other}",
                        cause=cause,
                        remedy="Remove one of the two, with its label.",
                    ),
                )
    return problems.values()
