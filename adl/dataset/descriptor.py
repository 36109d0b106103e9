"""A data set as a value, as `datasets/NAME.yaml` describes it: its classes, its files, how its images are normalised.

Everything else is handed a `DatasetDescriptor`. What is checked about real files is in `adl.prepare`, so that a better
message there does not trigger a new training.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.errors import AdlError, nearest, unknown

IGNORE = 255
"""Train id of every pixel that belongs to no class."""
SHIPPED = Path(__file__).parents[1] / "datasets"
"""The data sets that come with the project; in its folder, `datasets` itself."""
FIELDS = ("split", "group", "name")
"""What may stand in braces in a pattern."""

Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], Field(strict=False)]


class _Section(BaseModel):
    """Types are exact, and unknown keys are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class DatasetClass(_Section):
    """A class, or a label that is ignored.

    colour: RGB. values: those that mean it in a label file; the first is written for it. category: of several classes.
    """

    name: str = Field(min_length=1)
    colour: Colour = (0, 0, 0)
    values: Annotated[tuple[Byte, ...], Field(strict=False)] = ()
    category: str = ""


class SplitFiles(_Section):
    """Where the files of a split are.

    folder: what stands for {split}. labels: "withheld" if there are none. note: what to do instead of scoring them.
    """

    folder: str = Field(min_length=1)
    labels: Literal["given", "withheld"] = "given"
    note: str = ""


class Files(_Section):
    """The images of a data set, or its labels.

    pattern: path below the data set's root, made of {split}, {group} (any one folder) and {name}. source: where to get
    these files, for messages.
    """

    colour_type: ClassVar[int]
    pattern: str
    source: str = ""

    @property
    def folder(self) -> str:
        """What the pattern begins with in every split, "" if nothing."""
        return self.pattern.partition("{")[0].rpartition("/")[0]

    @property
    def suffix(self) -> str:
        """What follows the frame's name."""
        return self.pattern.rpartition("{name}")[2]

    @property
    def has_groups(self) -> bool:
        return "{group}" in self.pattern

    def name_in(self, file: str) -> str | None:
        """The frame's name in that of its file; None if it is none of these files."""
        before, after = self.pattern.rpartition("/")[2].split("{name}")
        name = file.removeprefix(before).removesuffix(after)
        return name if f"{before}{name}{after}" == file and name else None

    def place(self, split: str) -> Path:
        """The folder below the root that holds all files of a split, and those of no other, if the pattern has one."""
        parts = PurePosixPath(self.pattern).parts
        fixed = next(n for n, part in enumerate(parts) if "{group}" in part or "{name}" in part)
        return Path(*(part.replace("{split}", split) for part in parts[:fixed]))

    def path(self, root: Path, split: str, group: str, name: str) -> Path:
        return root / self.pattern.format(split=split, group=group, name=name)


class Images(Files):
    """The images, 8-bit RGB PNG."""

    colour_type: ClassVar[int] = 2


class Labels(Files):
    """The labels. format: ids: 8-bit grey PNG with a value for each pixel."""

    colour_type: ClassVar[int] = 0
    format: Literal["ids"]


class Normalisation(_Section):
    """channels: their order in the network. mean, std: of each channel in that order, of values 0-1.

    By default ImageNet's statistics, which were stated for RGB; the published network applies them in BGR order.
    """

    channels: Literal["BGR", "RGB"] = "BGR"
    mean: Annotated[tuple[float, float, float], Field(strict=False)] = (0.485, 0.456, 0.406)
    std: Annotated[tuple[float, float, float], Field(strict=False)] = (0.229, 0.224, 0.225)


class DatasetDescriptor(_Section):
    """A data set.

    name: short, in lower case. title: for people. source: where to get the files. classes: those that are trained and
    scored, by train id. ignored: labels that exist and are not scored. unlisted: whether another value is a problem, or
    is ignored. expect: split → number of images that it must have. related: folders and endings of files that are
    mistaken for the images or labels → what they hold.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = Field(min_length=1)
    source: str = ""
    splits: dict[str, SplitFiles]
    expect: dict[str, int] = {}
    images: Images
    labels: Labels
    classes: Annotated[tuple[DatasetClass, ...], Field(strict=False)]
    ignored: Annotated[tuple[DatasetClass, ...], Field(strict=False)] = ()
    unlisted: Literal["error", "ignore"] = "error"
    normalise: Normalisation = Normalisation()
    related: dict[str, str] = {}

    @field_validator("splits", mode="before")
    @classmethod
    def _folders(cls, splits: Any) -> Any:
        """`val: val` stands for `val: {folder: val}`."""
        if not isinstance(splits, dict):
            return splits
        return {name: {"folder": split} if isinstance(split, str) else split for name, split in splits.items()}

    @model_validator(mode="after")
    def _is_possible(self) -> DatasetDescriptor:
        faults = list(_contradictions(self))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def withheld(self) -> dict[str, str]:
        """Split without labels → why it cannot be scored, as a sentence without its full stop."""
        reasons = {}
        for name, split in self.splits.items():
            if split.labels == "withheld":
                reasons[name] = (
                    f"the labels of the {name} split are withheld by {self.title}, so no mIOU can be computed"
                )
                if split.note:
                    reasons[name] += f": {split.note}"
        return reasons

    def source_of(self, files: Files) -> str:
        """Where to get the images, or the labels."""
        return files.source or self.source or f"the source of {self.title}"

    @property
    def labelled_splits(self) -> tuple[str, ...]:
        return tuple(name for name, split in self.splits.items() if split.labels == "given")

    def check_labelled(self, split: str) -> None:
        """Raises AdlError if there is no such split, or if it has no labels."""
        if split not in self.splits:
            raise unknown(f"split of {self.title}", split, self.splits)
        if split in self.withheld:
            raise AdlError(f"{split}: {self.withheld[split]}.")

    @property
    def related_folders(self) -> dict[str, str]:
        return {name: holds for name, holds in self.related.items() if "." not in name}

    @property
    def related_labels(self) -> dict[str, str]:
        """Endings of other label files → what those hold."""
        return {name: holds for name, holds in self.related.items() if "." in name}

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.classes)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """In the order of their classes; empty if the classes have none."""
        return tuple(dict.fromkeys(label.category for label in self.classes if label.category))

    @cached_property
    def label_names(self) -> dict[int, str]:
        """Every value that a label file may hold → its name, ascending."""
        labels = (*self.classes, *self.ignored)
        return dict(sorted((value, label.name) for label in labels for value in label.values))

    @cached_property
    def train_ids(self) -> np.ndarray:
        """(256,) uint8: value in a label file → train id, 255 where ignored."""
        table = np.full(256, IGNORE, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[list(label.values)] = train_id
        return table

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(256,) uint8: train id → the value that is written for it: the class's first, else the train id itself.

        255 becomes the first ignored value, else it stays.
        """
        void = [value for label in self.ignored for value in label.values]
        table = np.full(256, void[0] if void else IGNORE, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[train_id] = label.values[0] if label.values else train_id
        return table

    @cached_property
    def palette(self) -> np.ndarray:
        """(256, 3) uint8: train id → RGB, black where no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.classes)] = [label.colour for label in self.classes]
        return table

    def prediction_path(self, root: Path, name: str) -> Path:
        """Where a predicted label map goes: with groups, as Cityscapes' official script expects it."""
        group = name.partition("_")[0] if self.images.has_groups else ""
        return root / group / f"{name}.png"

    def to_json(self) -> dict[str, Any]:
        """All of it, for a sidecar; `parse` reads it again."""
        return self.model_dump(mode="json")


class Frame(NamedTuple):
    """One image and its label map. name: unique in the data set."""

    name: str
    image: Path
    label: Path


def load(path: str | Path) -> DatasetDescriptor:
    """Read the file of a data set. Raises AdlError with everything that is wrong in it."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AdlError(
            f"cannot be read ({error.strerror})", "The parameter dataset names the file of a data set.", where=path
        ) from None
    except UnicodeDecodeError as error:
        raise AdlError(f"not UTF-8 text ({error})", "Save it as UTF-8.", where=path) from None
    try:
        content = YAML(typ="safe").load(text)
    except (YAMLError, ValueError) as error:
        advice = "\nYAML takes no tabs: indent with spaces." if "\t" in text else ""
        raise AdlError(f"not valid YAML.\n{error}{advice}", where=path) from None
    return parse(content, path)


def parse(content: Any, where: object) -> DatasetDescriptor:
    """A data set as YAML or JSON holds it. Raises AdlError, of `where`, with everything that is wrong in it."""
    try:
        return DatasetDescriptor.model_validate(content)
    except ValidationError as error:
        faults = [line for found in error.errors() for line in _fault(found)]
    raise AdlError("\n  ".join([f"{where}: is not valid:", *faults]))


def shipped(name: str) -> DatasetDescriptor:
    """One that comes with the project."""
    return load(SHIPPED / f"{name}.yaml")


def of_sidecar(content: Mapping[str, Any], where: object) -> DatasetDescriptor:
    """The data set that a model was trained on. content: of its sidecar.

    Sidecars held none while there was only Cityscapes. Raises AdlError if the model cannot be of that.
    """
    if "dataset" in content:
        return parse(content["dataset"], where)
    dataset = shipped("cityscapes")
    classes = content.get("architecture", {}).get("num_classes", len(dataset.classes))
    if classes != len(dataset.classes):
        raise AdlError(
            f"names no data set, as those of models of Cityscapes did, but {classes} classes",
            "To train from its other weights, set ckpt_name to it and ckpt_classifier to false.",
            where=where,
        )
    return dataset


def _contradictions(dataset: DatasetDescriptor) -> Iterator[str]:
    """What no data set can be."""
    for split in ("train", "val"):
        if split not in dataset.splits:
            yield f"splits: {split} is missing."
        elif split in dataset.withheld:
            yield f"splits.{split}: needs labels."
    for name in dataset.expect.keys() - dataset.splits.keys():
        yield f"expect: there is no split {name}."
    for section, files in (("images", dataset.images), ("labels", dataset.labels)):
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(files.pattern) if field is not None}
        except ValueError as error:
            yield f"{section}.pattern: {error}."
            continue
        for field in sorted(fields.difference(FIELDS)):
            yield f"{section}.pattern: {{{field}}} has no meaning; there are {{split}}, {{group}} and {{name}}."
        *folders, file = files.pattern.split("/")
        if "{name}" not in file or "{split}" in file or "{group}" in file:
            yield f"{section}.pattern: must end with a file's name that holds {{name}}, and no other name in braces."
        if not any("{split}" in folder for folder in folders):
            yield f"{section}.pattern: {{split}} must stand in a folder's name."
        if files.has_groups and folders[-1] != "{group}":
            yield f"{section}.pattern: {{group}} must be the whole name of the last folder."
    if not 2 <= len(dataset.classes) <= IGNORE:
        yield f"classes: there must be 2 to {IGNORE}, not {len(dataset.classes)}."
    labels = (*dataset.classes, *dataset.ignored)
    for what, found in (
        ("name", Counter(label.name for label in labels)),
        ("value", Counter(value for label in labels for value in label.values)),
        ("colour", Counter(label.colour for label in dataset.classes)),
    ):
        for thing, times in found.items():
            if times > 1:
                yield f"classes: the {what} {thing} is given {times} times."


def _fault(error: ErrorDetails) -> list[str]:
    """What pydantic found, in words: where, what stands there, and what is expected."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":
        return str(error["ctx"]["error"]).splitlines()
    if error["type"] == "extra_forbidden":
        known = {name for section in _SECTIONS for name in section.model_fields}
        meant = nearest(str(error["loc"][-1]), known)
        return [f"{place}: unknown key{f'; did you mean {meant}?' if meant else '.'}"]
    if error["type"] == "missing":
        return [f"{place}: missing."]
    hint = ""
    if isinstance(error["input"], bool):
        hint = " YAML takes true and false, and older tools yes, no, on and off, for truth values: write it in quotes."
    message = error["msg"]
    return [f"{place}: {error['input']!r} is not accepted: {message[0].lower()}{message[1:]}.{hint}"]


_SECTIONS = (DatasetDescriptor, SplitFiles, Images, Labels, DatasetClass, Normalisation)
