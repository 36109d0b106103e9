"""Frames that a data set has twice: a score on them would be too good."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.prepare.faults import Fault
from adl.prepare.png import Header


def shared_frames(
    headers: Mapping[Path, Header], splits: Mapping[str, list[Frame]], dataset: DatasetDescriptor
) -> list[Fault]:
    """Images that are there twice, by their content, or in two splits, by their name. headers: of every image."""
    copies = _identical(headers, dataset)
    return copies + _same_names(splits, {fault.file for fault in copies})


def _identical(headers: Mapping[Path, Header], dataset: DatasetDescriptor) -> list[Fault]:
    """Images that are copies of another one: in a second city, or in another split."""
    by_length: defaultdict[int, list[Path]] = defaultdict(list)
    for path, header in headers.items():
        by_length[header.bytes].append(path)
    first: dict[str, Path] = {}
    faults = []
    for paths in by_length.values():
        if len(paths) == 1:
            continue
        for path in paths:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            original = first.setdefault(content, path)
            if original != path:
                faults.append(_copy(path, original, dataset))
    return faults


def _copy(path: Path, original: Path, dataset: DatasetDescriptor) -> Fault:
    problem = f"is the same image as {original}"
    one, other = _split_folder(original, dataset), _split_folder(path, dataset)
    if one != other:
        return _in_two_splits(path, problem, (one.name, other.name))
    cause, remedy = "it was copied or renamed", "Remove one of the two, with its label"
    return Fault("duplicate frame", path, problem, cause, remedy)


def _split_folder(image: Path, dataset: DatasetDescriptor) -> Path:
    return image.parent.parent if dataset.images.has_cities else image.parent


def _same_names(splits: Mapping[str, list[Frame]], known: set[Path]) -> list[Fault]:
    """Frames that two splits have, by their names. known: images that are reported already."""
    first: dict[str, tuple[str, Path]] = {}
    faults = []
    for split, frames in splits.items():
        for frame in frames:
            first_split, original = first.setdefault(frame.name, (split, frame.image))
            if original != frame.image and frame.image not in known:
                problem = f"has the same name as {original}"
                faults.append(_in_two_splits(frame.image, problem, (first_split, split)))
    return faults


def _in_two_splits(image: Path, problem: str, splits: tuple[str, str]) -> Fault:
    cause = f"{splits[0]} and {splits[1]} share this frame, so the score would be too high"
    return Fault(
        "frame in two splits", image, problem, cause, "Remove one of the two, with its label"
    )
