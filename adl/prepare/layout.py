"""Which frames of a split are there, which of their files are missing, and which folder was meant."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from adl.dataset.descriptor import DatasetDescriptor, FileKind, Frame
from adl.errors import nearest
from adl.prepare import DataError, Problem, is_broken_link, is_folder, subfolders, unreadable
from adl.prepare.png import Png


@dataclasses.dataclass
class Split:
    """The files of one split, and what is wrong with them.

    images, labels: the file of each frame; labels that are withheld are where they would be. frames: the complete ones,
    sorted by city and name. hidden: files and folders whose names begin with a dot, which are left out. unlisted: names
    of the cities that cannot be listed. Filled in by `check`: sound: the image of each frame that is; sizes: (width,
    height) → how many of these images; bytes: of these frames.
    """

    is_withheld: bool
    frames: list[Frame] = dataclasses.field(default_factory=list)
    images: dict[str, Path] = dataclasses.field(default_factory=dict)
    labels: dict[str, Path] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    unlisted: set[str] = dataclasses.field(default_factory=set)
    sound: dict[Frame, Png] = dataclasses.field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = dataclasses.field(default_factory=Counter)
    bytes: int = 0
    hidden: int = 0

    def entries(self, folder: Path) -> list[Path]:
        """What is in a folder, sorted. What is hidden is only counted."""
        # With the dot, which pathlib drops, a folder that may be listed but not entered is an error.
        names = sorted(os.listdir(f"{folder}/."))  # noqa: PTH208
        visible = [folder / name for name in names if not name.startswith(".")]
        self.hidden += len(names) - len(visible)
        return visible

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of most images."""
        return self.sizes.most_common(1)[0][0]

    def to_json(self) -> dict[str, Any]:
        """labels, pairs: None if the labels are withheld."""
        content = {
            "cities": len(
                {path.parent.name for path in (*self.images.values(), *self.labels.values())}
            ),
            "images": len(self.images),
            "labels": len(self.labels),
            "pairs": len(self.frames),
            "sizes": {f"{width}x{height}": n for (width, height), n in sorted(self.sizes.items())},
            "bytes": self.bytes,
        }
        if self.is_withheld:
            content |= {"labels": None, "pairs": None}
        return content


def frames(root: str | Path, split: str, dataset: DatasetDescriptor) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name. Raises DataError with every problem."""
    found = pairs(Path(root), split, dataset)
    if found.problems:
        raise DataError(*dict.fromkeys(found.problems))
    return found.frames


def pairs(root: Path, split: str, dataset: DatasetDescriptor) -> Split:
    """The frames of a split; where labels are withheld, every image is one.

    A problem that the folders of images and labels share is there twice.
    """
    found = Split(is_withheld=split in dataset.withheld)
    found.images = images = _files(found, root, dataset.images, split, dataset)
    if found.is_withheld:
        for name, image in images.items():
            found.labels[name] = dataset.labels.path(root, split, image.parent.name, name)
    else:
        found.labels = _files(found, root, dataset.labels, split, dataset)
    for name, image in images.items():
        if name in found.labels:
            found.frames.append(Frame(name, image, found.labels[name]))
    for present, files, absent, others, kind in (
        ("image", images, "label", found.labels, dataset.labels),
        ("label", found.labels, "image", images, dataset.images),
    ):
        for name, path in files.items():
            city = path.parent.name
            # Where there are no others at all, that is the problem.
            if others and name not in others and city not in found.unlisted:
                place = kind.path(root, split, city, name)
                cause = f"{kind.folder} was not unpacked completely or copied in part, or the {present} was added"
                for suffix, holds in dataset.related_labels.items():
                    related = place.with_name(f"{name}{suffix}")
                    if related.exists():
                        cause = f"only {related.name} is there: {holds}"
                        break
                found.problems.append(
                    Problem(
                        kind=f"{present} without {absent}",
                        file=path,
                        problem=f"this {present} has no {absent} {place}",
                        cause=cause,
                        remedy=f"Unpack {kind.archive} again, or remove the {present}.",
                    )
                )
    return found


def _files(
    found: Split, root: Path, kind: FileKind, split: str, dataset: DatasetDescriptor
) -> dict[str, Path]:
    """Frame → file, sorted by city and name. What is wrong there joins what was found."""
    place = root / kind.folder / split
    try:
        paths = entries = found.entries(place)
    except OSError as error:
        found.problems.append(_unreached(error, root, kind, split, dataset))
        return {}
    if kind.has_cities:
        paths = []
        for city in entries:
            try:
                paths += found.entries(city)
            except NotADirectoryError:
                continue
            except OSError as error:
                found.problems.append(unreadable(city, error, "listed"))
                found.unlisted.add(city.name)
    files: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(kind.suffix)
        if name == path.name:
            continue
        if name.encode(errors="ignore").decode() != name:
            found.problems.append(
                Problem(
                    kind="name",
                    file=path,
                    problem="its name is not UTF-8, which a record requires",
                    cause="it was made on another system",
                    remedy="Rename it.",
                )
            )
        elif name in files:
            found.problems.append(
                Problem(
                    kind="duplicate frame",
                    file=path,
                    problem=f"this frame is also in another city: {files[name]}",
                    cause="a folder was copied or unpacked into another",
                    remedy=f"Keep the one in the folder {name.partition('_')[0]}.",
                )
            )
        else:
            files[name] = path
    if not files and not found.unlisted:
        found.problems.append(_none_found(place, kind, entries + paths, dataset))
    return files


def _unreached(
    error: OSError, root: Path, kind: FileKind, split: str, dataset: DatasetDescriptor
) -> Problem:
    """Why the folder of a split's files of one kind cannot be listed, which raised the error."""
    folder = root / kind.folder
    place = folder / split
    above = (path for path in (root, folder) if not os.access(f"{path}/.", os.X_OK))
    first = next(above, place)
    if not isinstance(error, FileNotFoundError | NotADirectoryError) or is_broken_link(first):
        return unreadable(first, error, "listed")
    if first == root:
        return _no_root(root)
    if first == folder:
        return _no_folder(root, kind, dataset)
    nested = folder / folder.name
    if is_folder(nested):
        # It is `leftImg8bit/leftImg8bit/train`, or the same of the labels.
        return Problem(
            kind="layout",
            file=folder,
            problem=f"holds another {folder.name}/, and not every split",
            cause="the zip was unpacked into a folder of its own",
            remedy=f"Move what is in {nested} to {folder}.",
        )
    cause, remedy = _misspelt(place, dataset.split_sizes) or (
        "the zip was not unpacked completely",
        f"Unpack {kind.archive} again.",
    )
    return Problem("layout", place, "does not exist", cause, remedy)


def _no_root(root: Path) -> Problem:
    if root.exists():
        return Problem(
            kind="data_path",
            file=root,
            problem="is a file",
            cause="the zip is not unpacked",
            remedy="Unpack it, and set data_path to its folder.",
        )
    remedy = "Set data_path to the folder that holds both."
    meant = nearest(root.name, [path.name for path in subfolders(root.absolute().parent)])
    if meant:
        remedy = f"Did you mean {root.parent / meant}?"
    cause = "the folder was moved, or its name is misspelt"
    return Problem("data_path", root, "does not exist", cause, remedy)


def _no_folder(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> Problem:
    """The problem of a data set without the folder of its images or of its labels."""
    other = dataset.labels if kind is dataset.images else dataset.images
    problem = f"holds no {kind.folder}/"
    if not is_folder(root / other.folder):
        problem = f"holds neither {dataset.images.folder}/ nor {dataset.labels.folder}/"
    return Problem("layout", root, problem, *_explanation(root, kind, other, dataset))


def _explanation(
    root: Path, kind: FileKind, other: FileKind, dataset: DatasetDescriptor
) -> tuple[str, str]:
    """The likely cause why a folder is missing, and what to do."""
    place = root / kind.folder
    above = root.resolve().parents[:3]
    below = subfolders(root) + subfolders(root, "[!.]*/[!.]*")
    for folder in (*above, *below):
        if is_folder(folder / kind.folder) and is_folder(folder / other.folder):
            side = "inside" if folder in above else "above"
            return f"data_path lies {side} the data set", f"Set data_path to {folder}."
    for folder in below:
        if is_folder(folder / kind.folder):
            return (
                f"the zip was unpacked into a folder of its own, {folder}",
                f"Move {folder / kind.folder} to {place}.",
            )
    known = (kind.folder, other.folder, *dataset.related_folders, *dataset.split_sizes)
    if misspelt := _misspelt(place, known):
        return misspelt
    for packed in sorted(root.glob(f"{kind.folder}*.zip")):
        return f"{packed.name} is still packed", f"Unpack it there: unzip {packed} -d {root}."
    for name, holds in dataset.related_folders.items():
        if name.startswith(kind.folder[:2]) and is_folder(root / name):
            remedy = f"Unpack {kind.archive} in {root}."
            if name.startswith(f"{dataset.images.folder}_"):
                remedy += (
                    f" To use {name} instead, make a folder with {kind.folder}/ and {other.folder}/ in which its "
                    f"images have the usual names, <city>_<sequence>_<frame>{kind.suffix}."
                )
            return f"{name} holds {holds}, which are not used", remedy
    if is_folder(root / other.folder):
        return (
            f"only {other.archive.split()[0]} is unpacked here",
            f"Unpack {kind.archive} in {root} too.",
        )
    return (
        f"this is not the folder of {dataset.title}",
        f"Unpack {dataset.images.archive} and {dataset.labels.archive} into one folder, and set data_path to it.",
    )


def _misspelt(place: Path, known: Collection[str]) -> tuple[str, str] | None:
    """Cause and remedy if a folder beside the missing one was probably meant to be it. known: names of other things."""
    name = place.name.lower()
    others = {
        path.name.lower(): path for path in subfolders(place.parent) if path.name not in known
    }
    longer = (other for other in others if other.startswith(name))
    meant = nearest(name, others, cutoff=0.75) or next(longer, None)
    if meant is None:
        return None
    return f"{others[meant].name} is misspelt", f"Rename {others[meant]} to {place}."


def _none_found(
    place: Path, kind: FileKind, paths: list[Path], dataset: DatasetDescriptor
) -> Problem:
    """The problem of a split that has no file of this kind. paths: what is there instead."""
    sort = "layout"
    cause = "the zip was not unpacked completely"
    remedy = f"Unpack {kind.archive} again."
    others = [path for path in paths if path.suffix and not is_folder(path)]
    if others:
        example = others[0].name
        name = "<city>_<sequence>_<frame>" if kind.has_cities else "<name>"
        cause = f"the files there have other names, such as {example}"
        remedy = f"Name them {name}{kind.suffix}."
        if kind.has_cities and others[0].parent == place:
            cause = f"there are files directly in it, such as {example}"
            remedy = "Put each in the folder of its city."
        for suffix, holds in dataset.related_labels.items():
            if example.endswith(suffix):
                sort = "label encoding"
                cause = f"there are only other kinds of labels, such as {example}: {holds}"
                remedy = (
                    f"Unpack {dataset.labels.archive} again: it holds *{dataset.labels.suffix}."
                )
    wanted = kind.path(Path(), place.name, "<city>", "*")
    return Problem(sort, place, f"no file {wanted} was found", cause, remedy)
