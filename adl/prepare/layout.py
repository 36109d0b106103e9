"""Which frames of a data set are there, which of their files are missing, and which folder was meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adl.dataset.descriptor import DatasetDescriptor, FileKind, Frame
from adl.errors import nearest
from adl.prepare import (
    DataError,
    Problem,
    entries,
    is_broken_link,
    is_folder,
    is_hidden,
    subfolders,
    unreachable,
)


@dataclasses.dataclass
class Found:
    """A split's complete frames, sorted by city and name; the file of each frame; what is wrong with the layout.

    labels: None if they are withheld. hidden: files and folders whose names begin with a dot, which are left out.
    """

    frames: list[Frame] = dataclasses.field(default_factory=list)
    images: dict[str, Path] = dataclasses.field(default_factory=dict)
    labels: dict[str, Path] | None = None
    problems: list[Problem] = dataclasses.field(default_factory=list)
    hidden: int = 0

    def entries(self, folder: Path) -> list[Path]:
        """What is in a folder. What is hidden is only counted."""
        try:
            paths = entries(folder)
        except DataError as error:
            self.problems += error.problems
            return []
        visible = [path for path in paths if not is_hidden(path)]
        self.hidden += len(paths) - len(visible)
        return visible


def frames(root: str | Path, split: str, dataset: DatasetDescriptor) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name. Raises DataError with every problem."""
    found = pairs(Path(root), split, dataset)
    if found.problems:
        raise DataError(*found.problems)
    return found.frames


def pairs(root: Path, split: str, dataset: DatasetDescriptor) -> Found:
    """The frames of a split; where labels are withheld, every image is one."""
    found = Found()
    found.images = images = _files(found, root, dataset.images, split, dataset)
    labels: dict[str, Path] = {}
    is_withheld = split in dataset.withheld
    if not is_withheld:
        found.labels = labels = _files(found, root, dataset.labels, split, dataset)
    found.problems = _said_once(found.problems)
    unlisted = {
        problem.file.name
        for problem in found.problems
        if problem.kind in ("unreadable", "broken link")
    }
    for name, image in images.items():
        place = dataset.labels.path(root, split, image.parent.name, name)
        if is_withheld or name in labels:
            found.frames.append(Frame(name, image, labels.get(name, place)))
        elif labels and image.parent.name not in unlisted:
            found.problems.append(_without_label(image, place, dataset))
    for name, label in labels.items():
        if images and name not in images and label.parent.name not in unlisted:
            place = dataset.images.path(root, split, label.parent.name, name)
            found.problems.append(_without_image(label, place, dataset))
    return found


def missing_folders(root: Path, dataset: DatasetDescriptor) -> list[Problem]:
    """Why the folder of the images or that of the labels cannot be reached in `root`; empty if both can."""
    images = _missing_folder(root, dataset.images, dataset)
    return _said_once(images + _missing_folder(root, dataset.labels, dataset))


def _said_once(problems: list[Problem]) -> list[Problem]:
    """One remedy may help both folders."""
    return list({(problem.file, problem.remedy): problem for problem in problems}.values())


def _missing_folder(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> list[Problem]:
    folder = root / kind.folder
    problems = unreachable(root) or unreachable(folder)
    if problems:
        return problems
    if not root.is_dir():
        return [_no_root(root)]
    if not is_folder(folder):
        return [_missing(root, kind, dataset)]
    has_split = any(is_folder(folder / split) for split in dataset.split_sizes)
    if has_split or not is_folder(folder / folder.name):
        return []
    # It is `leftImg8bit/leftImg8bit/train`, or the same of the labels.
    problem = Problem(
        kind="layout",
        file=folder,
        problem=f"holds another {folder.name}/ instead of train/ and val/",
        cause="the zip was unpacked into a folder of its own",
        remedy=f"Move what is in {folder / folder.name} to {folder}",
    )
    return [problem]


def _misspelt(name: str, candidates: list[Path]) -> Path | None:
    """The folder that was probably meant by a name."""
    by_name = {path.name.lower(): path for path in candidates}
    meant = nearest(name.lower(), by_name, cutoff=0.75)
    if meant:
        return by_name[meant]
    for candidate, path in by_name.items():
        if candidate.startswith(name.lower()):
            return path
    return None


def _no_root(root: Path) -> Problem:
    if root.exists():
        remedy = "Unpack it, and set data_path to its folder"
        return Problem("data_path", root, "is a file", "the zip is not unpacked", remedy)
    remedy = "Set data_path to the folder that holds both"
    meant = nearest(root.name, [path.name for path in subfolders(root.absolute().parent)])
    if meant:
        remedy = f"Did you mean {root.parent / meant}?"
    cause = "the folder was moved, or its name is misspelt"
    return Problem("data_path", root, "does not exist", cause, remedy)


def _missing(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> Problem:
    images, labels = dataset.images.folder, dataset.labels.folder
    problem = f"holds no {kind.folder}/"
    if not is_folder(root / images) and not is_folder(root / labels):
        problem = f"holds neither {images}/ nor {labels}/"
    cause, remedy = _explanation(root, kind, dataset)
    return Problem("layout", root, problem, cause, remedy)


def _explanation(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> tuple[str, str]:
    """The likely cause why a folder is missing, and what to do."""
    other = dataset.labels if kind is dataset.images else dataset.images
    place = root / kind.folder
    children = subfolders(root)
    below = children.copy()
    for folder in children:
        below += subfolders(folder)
    above = root.resolve().parents[:3]
    for folder in (*above, *below):
        if is_folder(folder / kind.folder) and is_folder(folder / other.folder):
            side = "inside" if folder in above else "above"
            return f"data_path lies {side} the data set", f"Set data_path to {folder}"
    for folder in below:
        if is_folder(folder / kind.folder):
            cause = f"the zip was unpacked into a folder of its own, {folder}"
            return cause, f"Move {folder / kind.folder} to {place}"
    known = (kind.folder, other.folder, *dataset.related_folders, *dataset.split_sizes)
    meant = _misspelt(kind.folder, [path for path in children if path.name not in known])
    if meant:
        return f"{meant.name} is misspelt", f"Rename {meant} to {place}"
    for packed in sorted(root.glob(f"{kind.folder}*.zip")):
        return f"{packed.name} is still packed", f"Unpack it there: unzip {packed} -d {root}"
    for path in children:
        if path.name in dataset.related_folders and path.name.startswith(kind.folder[:2]):
            return _related(path, kind, dataset)
    if is_folder(root / other.folder):
        cause = f"only {other.archive.split()[0]} is unpacked here"
        return cause, f"Unpack {kind.archive} in {root} too"
    archives = f"{dataset.images.archive} and {dataset.labels.archive}"
    return (
        f"this is not the folder of {dataset.title}",
        f"Unpack {archives} into one folder, and set data_path to it",
    )


def _related(path: Path, kind: FileKind, dataset: DatasetDescriptor) -> tuple[str, str]:
    """Cause and remedy if another download of the same publisher, at `path`, lies there instead."""
    cause = f"{path.name} holds {dataset.related_folders[path.name]}, which are not used"
    remedy = f"Unpack {kind.archive} in {path.parent}"
    if path.name.startswith(f"{dataset.images.folder}_"):
        remedy += (
            f". To use {path.name} instead, make a folder with {kind.folder}/ and {dataset.labels.folder}/ in "
            f"which its images have the usual names, <city>_<sequence>_<frame>{dataset.images.suffix}"
        )
    return cause, remedy


def _files(
    found: Found, root: Path, kind: FileKind, split: str, dataset: DatasetDescriptor
) -> dict[str, Path]:
    """Frame → file, sorted by city and name. What is wrong there joins what was found."""
    known = len(found.problems)
    found.problems += _missing_folder(root, kind, dataset)
    if len(found.problems) > known:
        return {}
    place = root / kind.folder / split
    if not is_folder(place) and not is_broken_link(place):
        found.problems.append(_no_split(place, kind, dataset))
        return {}
    paths = found.entries(place)
    if kind.has_cities:
        for city in tuple(paths):
            if is_folder(city) or is_broken_link(city):
                paths += found.entries(city)
    files: dict[str, Path] = {}
    others = []
    for path in paths:
        name = path.name.removesuffix(kind.suffix)
        lacks_city = kind.has_cities and path.parent == place
        if name == path.name or lacks_city:
            if path.suffix and not is_folder(path):
                others.append(path)
        elif name.encode(errors="ignore").decode() != name:
            problem = "its name is not UTF-8, which a record requires"
            cause = "it was made on another system"
            found.problems.append(Problem("name", path, problem, cause, "Rename it"))
        elif name in files:
            problem = f"this frame is also in another city: {files[name]}"
            cause = "a folder was copied or unpacked into another"
            remedy = f"Keep the one in the folder {name.split('_', maxsplit=1)[0]}"
            found.problems.append(Problem("duplicate frame", path, problem, cause, remedy))
        else:
            files[name] = path
    if not files and len(found.problems) == known:
        found.problems.append(_none_found(place, kind, others, dataset))
    return files


def _incomplete(place: Path, problem: str, kind: FileKind) -> Problem:
    cause = "the zip was not unpacked completely"
    return Problem("layout", place, problem, cause, f"Unpack {kind.archive} again")


def _no_split(place: Path, kind: FileKind, dataset: DatasetDescriptor) -> Problem:
    problem = "does not exist"
    others = [path for path in subfolders(place.parent) if path.name not in dataset.split_sizes]
    meant = _misspelt(place.name, others)
    if meant is None:
        return _incomplete(place, problem, kind)
    cause = f"{meant.name} is misspelt"
    return Problem("layout", place, problem, cause, f"Rename {meant} to {place}")


def _none_found(
    place: Path, kind: FileKind, others: list[Path], dataset: DatasetDescriptor
) -> Problem:
    """The problem of a split that has no file of this kind. others: what is there instead."""
    cities = "<city>/" if kind.has_cities else ""
    problem = f"no file {kind.folder}/{place.name}/{cities}*{kind.suffix} was found"
    if not others:
        return _incomplete(place, problem, kind)
    example = others[0].name
    for suffix, holds in dataset.related_labels.items():
        if example.endswith(suffix):
            cause = f"there are only other kinds of labels, such as {example}: {holds}"
            remedy = f"Unpack {dataset.labels.archive} again: it holds *{dataset.labels.suffix}"
            return Problem("label encoding", place, problem, cause, remedy)
    if kind.has_cities and others[0].parent == place:
        cause = f"there are files directly in it, such as {example}"
        return Problem("layout", place, problem, cause, "Put each in the folder of its city")
    cause = f"the files there have other names, such as {example}"
    name = "<city>_<sequence>_<frame>" if kind.has_cities else "<name>"
    return Problem("layout", place, problem, cause, f"Name them {name}{kind.suffix}")


def _without_label(image: Path, label: Path, dataset: DatasetDescriptor) -> Problem:
    """label: where it should be."""
    cause = f"{dataset.labels.folder} was not unpacked completely, or the image was added"
    for suffix, holds in dataset.related_labels.items():
        other = label.name.removesuffix(dataset.labels.suffix) + suffix
        if label.with_name(other).exists():
            cause = f"only {other} is there: {holds}"
            break
    remedy = f"Unpack {dataset.labels.archive} again, or remove the image"
    return Problem("image without label", image, f"this image has no label {label}", cause, remedy)


def _without_image(label: Path, image: Path, dataset: DatasetDescriptor) -> Problem:
    """image: where it should be."""
    cause = f"{dataset.images.folder} was not unpacked completely, or only a part of it was copied"
    remedy = f"Unpack {dataset.images.archive} again, or remove the label"
    return Problem("label without image", label, f"this label has no image {image}", cause, remedy)
