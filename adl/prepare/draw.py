"""Splits that are drawn by group, so that the frames of one film lie on one side.

A draw is kept in datasets/NAME.split.json, which is committed, and holds until somebody asks for another.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from adl.dataset.descriptor import DatasetDescriptor, Draw
from adl.errors import AdlError
from adl.files import read_json, write_json
from adl.prepare import DataError, Problem
from adl.workspace import DATASETS

Names = Mapping[str, Sequence[str]]
"""Split → the names of its frames."""


def lock_file(dataset: DatasetDescriptor) -> Path:
    return DATASETS / f"{dataset.name}.split.json"


def read(dataset: DatasetDescriptor) -> Names:
    """The draw that is kept. Raises DataError if there is none, or if the data set's file now states another."""
    path = lock_file(dataset)
    if not path.exists():
        remedy = "Run `adl dataset split`, and commit the file that it writes."
        raise DataError(_problem(path, "does not exist", "the splits were not drawn yet, or not committed", remedy))
    try:
        content = read_json(path)
        splits, settings, digest = content["splits"], Draw(**content["draw"]), content["digest"]
        is_whole = digest == _digest(name for names in splits.values() for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        remedy = f"Bring it back (git checkout {path}), or draw anew (`adl dataset split --redraw`)."
        raise DataError(_problem(path, "is not as it was written", "it was edited by hand, or a merge failed", remedy))
    ours = _settings(dataset)
    if settings != ours:
        problem = f"was drawn with {settings.stated()}, but the data set's file states {ours.stated()}"
        remedy = "Change `draw:` back, or run `adl dataset split --redraw`, which gives frames another side."
        raise DataError(_problem(path, problem, "`draw:` was changed since", remedy))
    return splits


def locked(dataset: DatasetDescriptor, names: Collection[str]) -> Names:
    """The draw that is kept, if it is of these very names. Raises DataError as `read`, and if it is of others."""
    splits = read(dataset)
    drawn = {name for members in splits.values() for name in members}
    changes = []
    for what, some in (("are not in it", set(names) - drawn), ("of it are gone", drawn - set(names))):
        if some:
            changes.append(f"{len(some):,} images {what}, such as {min(some)}")
    if changes:
        remedy = "Run `adl dataset split`: every frame stays on its side, and only new groups are placed."
        cause = "images were added or removed since the splits were drawn"
        raise DataError(_problem(lock_file(dataset), " and ".join(changes), cause, remedy))
    return splits


def _problem(path: Path, problem: str, cause: str, remedy: str) -> Problem:
    return Problem("drawn splits", path, problem, cause, remedy)


def write(dataset: DatasetDescriptor, splits: Names) -> Path:
    """Keep a draw."""
    names = [name for members in splits.values() for name in members]
    content = {"draw": _settings(dataset).model_dump(), "digest": _digest(names), "splits": splits}
    write_json(lock_file(dataset), content)
    return lock_file(dataset)


def _settings(dataset: DatasetDescriptor) -> Draw:
    return dataset.draw or Draw()


def _digest(names: Iterable[str]) -> str:
    """Of what was drawn from."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def drawn(names: Collection[str], settings: Draw, kept: Names) -> dict[str, list[str]]:
    """Split → names, sorted. The shares are as near to the settings as whole groups allow, the larger share first.

    kept: an earlier draw; a group that has a frame in it stays where it is. Raises AdlError if a split remains empty,
    or if a name tells no group.
    """
    groups = defaultdict(list)
    for name in sorted(names):
        groups[group_of(name, settings)].append(name)
    side = {group_of(name, settings): split for split, members in kept.items() for name in members if name in names}
    new = [group for group in groups if group not in side]
    new = [new[n] for n in np.random.default_rng(settings.seed).permutation(len(new))]
    shares = {"val": settings.val, "test": settings.test}
    for split in sorted(shares, key=shares.__getitem__, reverse=True):
        there = sum(len(groups[group]) for group in side if side[group] == split)
        sizes = [len(groups[group]) for group in new]
        for n in nearest_sum(sizes, shares[split] * len(names) - there):
            side[new[n]] = split
        new = [group for group in new if group not in side]
    splits: dict[str, list[str]] = {"train": [], **{split: [] for split, share in shares.items() if share}}
    for group, members in groups.items():
        splits[side.get(group, "train")] += members
    for split, members in splits.items():
        if not members:
            raise AdlError(
                f"{len(names):,} images of {len(groups):,} groups leave nothing for {split}",
                "Choose a `group:` that makes more groups, or other shares.",
                where="draw",
            )
    return {split: sorted(members) for split, members in splits.items()}


def group_of(name: str, settings: Draw) -> str:
    """What the frames of one film share: the first group of the regular expression, else the name itself."""
    if not settings.group:
        return name
    match = re.search(settings.group, name)
    if match is None or match[1] is None:
        raise AdlError(f"{settings.group} does not match the name {name}", "Correct it.", where="draw.group")
    return match[1]


def nearest_sum(sizes: Sequence[int], wanted: float) -> list[int]:
    """Which of the sizes, by their places, add up to the sum that is nearest to the wanted one."""
    if wanted <= 0:
        return []
    # Each sum that can be reached → the first place at which it can be.
    place = np.full(int(wanted) + max(sizes, default=0) + 2, -1)
    place[0] = len(sizes)
    for n, size in enumerate(sizes):
        if place[round(wanted)] >= 0:
            break
        can_be = place[:-size] >= 0
        is_new = can_be & (place[size:] < 0)
        place[size:][is_new] = n
    sums = np.flatnonzero(place >= 0)
    rest = int(sums[np.abs(sums - wanted).argmin()])
    chosen = []
    while rest:
        chosen.append(int(place[rest]))
        rest -= sizes[chosen[-1]]
    return chosen
