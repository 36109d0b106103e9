"""Cityscapes as facts: labels, colours, normalisation, the names of its files and folders.

The label table is the official one, from `cityscapesscripts`; nothing here repeats it. What is checked about real files
is in the modules beside this one, so that a better message does not re-run a training.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from cityscapesscripts.helpers.labels import labels as _official

SPLITS = ("train", "val")
SPLIT_SIZES = {"train": 2975, "val": 500, "test": 1525}
WITHHELD = (
    "the labels of the test split are withheld by Cityscapes, so no mIOU can be computed here: `adl submission` writes "
    "the zip that the benchmark's server scores."
)

IGNORE = 255
LABELS = tuple(label for label in _official if label.id >= 0)
"""Every label with an id of its own in a `_labelIds.png`, 0-33."""
CLASSES = tuple(sorted((label for label in LABELS if label.trainId not in (-1, IGNORE)), key=lambda c: c.trainId))
"""The 19 evaluated classes, by train id."""
CLASS_NAMES = tuple(label.name for label in CLASSES)
CATEGORIES = tuple(dict.fromkeys(label.category for label in CLASSES))

TRAIN_ID = np.full(256, IGNORE, np.uint8)
"""Label id → train id, 255 where ignored."""
LABEL_ID = np.zeros(256, np.uint8)
"""Train id → label id; 0 (unlabeled) for all that is no class."""
for _label in CLASSES:
    TRAIN_ID[_label.id] = _label.trainId
    LABEL_ID[_label.trainId] = _label.id

COLOURS = np.zeros((256, 3), np.uint8)
"""Label id → RGB of the official palette."""
for _label in LABELS:
    COLOURS[_label.id] = _label.color

# ImageNet's statistics, which were stated for RGB; the published network applies them in BGR order.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

IMAGES, LABELLED = "leftImg8bit", "gtFine"
"""The two folders of the data set."""
IMAGE_SUFFIX = "_leftImg8bit.png"
LABEL_SUFFIX = "_gtFine_labelIds.png"


@dataclasses.dataclass(frozen=True)
class Frame:
    """One image and its label. name: `<city>_<sequence>_<frame>`."""

    name: str
    image: Path
    label: Path

    @property
    def city(self) -> str:
        return self.image.parent.name


def image_path(root: Path, split: str, city: str, name: str) -> Path:
    return root / IMAGES / split / city / f"{name}{IMAGE_SUFFIX}"


def label_path(root: Path, split: str, city: str, name: str) -> Path:
    return root / LABELLED / split / city / f"{name}{LABEL_SUFFIX}"


def prediction_path(root: Path, name: str) -> Path:
    """Where a predicted label map goes, as the official script expects to find it."""
    return root / name.split("_", maxsplit=1)[0] / f"{name}.png"
