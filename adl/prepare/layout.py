"""Which frames of a data set are there, and which of their files are missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adl.dataset.descriptor import DatasetDescriptor, FileKind, Frame
from adl.prepare.faults import DataError, Fault, is_broken_link, is_folder
from adl.prepare.folders import barred, entries, hidden, misspelt, subfolders
from adl.prepare.missing import is_nested, missing_folders


@dataclasses.dataclass(frozen=True)
class Found:
    """A split's complete frames, sorted by city and name; the file of each frame; what is wrong with the layout.

    labels: None if they do not matter. hidden: files and folders whose names begin with a dot, which are left out.
    """

    frames: list[Frame]
    images: dict[str, Path]
    labels: dict[str, Path] | None
    faults: list[Fault]
    hidden: int


def frames(root: str | Path, split: str, dataset: DatasetDescriptor) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name. Raises DataError with every fault."""
    found = pairs(Path(root), split, dataset)
    faults = missing_folders(Path(root), dataset) or found.faults
    if faults:
        raise DataError(faults)
    return found.frames


def pairs(root: Path, split: str, dataset: DatasetDescriptor) -> Found:
    """The frames of a split. What `missing_folders` finds is not among the faults."""
    images, image_faults = _files(root, dataset.images, split, dataset)
    labels, label_faults = _files(root, dataset.labels, split, dataset)
    faults = image_faults + label_faults
    if images and labels:
        unseen = {
            fault.file.name for fault in faults if fault.kind in ("unreadable", "broken link")
        }
        for name, image in images.items():
            if name not in labels and image.parent.name not in unseen:
                faults.append(_without_label(root, split, name, image, dataset))
        for name, label in labels.items():
            if name not in images and label.parent.name not in unseen:
                faults.append(_without_image(root, split, name, label, dataset))
    complete = [
        Frame(name, image, labels[name]) for name, image in images.items() if name in labels
    ]
    left_out = sum(hidden(root / kind.folder / split) for kind in (dataset.images, dataset.labels))
    return Found(complete, images, labels, faults, left_out)


def unlabelled(root: Path, split: str, dataset: DatasetDescriptor) -> Found:
    """`pairs` for a split whose labels are withheld."""
    images, faults = _files(root, dataset.images, split, dataset)
    complete = []
    for name, image in images.items():
        label = dataset.labels.path(root, split, image.parent.name, name)
        complete.append(Frame(name, image, label))
    return Found(complete, images, None, faults, hidden(root / dataset.images.folder / split))


def _files(
    root: Path, kind: FileKind, split: str, dataset: DatasetDescriptor
) -> tuple[dict[str, Path], list[Fault]]:
    """Frame → file of one split, sorted by city and name, and what is wrong there."""
    folder = root / kind.folder
    place = folder / split
    if barred(folder) or not is_folder(folder) or is_nested(folder, dataset):
        return {}, []
    faults = barred(place)
    if not faults and not is_folder(place):
        faults = [_no_split(place, kind, dataset)]
    if faults:
        return {}, faults
    return _in_split(place, kind, dataset)


def _no_split(place: Path, kind: FileKind, dataset: DatasetDescriptor) -> Fault:
    candidates = [path for path in subfolders(place.parent) if path.name not in dataset.split_sizes]
    meant = misspelt(place.name, candidates)
    if meant:
        cause, remedy = f"{meant.name} is misspelt", f"Rename {meant} to {place}"
    else:
        cause, remedy = "the zip was not unpacked completely", f"Unpack {kind.archive} again"
    return Fault("layout", place, "does not exist", cause, remedy)


def _in_split(
    place: Path, kind: FileKind, dataset: DatasetDescriptor
) -> tuple[dict[str, Path], list[Fault]]:
    """The files of a split's folder, or of the folders of its cities."""
    in_place, faults = entries(place)
    paths = in_place
    others: list[Path] = []
    if kind.has_cities:
        paths = []
        others = [path for path in in_place if path.suffix and not is_folder(path)]
        for city in in_place:
            if is_folder(city) or is_broken_link(city):
                in_city, barred_faults = entries(city)
                paths += in_city
                faults += barred_faults
    found: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(kind.suffix)
        if name == path.name:
            others += [path] if path.suffix and not is_folder(path) else []
        elif not _is_utf_8(name):
            problem = "its name is not UTF-8, which a record requires"
            faults.append(
                Fault("name", path, problem, "it was made on another system", "Rename it")
            )
        elif name in found:
            faults.append(_duplicate(path, found[name], name))
        else:
            found[name] = path
    if not found and not faults:
        faults.append(_none_found(place, kind, others, dataset))
    return found, faults


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _duplicate(path: Path, first: Path, name: str) -> Fault:
    return Fault(
        kind="duplicate frame",
        file=path,
        problem=f"this frame is also in another city: {first}",
        cause="a folder was copied or unpacked into another",
        remedy=f"Keep the one in the folder {name.split('_', maxsplit=1)[0]}",
    )


def _none_found(
    place: Path, kind: FileKind, others: list[Path], dataset: DatasetDescriptor
) -> Fault:
    cities = "<city>/" if kind.has_cities else ""
    problem = f"no file {kind.folder}/{place.name}/{cities}*{kind.suffix} was found"
    if not others:
        return Fault(
            "layout",
            place,
            problem,
            "the zip was not unpacked completely",
            f"Unpack {kind.archive} again",
        )
    example = others[0]
    related = _related_label(example.name, dataset)
    if related:
        cause = f"there are only other kinds of labels, such as {example.name}: {related}"
        remedy = f"Unpack {dataset.labels.archive} again: it holds *{dataset.labels.suffix}"
        return Fault("label encoding", place, problem, cause, remedy)
    if kind.has_cities and example.parent == place:
        cause, remedy = (
            f"there are files directly in it, such as {example.name}",
            "Put each in the folder of its city",
        )
    else:
        cause = f"the files there have other names, such as {example.name}"
        name = "<city>_<sequence>_<frame>" if kind.has_cities else "<name>"
        remedy = f"Name them {name}{kind.suffix}"
    return Fault("layout", place, problem, cause, remedy)


def _related_label(name: str, dataset: DatasetDescriptor) -> str | None:
    """What a label file of another kind holds."""
    for suffix, holds in dataset.related_labels.items():
        if name.endswith(suffix):
            return holds
    return None


def _without_label(
    root: Path, split: str, name: str, image: Path, dataset: DatasetDescriptor
) -> Fault:
    label = dataset.labels.path(root, split, image.parent.name, name)
    cause = f"{dataset.labels.folder} was not unpacked completely, or the image was added"
    others = [
        f"{name}{suffix}"
        for suffix in dataset.related_labels
        if label.with_name(f"{name}{suffix}").exists()
    ]
    if others:
        cause = f"only {others[0]} is there: {_related_label(others[0], dataset)}"
    remedy = f"Unpack {dataset.labels.archive} again, or remove the image"
    return Fault("image without label", image, f"this image has no label {label}", cause, remedy)


def _without_image(
    root: Path, split: str, name: str, label: Path, dataset: DatasetDescriptor
) -> Fault:
    image = dataset.images.path(root, split, label.parent.name, name)
    cause = f"{dataset.images.folder} was not unpacked completely, or only a part of it was copied"
    remedy = f"Unpack {dataset.images.archive} again, or remove the label"
    return Fault("label without image", label, f"this label has no image {image}", cause, remedy)
