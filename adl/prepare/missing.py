"""Why the folders of images and labels are not where `data_path` points, and which folder was meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adl.dataset.descriptor import DatasetDescriptor, FileKind
from adl.errors import nearest
from adl.prepare.faults import Fault, is_folder
from adl.prepare.folders import barred, misspelt, subfolders

_DEEPEST = 2


def missing_folders(
    root: Path, dataset: DatasetDescriptor, kinds: tuple[FileKind, ...] = ()
) -> list[Fault]:
    """Why the folder of the images or that of the labels cannot be reached in `root`; empty if both can.

    kinds: only these of the two.
    """
    wanted = kinds or (dataset.images, dataset.labels)
    faults = barred(root)
    if faults:
        return faults
    for kind in wanted:
        faults += barred(root / kind.folder)
    if faults:
        return faults
    if not root.is_dir():
        return [_no_root(root)]
    for kind in wanted:
        if not is_folder(root / kind.folder):
            faults.append(_missing(root, kind, dataset))
        elif is_nested(root / kind.folder, dataset):
            faults.append(_nested(root / kind.folder))
    return _said_once(faults)


def is_nested(place: Path, dataset: DatasetDescriptor) -> bool:
    """Is it `leftImg8bit/leftImg8bit/train`, or the same of the labels?"""
    return is_folder(place / place.name) and not any(
        is_folder(place / split) for split in dataset.split_sizes
    )


def _no_root(root: Path) -> Fault:
    if root.exists():
        return Fault(
            "data_path",
            root,
            "is a file",
            "the zip is not unpacked",
            "Unpack it, and set data_path to its folder",
        )
    meant = nearest(root.name, [path.name for path in subfolders(root.absolute().parent)])
    remedy = (
        f"Did you mean {root.parent / meant}?"
        if meant
        else "Set data_path to the folder that holds both"
    )
    return Fault(
        "data_path", root, "does not exist", "the folder was moved, or its name is misspelt", remedy
    )


def _said_once(faults: list[Fault]) -> list[Fault]:
    """If one sentence explains both folders, it is said once."""
    distinct = {}
    for fault in faults:
        explanation = fault.problem if "holds neither" in fault.problem else fault.cause
        distinct[explanation, fault.remedy] = fault
    return list(distinct.values())


def _missing(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> Fault:
    images, labels = dataset.images.folder, dataset.labels.folder
    has_neither = not is_folder(root / images) and not is_folder(root / labels)
    problem = (
        f"holds neither {images}/ nor {labels}/" if has_neither else f"holds no {kind.folder}/"
    )
    cause, remedy = _explanation(root, kind, dataset)
    return Fault("layout", root, problem, cause, remedy)


def _explanation(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> tuple[str, str]:
    """The likely cause why a folder is missing, and what to do."""
    other = dataset.labels if kind is dataset.images else dataset.images
    for above in list(root.resolve().parents)[:3]:
        if is_folder(above / kind.folder) and is_folder(above / other.folder):
            return "data_path lies inside the data set", f"Set data_path to {above}"
    below = next(_below(root, kind.folder), None)
    if below and is_folder(below.parent / other.folder):
        return "data_path lies above the data set", f"Set data_path to {below.parent}"
    if below:
        return (
            f"the zip was unpacked into a folder of its own, {below.parent}",
            f"Move {below} to {root / kind.folder}",
        )
    known = (kind.folder, other.folder, *dataset.related_folders, *dataset.split_sizes)
    meant = misspelt(kind.folder, [path for path in subfolders(root) if path.name not in known])
    if meant:
        return f"{meant.name} is misspelt", f"Rename {meant} to {root / kind.folder}"
    packed = sorted(root.glob(f"{kind.folder}*.zip"))
    if packed:
        return f"{packed[0].name} is still packed", f"Unpack it there: unzip {packed[0]} -d {root}"
    return _related(root, kind, dataset) or _not_unpacked(root, kind, other, dataset)


def _related(root: Path, kind: FileKind, dataset: DatasetDescriptor) -> tuple[str, str] | None:
    """If another download of the same publisher lies there instead."""
    for path in subfolders(root):
        if path.name in dataset.related_folders and path.name.startswith(kind.folder[:2]):
            cause = f"{path.name} holds {dataset.related_folders[path.name]}, which are not used"
            remedy = f"Unpack {kind.archive} in {root}"
            if path.name.startswith(f"{dataset.images.folder}_"):
                remedy += (
                    f". To use {path.name} instead, make a folder with {kind.folder}/ and {dataset.labels.folder}/ in "
                    f"which its images have the usual names, <city>_<sequence>_<frame>{dataset.images.suffix}"
                )
            return cause, remedy
    return None


def _not_unpacked(
    root: Path, kind: FileKind, other: FileKind, dataset: DatasetDescriptor
) -> tuple[str, str]:
    if is_folder(root / other.folder):
        return (
            f"only {other.archive.split()[0]} is unpacked here",
            f"Unpack {kind.archive} in {root} too",
        )
    archives = f"{dataset.images.archive} and {dataset.labels.archive}"
    return (
        f"this is not the folder of {dataset.title}",
        f"Unpack {archives} into one folder, and set data_path to it",
    )


def _nested(place: Path) -> Fault:
    return Fault(
        kind="layout",
        file=place,
        problem=f"holds another {place.name}/ instead of train/ and val/",
        cause="the zip was unpacked into a folder of its own",
        remedy=f"Move what is in {place / place.name} to {place}",
    )


def _below(root: Path, folder: str, depth: int = 1) -> Iterator[Path]:
    """Folders of this name somewhat below root, the higher ones first."""
    children = subfolders(root)
    yield from (child / folder for child in children if is_folder(child / folder))
    if depth < _DEEPEST:
        for child in children:
            yield from _below(child, folder, depth + 1)
