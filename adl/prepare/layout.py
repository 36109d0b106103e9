"""Which frames of a split are there, which of their files are missing, and which folder was meant."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from adl.dataset.descriptor import DatasetDescriptor, Files, Frame, Images
from adl.errors import nearest
from adl.prepare import (
    DataError,
    Problem,
    draw,
    is_broken_link,
    is_folder,
    lists,
    lost,
    polygon_files,
    subfolders,
    unreadable,
)
from adl.prepare.images import SUFFIXES, Picture


class Split:
    """The files of one split, and what is wrong with them.

    images, labels: the file of each frame; labels that are withheld are where they would be. frames: the complete ones,
    sorted by group and name; where labels are withheld, every image is one. problems: one that the folders of images
    and labels share is there twice. hidden: files and folders whose names begin with a dot, which are left out.
    unlisted: names of the groups that cannot be listed. Filled in by `check`: sound: the image of each frame that is;
    sizes: (width, height) → how many of these images; bytes: of these frames; counted: labels that were read, of which
    pixels and shown, (256,): how many pixels have each train id, and how many labels show it; numbers, (256,): how many
    pixels hold each number.
    """

    def __init__(self, root: Path, name: str, dataset: DatasetDescriptor) -> None:
        self.root, self.name, self.dataset = root, name, dataset
        self.folder = dataset.splits[name].folder
        self.problems: list[Problem] = []
        self.unlisted: set[str] = set()
        self.hidden = self.bytes = self.counted = 0
        self.pixels, self.shown, self.numbers = np.zeros((3, 256), np.int64)
        self.sound: dict[Frame, Picture] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.images: dict[str, Path] = {}
        self.is_withheld = name in dataset.withheld
        if listed := dataset.splits[name].listed:
            self.images, self.labels = self._listed(self.root / listed)
        elif dataset.draw:
            self.images, self.labels = self._drawn()
        else:
            self.images, self.labels = self._found()
        self.frames = [
            Frame(frame, image, self.labels[frame]) for frame, image in self.images.items() if frame in self.labels
        ]
        if not listed and not dataset.draw:
            self._check_pairs()

    def _found(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """The images and labels that are in the folders."""
        dataset, root = self.dataset, self.root
        self.images = found = self._files(dataset.images)
        if "{name}" not in dataset.labels.pattern:
            of_all = dataset.labels.path(root, self.folder, "", "")
            if not of_all.exists():
                self.problems.append(_no_file(of_all, dataset))
            elif "{split}" not in dataset.images.pattern:
                # One folder holds the images of all splits.
                found = self._of_coco(of_all, found)
            return found, dict.fromkeys(found, of_all)
        if not self.is_withheld:
            return found, self._files(dataset.labels)
        return found, {
            frame: dataset.labels.path(root, self.folder, image.parent.name, frame) for frame, image in found.items()
        }

    def _of_coco(self, path: Path, images: dict[str, Path]) -> dict[str, Path]:
        """Those images that a file of COCO lists."""
        try:
            listed = {PurePosixPath(image.file_name).name for image in polygon_files.read_coco(path).images}
        except DataError as error:
            self.problems += error.problems
            return {}
        return {name: image for name, image in images.items() if image.name in listed}

    def _listed(self, path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
        """The images and labels that a list names. What is wrong with it joins the problems."""
        try:
            lines = lists.read(path)
        except DataError as error:
            self.problems += error.problems
            return {}, {}
        found, problems = lists.files(lines, path, self.root, self.dataset, self.name)
        self.problems += problems
        return (
            {name: image for name, (image, _) in found.items()},
            {name: label for name, (_, label) in found.items()},
        )

    def _drawn(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """The images and labels that the draw gives to this split, of all that are in the folders."""
        everything = Split(self.root, self.name, self.dataset.model_copy(update={"draw": None}))
        self.problems += everything.problems
        self.unlisted = everything.unlisted
        if self.name == next(iter(self.dataset.splits)):  # what is hidden is counted once
            self.hidden = everything.hidden
        members: Collection[str] = ()
        if everything.images:
            try:
                members = draw.locked(self.dataset, everything.images.keys())[self.name]
            except DataError as error:
                self.problems += error.problems
        labels = everything.labels
        return (
            {name: everything.images[name] for name in members},
            {name: labels[name] for name in members if name in labels},
        )

    def passed(self) -> Split:
        """Itself. Raises DataError if anything is wrong."""
        if self.problems:
            raise DataError(*dict.fromkeys(self.problems))
        return self

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of most images."""
        return self.sizes.most_common(1)[0][0]

    def count(self, pixels: np.ndarray, numbers: np.ndarray) -> None:
        """Add a label that was read."""
        self.counted += 1
        self.pixels += pixels
        self.shown += pixels > 0
        self.numbers += numbers

    @property
    def shares(self) -> np.ndarray:
        """(256,): each train id's part of all pixels that were read, 0-1."""
        return self.pixels / max(1, self.pixels.sum())

    def place(self, kind: Files) -> Path:
        """What states which images, or labels, the split has: its list, or the folder of all of them."""
        return self.root / (self.dataset.splits[self.name].listed or kind.place(self.folder))

    def to_json(self) -> dict[str, Any]:
        """labels, pairs: None if the labels are withheld."""
        content = {
            "groups": len({path.parent.name for path in (self.labels | self.images).values()}),
            "images": len(self.images),
            "labels": len(self.labels),
            "pairs": len(self.frames),
            "sizes": {f"{width}x{height}": n for (width, height), n in sorted(self.sizes.items())},
            "bytes": self.bytes,
        }
        if self.is_withheld:
            content |= {"labels": None, "pairs": None}
        return content

    def _files(self, kind: Files) -> dict[str, Path]:
        """Frame → file, sorted by group and name. What is wrong there joins the problems."""
        place = self.root / kind.place(self.folder)
        try:
            paths = entries = self._entries(place)
        except OSError as error:
            self.problems.append(self._unreached(kind, error))
            return {}
        if kind.has_groups:
            paths = []
            for group in entries:
                try:
                    paths += self._entries(group)
                except NotADirectoryError:
                    continue
                except OSError as error:
                    self.problems.append(unreadable(group, error, "listed"))
                    self.unlisted.add(group.name)
        files: dict[str, Path] = {}
        for path in paths:
            name = kind.name_in(path.name)
            if name is None:
                continue
            if name.encode(errors="ignore").decode() != name:
                self.problems.append(
                    Problem(
                        kind="name",
                        file=path,
                        problem="its name is not UTF-8, which a record requires",
                        cause="it was made on another system",
                        remedy="Rename it.",
                    )
                )
            elif name not in files:
                files[name] = path
            else:
                self.problems.append(
                    Problem(
                        kind="duplicate frame",
                        file=path,
                        problem=f"this frame is also in another folder: {files[name]}",
                        cause="a folder was copied or unpacked into another",
                        remedy="Remove one of the two.",
                    )
                )
        if not files and not self.unlisted:
            self.problems.append(_none_found(place, kind, entries + paths, self.dataset, self.images))
        return files

    def _entries(self, folder: Path) -> list[Path]:
        """What is in a folder, sorted. What is hidden is only counted."""
        # With the dot, which pathlib drops, a folder that may be listed but not entered is an error.
        names = sorted(os.listdir(f"{folder}/."))  # noqa: PTH208
        visible = [folder / name for name in names if not name.startswith(".")]
        self.hidden += len(names) - len(visible)
        return visible

    def _unreached(self, kind: Files, error: OSError) -> Problem:
        """Why the folder of the files of one kind cannot be listed, which raised the error."""
        folder = self.root / kind.folder
        place = self.root / kind.place(self.folder)
        first = next((path for path in (self.root, folder) if not os.access(f"{path}/.", os.X_OK)), place)
        if not isinstance(error, FileNotFoundError | NotADirectoryError) or is_broken_link(first):
            return unreadable(first, error, "listed")
        if first == self.root:
            return _no_root(first, kind)
        if first == folder:
            return _no_folder(self.root, kind, self.dataset)
        nested = folder / folder.name
        if kind.folder and is_folder(nested):
            # It is `images/images/train`, or the same of the labels.
            return Problem(
                kind="layout",
                file=folder,
                problem=f"holds another {folder.name}/, and not every split",
                cause=f"{'the zip was unpacked' if kind.source else 'it was copied'} into a folder of its own",
                remedy=f"Move what is in {nested} to {folder}.",
            )
        cause, remedy = _misspelt(place, self.dataset) or (
            lost(kind),
            f"{_again(kind)}.",
        )
        return Problem("layout", place, "does not exist", cause, remedy)

    def _check_pairs(self) -> None:
        """An image without its label, or a label without its image, is a problem."""
        if self.images and self.labels and not self.frames and not self.unlisted:
            self.problems.append(self._no_pair())
            return
        for present, files, absent, others, kind in (
            ("image", self.images, "label", self.labels, self.dataset.labels),
            ("label", self.labels, "image", self.images, self.dataset.images),
        ):
            suffixes = _Suffix(kind)
            for name, path in files.items():
                group = path.parent.name
                # Where there are no others at all, that is the problem.
                if others and name not in others and group not in self.unlisted:
                    place = kind.path(self.root, self.folder, group, name)
                    cause = f"{kind.folder or 'its folder'} was copied in part, or the {present} was added"
                    remedy = f"{_again(kind)}, or remove the {present}."
                    if kind.source:
                        cause = (
                            f"{kind.folder} was not unpacked completely or copied in part, or the {present} was added"
                        )
                    if other := suffixes.lacking_beside(place):
                        cause = f"only {place.stem}{other} is there, which has another suffix"
                        remedy = suffixes.line(other)
                    for suffix, holds in self.dataset.related_labels.items():
                        related = place.with_name(f"{name}{suffix}")
                        if related.exists():
                            cause = f"only {related.name} is there: {holds}"
                            break
                    self.problems.append(
                        Problem(
                            kind=f"{present} without {absent}",
                            file=path,
                            problem=f"this {present} has no {absent} {place}",
                            cause=cause,
                            remedy=remedy,
                        )
                    )

    def _no_pair(self) -> Problem:
        """The problem of a split in which no image has its label."""
        kind = self.dataset.labels
        name, image = next(iter(self.images.items()))
        others = list(self.labels.values())
        other = next((path for path in others if name in path.name), others[0])
        remedy = "Correct the patterns in the data set's file: {name} must stand for the same in both."
        if name in other.name:
            pattern = PurePosixPath(kind.pattern).with_name(other.name.replace(name, "{name}"))
            remedy = f'Write `pattern: "{pattern}"` below `labels:`.'
        return Problem(
            kind="no pair",
            file=image,
            problem=f"has no label {kind.path(self.root, self.folder, image.parent.name, name)}, and no image of the "
            f"{self.name} split has one",
            cause=f"{other.parent} holds {len(others)} labels with other names, such as {other.name}",
            remedy=remedy,
        )


class _Suffix:
    """What follows the last dot of the images, or labels: another one, or another case."""

    def __init__(self, kind: Files) -> None:
        self.kind = kind
        self.own = PurePosixPath(kind.pattern).suffix
        self.others = {self.own.lower(), self.own.upper()}
        if isinstance(kind, Images):
            self.others |= {case for known in SUFFIXES for case in (known, known.upper())}
        self.others -= {self.own, *kind.suffixes}

    def lacking(self, file: Path) -> bool:
        """Whether a file would be one of these if its suffix were listed."""
        return file.suffix in self.others and self.kind.name_in(f"{file.stem}{self.own}") is not None

    def lacking_beside(self, file: Path) -> str | None:
        """The suffix with which a file is there that is looked for."""
        return next((suffix for suffix in sorted(self.others) if file.with_suffix(suffix).exists()), None)

    def line(self, suffix: str) -> str:
        """The line to write."""
        listed = ", ".join((*self.kind.suffixes, suffix))
        return f"Write `suffixes: [{listed}]` below `{'images' if isinstance(self.kind, Images) else 'labels'}:`."


def _again(kind: Files) -> str:
    """What to do about files that are not there, without the full stop."""
    return f"Take it again from {kind.source}" if kind.source else "Add it"


def _no_file(path: Path, dataset: DatasetDescriptor) -> Problem:
    """The problem of a split without the file that holds its labels."""
    others = sorted(other.name for other in path.parent.glob(f"*{path.suffix}"))
    cause = f"the files there are {', '.join(others[:4])}" if others else "there is no such file in that folder"
    remedy = f"Correct `pattern:` below `labels:`. {_again(dataset.labels)}."
    return Problem("layout", path, "does not exist", cause, remedy)


def _no_root(root: Path, kind: Files) -> Problem:
    if root.exists():
        return Problem(
            kind="data_path",
            file=root,
            problem="is a file",
            cause="the zip is not unpacked" if kind.source else "a file was named instead of its folder",
            remedy="Unpack it, and set data_path to its folder."
            if kind.source
            else "Set data_path to the folder of the data set.",
        )
    remedy = "Set data_path to the folder that holds both."
    meant = nearest(root.name, [path.name for path in subfolders(root.absolute().parent)])
    if meant:
        remedy = f"Did you mean {root.parent / meant}?"
    return Problem(
        kind="data_path",
        file=root,
        problem="does not exist",
        cause="the folder was moved, or its name is misspelt",
        remedy=remedy,
    )


def _no_folder(root: Path, kind: Files, dataset: DatasetDescriptor) -> Problem:
    """The problem of a data set without the folder of its images or of its labels."""
    other = dataset.labels if kind is dataset.images else dataset.images
    problem = f"holds no {kind.folder}/"
    if not is_folder(root / other.folder):
        problem = f"holds neither {dataset.images.folder}/ nor {dataset.labels.folder}/"
    return Problem("layout", root, problem, *_explanation(root, kind, other, dataset))


def _explanation(root: Path, kind: Files, other: Files, dataset: DatasetDescriptor) -> tuple[str, str]:
    """The likely cause why a folder is missing, and what to do."""
    place = root / kind.folder
    above = root.resolve().parents[:3]
    below = subfolders(root) + subfolders(root, "*/*/")
    for folder in (*above, *below):
        if is_folder(folder / kind.folder) and is_folder(folder / other.folder):
            side = "inside" if folder in above else "above"
            return f"data_path lies {side} the data set", f"Set data_path to {folder}."
    for folder in below:
        if is_folder(folder / kind.folder):
            return (
                f"{'the zip was unpacked' if kind.source else 'it was copied'} into a folder of its own, {folder}",
                f"Move {folder / kind.folder} to {place}.",
            )
    if misspelt := _misspelt(place, dataset):
        return misspelt
    for packed in sorted(root.glob(f"{kind.folder}*.zip")):
        return f"{packed.name} is still packed", f"Unpack it there: unzip {packed} -d {root}."
    for name, holds in dataset.related_folders.items():
        if name.startswith(kind.folder[:2]) and is_folder(root / name):
            remedy = f"Unpack {kind.source or f'the files of {dataset.title}'} in {root}."
            if name.startswith(f"{dataset.images.folder}_"):
                remedy += (
                    f" To use {name} instead, make a folder with {kind.folder}/ and {other.folder}/ in which its "
                    f"images have the usual names, <name>{kind.suffix}."
                )
            return f"{name} holds {holds}, which are not used", remedy
    if not kind.source or not other.source:
        return (
            f"this is not the folder of {dataset.title}, or its files lie elsewhere in it",
            f"Set data_path to the folder that holds {kind.folder}/, or correct `pattern:` in the data set's file.",
        )
    if is_folder(root / other.folder):
        return (
            f"only {other.source.split()[0]} is unpacked here",
            f"Unpack {kind.source} in {root} too.",
        )
    return (
        f"this is not the folder of {dataset.title}",
        f"Unpack {' and '.join(dict.fromkeys((kind.source, other.source)))} into one folder, and set data_path to it.",
    )


def _misspelt(place: Path, dataset: DatasetDescriptor) -> tuple[str, str] | None:
    """Cause and remedy if a folder beside the missing one was probably meant to be it."""
    name = place.name.lower()
    known = {dataset.images.folder, dataset.labels.folder}
    known.update(dataset.related_folders, (split.folder for split in dataset.splits.values()))
    others = {path.name.lower(): path for path in subfolders(place.parent) if path.name not in known}
    meant = nearest(name, others, cutoff=0.75) or next((longer for longer in others if longer.startswith(name)), None)
    if meant is None:
        return None
    return f"{others[meant].name} is misspelt", f"Rename {others[meant]} to {place}."


def _none_found(
    place: Path, kind: Files, paths: list[Path], dataset: DatasetDescriptor, images: Mapping[str, Path]
) -> Problem:
    """The problem of a split that has no file of this kind.

    paths: what is there instead. images: those of which the labels were looked for.
    """
    sort = "layout"
    cause = lost(kind)
    remedy = f"{_again(kind)}."
    section = "images" if isinstance(kind, Images) else "labels"
    lacks = next((f"; {path} needs {name}{kind.suffix}" for name, path in images.items()), "")
    others = [path for path in paths if path.suffix and not is_folder(path)]
    if others:
        example = others[0].name
        cause = f"the files there have other names, such as {example}"
        remedy = f"Name them <name>{kind.suffix}, or correct `pattern:` below `{section}:`."
        suffixes = _Suffix(kind)
        if suffixes.lacking(others[0]):
            cause = f"the files there have another suffix, such as {example}"
            remedy = suffixes.line(others[0].suffix)
        if kind.has_groups and others[0].parent == place:
            cause = f"there are files directly in it, such as {example}"
            remedy = f"Put each in a folder of its group, as in {kind.pattern}."
        for suffix, holds in dataset.related_labels.items():
            if example.endswith(suffix):
                sort = "label encoding"
                cause = f"there are only other kinds of labels, such as {example}: {holds}"
                remedy = f"{_again(kind)}: it holds *{kind.suffix}."
    return Problem(
        kind=sort,
        file=place,
        problem=f"no file *{kind.suffix} was found{lacks}",
        cause=cause,
        remedy=remedy,
    )
