"""What the pipeline knows about a data set: its classes, its files, how its images are normalised.

Everything else is handed a `DatasetDescriptor`; only the stages, the commands and the two workers name `CITYSCAPES`.
What is checked about real files is in `adl.prepare`, so that a better message there does not trigger a new training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cityscapesscripts.helpers.labels import labels as _official_labels

from adl.errors import AdlError

IGNORE = 255
"""Train id of every pixel that belongs to no class."""


class DatasetClass(NamedTuple):
    """A class, or a label that is ignored. colour: RGB. label_ids: the values that mean it in a label file."""

    name: str
    colour: tuple[int, int, int]
    category: str
    label_ids: tuple[int, ...]


class FileKind(NamedTuple):
    """Either the images of a data set or its label maps, all of them 8-bit PNG files.

    pattern: path below the data set's root, made of {split}, {city} (or another group; may be missing) and {name}.
    archive: the download that holds these files, for messages.
    colour_type: of the PNG header: 0 grey, 2 RGB.
    """

    pattern: str
    archive: str
    colour_type: int

    @property
    def folder(self) -> str:
        return self.pattern.partition("/{split}")[0]

    @property
    def suffix(self) -> str:
        return self.pattern.rpartition("{name}")[2]

    @property
    def has_cities(self) -> bool:
        return "{city}" in self.pattern

    def path(self, root: Path, split: str, city: str, name: str) -> Path:
        return root / self.pattern.format(split=split, city=city, name=name)


@dataclasses.dataclass(frozen=True)
class DatasetDescriptor:
    """A data set as a value.

    name: short, in lower case; record files begin with it. title: for people.
    classes: those that are trained and scored, by train id. ignored: labels that exist and are not scored.
    split_sizes: split → number of images of the complete data set.
    withheld: split → why it has no labels, as a sentence without its full stop.
    related_folders: folders of the same publisher that are mistaken for the images or labels → what they hold.
    related_labels: suffixes of other label files → what those hold.
    channels: order of the channels that the network sees. mean, std: of each channel in that order, of values 0-1.
    """

    name: str
    title: str
    classes: tuple[DatasetClass, ...]
    ignored: tuple[DatasetClass, ...]
    split_sizes: Mapping[str, int]
    images: FileKind
    labels: FileKind
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "BGR"
    withheld: Mapping[str, str] = dataclasses.field(default_factory=dict)
    related_folders: Mapping[str, str] = dataclasses.field(default_factory=dict)
    related_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check_classes(self, number: int, source: str) -> None:
        """Raises AdlError if something is made for another number of classes. source: what says the number."""
        if number != len(self.classes):
            raise AdlError(f"{source}: {number}, but {self.title} has {len(self.classes)} classes.")

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.classes)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In the order of their classes."""
        return tuple(dict.fromkeys(label.category for label in self.classes))

    @cached_property
    def label_names(self) -> dict[int, str]:
        """Every value that a label file may hold → its name, ascending."""
        names = {}
        for label in (*self.classes, *self.ignored):
            for label_id in label.label_ids:
                names[label_id] = label.name
        return dict(sorted(names.items()))

    @cached_property
    def train_ids(self) -> np.ndarray:
        """(256,) uint8: label id → train id, 255 where ignored."""
        table = np.full(256, IGNORE, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[list(label.label_ids)] = train_id
        return table

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(256,) uint8: train id → the label id that is written for it; 255 becomes the first ignored label."""
        void = self.ignored[0].label_ids[0] if self.ignored else IGNORE
        table = np.full(256, void, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[train_id] = label.label_ids[0]
        return table

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8: train id → RGB, black where no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.classes)] = [label.colour for label in self.classes]
        return table

    @property
    def labelled_splits(self) -> tuple[str, ...]:
        return tuple(split for split in self.split_sizes if split not in self.withheld)

    def prediction_path(self, root: Path, name: str) -> Path:
        """Where a predicted label map goes: where the official script of Cityscapes looks for it."""
        city = name.partition("_")[0] if self.images.has_cities else ""
        return root / city / f"{name}.png"


class Frame(NamedTuple):
    """One image and its label map. name: unique in the data set; in Cityscapes `<city>_<sequence>_<frame>`."""

    name: str
    image: Path
    label: Path


def _cityscapes() -> DatasetDescriptor:
    """The label table is the official one, from `cityscapesscripts`; nothing here repeats it."""
    classes: list[DatasetClass] = []
    ignored: list[DatasetClass] = []
    for label in _official_labels:  # in the order of their train ids
        entries = ignored if label.trainId == IGNORE else classes
        if label.id >= 0:  # the licence plate has no id of its own
            entries.append(DatasetClass(label.name, label.color, label.category, (label.id,)))
    return DatasetDescriptor(
        name="cityscapes",
        title="Cityscapes",
        classes=tuple(classes),
        ignored=tuple(ignored),
        split_sizes={"train": 2975, "val": 500, "test": 1525},
        images=FileKind(
            pattern="leftImg8bit/{split}/{city}/{name}_leftImg8bit.png",
            archive="leftImg8bit_trainvaltest.zip (the 3rd, 11 GB)",
            colour_type=2,
        ),
        labels=FileKind(
            pattern="gtFine/{split}/{city}/{name}_gtFine_labelIds.png",
            archive="gtFine_trainvaltest.zip (the 1st, 241 MB)",
            colour_type=0,
        ),
        # ImageNet's statistics, which were stated for RGB; the published network applies them in BGR order.
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        withheld={
            "test": "the labels of the test split are withheld by Cityscapes, so no mIOU can be computed here: "
            "`adl submission` writes the zip that the benchmark's server scores"
        },
        related_folders={
            "leftImg8bit_foggy": "the images with fog added",
            "leftImg8bit_foggyDBF": "the images with fog added",
            "leftImg8bit_rain": "the images with rain added",
            "leftImg8bit_sequence": "the frames before and after the labelled ones",
            "leftImg8bit_blurred": "the images with faces and number plates blurred",
            "leftImg16bit": "the images with 16 bits",
            "rightImg8bit": "the images of the right camera",
            "gtCoarse": "the coarse labels",
            "gtBbox3d": "3D boxes",
            "gtBboxCityPersons": "boxes of persons",
            "disparity": "depth",
            "camera": "the cameras' calibration",
            "vehicle": "the vehicle's speed and position",
            "timestamp": "the time of each image",
        },
        related_labels={
            "_gtFine_labelTrainIds.png": "train ids, made by another tool",
            "_gtFine_color.png": "the coloured picture for people",
            "_gtFine_instanceIds.png": "the instances, 16-bit",
            "_gtFine_polygons.json": "the outlines",
        },
    )


CITYSCAPES = _cityscapes()
