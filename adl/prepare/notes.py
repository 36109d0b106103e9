"""What is worth knowing of a data set, and is no problem: it refuses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from adl.dataset.descriptor import IGNORE
from adl.prepare.images import in_pixels
from adl.prepare.layout import Split

RARE_CLASS = 1e-3
"""Share of the pixels below which a network may leave a class out and still score well."""
RARE_VALUE = 1e-4
"""Share of the pixels below which a value may come from an accident."""


def notes(splits: Mapping[str, Split], crop_size: int | None) -> list[str]:
    """A sentence or two each. splits: as they were checked. crop_size: of the training, if it is known."""
    read = [split for split in splits.values() if split.frames and split.counted == len(split.frames)]
    found = []
    for split in read:
        found += [*_absent_classes(split), *_rare_classes(split), *_rare_values(split)]
    if "train" in splits and "val" in splits:
        found += _one_series(splits["train"], splits["val"])
    if "train" in splits and crop_size:
        found += _small_images(splits["train"], crop_size)
    return found


def _absent_classes(split: Split) -> Iterator[str]:
    """Not of train, where it is a problem."""
    absent = [name for train_id, name in enumerate(split.dataset.class_names) if not split.shown[train_id]]
    if absent and split.name != "train":
        yield f"no label of the {split.name} split shows {', '.join(absent)}: the mIOU on it says nothing of that"


def _rare_classes(split: Split) -> Iterator[str]:
    dataset = split.dataset
    rare = {}
    for name, share in zip(dataset.class_names, split.shares, strict=False):
        if 0 < share < RARE_CLASS:
            rare[name] = share
    if rare:
        pixels = split.pixels[: len(dataset.classes)]
        # The IoU of the class that is answered is its share; that of every other class is 0.
        score = 100 * pixels.max() / pixels.sum() / np.count_nonzero(pixels)
        yield (
            f"of the pixels of the {split.name} split, {_listed(rare)}: a network that answers "
            f"{dataset.class_names[pixels.argmax()]} everywhere scores an mIOU of {score:.1f}"
        )


def _rare_values(split: Split) -> Iterator[str]:
    """Of classes with one value each, `_rare_classes` says it."""
    shares = split.numbers / max(1, split.numbers.sum())
    rare = {}
    for value in np.flatnonzero((shares > 0) & (shares < RARE_VALUE)).tolist():
        train_id = split.dataset.train_ids[value]
        if train_id == IGNORE or len(split.dataset.classes[train_id].values) > 1:
            rare[f"{value} ({split.dataset.label_names.get(value, 'not listed')})"] = shares[value]
    if rare:
        yield f"rare values in the labels of the {split.name} split, as slips leave them: {_listed(rare)}"


def _listed(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} has {100 * share:.2g} %" for name, share in shares.items())


def _one_series(train: Split, val: Split) -> Iterator[str]:
    """Frames on both sides that probably follow each other in one film."""
    of_train, of_val = _series(train), _series(val)
    for series in of_train.keys() & of_val.keys():
        yield (
            f"the names of {train.name} and {val.name} frames differ only in their number, such as "
            f"{of_train[series]} and {of_val[series]}: if they are of one film, the score is too high; "
            "`adl dataset split` draws splits by film"
        )
        return


def _series(split: Split) -> dict[str, str]:
    """What the names have before and after their last number → one of them."""
    return {re.sub(r"\d+(?=\D*$)", "#", frame.name): frame.name for frame in split.frames}


def _small_images(split: Split, crop_size: int) -> Iterator[str]:
    small = {size: count for size, count in split.sizes.items() if min(size) < crop_size}
    if small:
        yield (
            f"{sum(small.values()):,} of {len(split.frames):,} images of the {split.name} split are smaller than the "
            f"crop of {in_pixels((crop_size, crop_size))}, such as {in_pixels(min(small))}: ignored pixels are added "
            "to them; `crop_size` sets it"
        )
