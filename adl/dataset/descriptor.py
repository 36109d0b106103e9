"""A data set as a value, as `datasets/NAME.yaml` describes it: its classes, its files, how its images are normalised.

Everything else is handed a `DatasetDescriptor`. What is checked about real files is in `adl.prepare`, so that a better
message there does not trigger a new training.
"""

from __future__ import annotations

import json
import re
import string
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

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

Format = Literal["ids", "palette", "colours", "labelme", "coco", "cityscapes-polygons", "yolo"]
OF_NUMBERS: tuple[Format, ...] = ("ids", "palette")
"""Formats in which a pixel holds a number."""
OF_NAMES: tuple[Format, ...] = ("labelme", "coco", "cityscapes-polygons")
"""Formats in which a polygon bears the name of its class."""

Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, Byte, Byte], Field(strict=False)]
Value = Byte | Colour | str


class _Section(BaseModel):
    """Types are exact, and unknown keys are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True)


class DatasetClass(_Section):
    """A class, or a label that is ignored.

    colour: RGB. values: what means it in a label file: numbers, colours or names, as the format has it. category: of
    several classes.
    """

    name: str = Field(min_length=1)
    colour: Colour = (0, 0, 0)
    values: Annotated[tuple[Value, ...], Field(strict=False)] = ()
    category: str = ""


class SplitFiles(_Section):
    """Where the files of a split are.

    folder: what stands for {split}. listed (in the file: `list`): a file below the data set's root with a line for each
    frame: its name, or the paths of its image and its label. prefix: what these paths begin with that is no folder
    here. labels: "withheld" if there are none. note: what to do instead of scoring them.
    """

    folder: str = ""
    listed: str = Field(default="", alias="list")
    prefix: str = ""
    labels: Literal["given", "withheld"] = "given"
    note: str = ""


class Draw(_Section):
    """Splits that are drawn from images that all lie in one folder (`adl dataset split`).

    val, test: their parts of the images; train has the rest. group: a regular expression, whose first group in a
    frame's name tells what must lie on one side; without it, every image stands alone. seed: of the draw.
    """

    val: float = Field(default=0.15, gt=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    group: str = ""
    seed: int = Field(default=0, ge=0)

    def stated(self) -> str:
        """As YAML."""
        return json.dumps(self.model_dump())


class Files(_Section):
    """The images of a data set, or its labels.

    pattern: path below the data set's root, made of {split}, {group} (any one folder) and {name}. source: where to get
    these files, for messages. suffixes: others that may stand for the pattern's.
    """

    pattern: str
    source: str = ""
    suffixes: Annotated[tuple[str, ...], Field(strict=False)] = ()

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
        before, _, after = self.pattern.rpartition("/")[2].partition("{name}")
        stem, _, _ = after.rpartition(".")
        for ending in (after, *(f"{stem}{suffix}" for suffix in self.suffixes)):
            name = file.removeprefix(before).removesuffix(ending)
            if name and f"{before}{name}{ending}" == file:
                return name
        return None

    def place(self, split: str) -> Path:
        """The folder below the root that holds all files of a split, and those of no other, if the pattern has one.

        Of COCO, the file.
        """
        parts = PurePosixPath(self.pattern).parts
        fixed = next((n for n, part in enumerate(parts) if "{group}" in part or "{name}" in part), None)
        return Path(*(part.replace("{split}", split) for part in parts[:fixed]))

    def path(self, root: Path, split: str, group: str, name: str) -> Path:
        # Without a folder of its own, a split's files lie where those of all splits do.
        return root / self.pattern.format(split=split, group=group, name=name).lstrip("/")


class Images(Files):
    """The images: PNG or JPEG of 8 bits.

    orientation: what EXIF says of it is applied, or is a problem. channels: any: grey, RGB, or RGBA without a
    transparent pixel. sizes: those of a split may differ, or not.
    """

    orientation: Literal["apply", "refuse"] = "refuse"
    channels: Literal["any", "RGB"] = "any"
    sizes: Literal["any", "one"] = "any"


class Labels(Files):
    """The labels.

    format: ids: grey PNG, a number for each pixel. palette: PNG with a palette, whose indices count. colours: RGB PNG.
    labelme, cityscapes-polygons, yolo: a file of polygons for each image; coco: one for each split. Of polygons,
    outside: name of the class of what no polygon covers, or "ignored". overlap: which of two wins, the later (order),
    or the smaller (area).
    """

    format: Format
    outside: str = ""
    overlap: Literal["order", "area"] | None = None


class Normalisation(_Section):
    """channels: their order in the network. mean, std: of each channel in that order, of values 0-1.

    By default ImageNet's statistics, which were stated for RGB; the published network applies them in BGR order.
    """

    channels: Literal["BGR", "RGB"] = "BGR"
    mean: Annotated[tuple[float, float, float], Field(strict=False)] = (0.485, 0.456, 0.406)
    std: Annotated[tuple[float, float, float], Field(strict=False)] = (0.229, 0.224, 0.225)


class DatasetDescriptor(_Section):
    """A data set.

    name: short, in lower case. title: for people. source: where to get the files. draw: how the splits are drawn, if
    they are neither folders nor lists. classes: those that are trained and scored, by train id. ignored: labels that
    exist and are not scored. unlisted: whether another value is a problem, or is ignored. expect: split → number of
    images that it must have. related: folders and endings of files that are mistaken for the images or labels → what
    they hold.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = Field(min_length=1)
    source: str = ""
    splits: dict[str, SplitFiles]
    draw: Draw | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _drawn(cls, content: Any) -> Any:
        """Splits that are drawn need not be listed."""
        if not isinstance(content, dict) or not isinstance(content.get("draw"), dict):
            return content
        test = content["draw"].get("test", Draw.model_fields["test"].default)
        names = ("train", "val", "test") if test else ("train", "val")
        return {"splits": {name: {} for name in names}} | content

    @model_validator(mode="before")
    @classmethod
    def _sources(cls, content: Any) -> Any:
        """Images and labels have the source of the data set, unless they say otherwise."""
        if not isinstance(content, dict) or not isinstance(content.get("source"), str):
            return content
        source = {"source": content["source"]}
        content = dict(content)
        for section in ("images", "labels"):
            files = content.get(section)
            if isinstance(files, dict):
                content[section] = source | files
            elif isinstance(files, Files) and not files.source:
                content[section] = files.model_copy(update=source)
        return content

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
    def meanings(self) -> dict[Value, int]:
        """Everything that label files may hold → its train id, 255 where ignored."""
        found: dict[Value, int] = {}
        is_counted = self.labels.format == "yolo" and not any(label.values for label in self.classes)
        for train_id, label in enumerate((*self.classes, *self.ignored)):
            is_class = train_id < len(self.classes)
            implied: tuple[Value, ...] = (label.name,)
            if self.labels.format == "colours":
                implied = (label.colour,)
            elif self.labels.format == "yolo":
                implied = (train_id,) if is_counted and is_class else ()
            for value in label.values or implied:
                found[value] = train_id if is_class else IGNORE
        return found

    @property
    def outside(self) -> int:
        """Train id of pixels that no polygon covers."""
        name = self.labels.outside
        return self.class_names.index(name) if name in self.class_names else IGNORE

    @cached_property
    def label_names(self) -> dict[int, str]:
        """Every number that a label file may hold → its name, ascending."""
        labels = (*self.classes, *self.ignored)
        return dict(sorted((value, label.name) for label in labels for value in _numbers(label)))

    @cached_property
    def train_ids(self) -> np.ndarray:
        """(256,) uint8: number in a label map, given or written → train id, 255 where ignored."""
        table = np.full(256, IGNORE, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[_numbers(label) or [train_id]] = train_id
        return table

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(256,) uint8: train id → the number that is written for it: the class's first, else the train id itself.

        255 becomes the first number that is ignored, else it stays.
        """
        void = [value for label in self.ignored for value in _numbers(label)]
        table = np.full(256, void[0] if void else IGNORE, np.uint8)
        for train_id, label in enumerate(self.classes):
            table[train_id] = (_numbers(label) or [train_id])[0]
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
    return parse(yaml_of(text, path), path)


def yaml_of(text: str, where: object) -> Any:
    """What a YAML text holds. Raises AdlError if it is none."""
    try:
        yaml = YAML(typ="safe")
        # The one that other tools read, in which no and off are truth values: a name that they misread is refused.
        yaml.version = (1, 1)
        return yaml.load(text)
    except (YAMLError, ValueError) as error:
        advice = "\nYAML takes no tabs: indent with spaces." if "\t" in text else ""
        raise AdlError(f"not valid YAML.\n{error}{advice}", where=where) from None


def parse(content: Any, where: object) -> DatasetDescriptor:
    """A data set as YAML or JSON holds it. Raises AdlError, of `where`, with everything that is wrong in it."""
    try:
        return DatasetDescriptor.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
    places = {found["loc"][:length] for found in errors for length in range(len(found["loc"]))}
    # A list is not too short if its entries could not be read.
    faults = [
        line for found in errors if found["type"] != "too_short" or found["loc"] not in places for line in _fault(found)
    ]
    raise AdlError("\n  ".join([f"{where}: is not valid:", *dict.fromkeys(faults)]))


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
            "To train from its other weights, set ckpt_name to it and write `ckpt_classifier: false`.",
            where=where,
        )
    return dataset


def _numbers(label: DatasetClass) -> list[int]:
    """Those of a class's values that are numbers."""
    return [value for value in label.values if isinstance(value, int)]


def _contradictions(dataset: DatasetDescriptor) -> Iterator[str]:
    """What no data set can be."""
    for split in ("train", "val"):
        if split not in dataset.splits:
            yield f"splits: {split} is missing."
        elif split in dataset.withheld:
            yield f"splits.{split}: needs labels."
    for name, files in dataset.splits.items():
        if dataset.draw and (files.folder or files.listed):
            yield f"splits.{name}: is drawn; leave `splits:` out, or leave `draw:` out."
        if not files.folder and not files.listed and not dataset.draw:
            yield f"splits.{name}: name its folder, or the list of its files."
        if files.prefix and not files.listed:
            yield f"splits.{name}.prefix: is of a list."
    for name in dataset.expect.keys() - dataset.splits.keys():
        yield f"expect: there is no split {name}."
    if not 2 <= len(dataset.classes) <= IGNORE:
        yield f"classes: there must be 2 to {IGNORE}, not {len(dataset.classes)}."
    if dataset.draw:
        yield from _impossible_draw(dataset.draw)
    yield from _impossible_pattern("images", dataset.images, dataset)
    yield from _impossible_pattern("labels", dataset.labels, dataset)
    yield from _impossible_labels(dataset)


def _impossible_draw(draw: Draw) -> Iterator[str]:
    if draw.val + draw.test >= 1:
        yield f"draw: val {draw.val} and test {draw.test} leave nothing for train."
    try:
        if draw.group and not re.compile(draw.group).groups:
            yield f"draw.group: {draw.group} has no (…) around what tells the group."
    except re.error as error:
        yield f"draw.group: {draw.group} is no regular expression: {error}."


def _impossible_pattern(section: str, files: Images | Labels, dataset: DatasetDescriptor) -> Iterator[str]:
    where = f"{section}.pattern"
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(files.pattern) if field is not None}
    except ValueError as error:
        yield f"{where}: {error}."
        return
    for field in sorted(fields.difference(FIELDS)):
        yield f"{where}: {{{field}}} has no meaning; there are {{split}}, {{group}} and {{name}}."
    *folders, file = files.pattern.split("/")
    of_split = isinstance(files, Labels) and files.format == "coco"
    if of_split and "{name}" in file:
        yield f"{where}: coco has one file for each split, so {{name}} has no meaning."
    if not of_split and ("{name}" not in file or "{split}" in file or "{group}" in file):
        yield f"{where}: must end with a file's name that holds {{name}}, and no other name in braces."
    if dataset.draw and "{split}" in files.pattern:
        yield f"{where}: the splits are drawn from one folder; leave {{split}} out."
    lists = all(split.listed for split in dataset.splits.values())
    # A file of COCO names the images of its split.
    lists |= dataset.labels.format == "coco" and "{split}" in dataset.labels.pattern
    if not dataset.draw and "{split}" not in files.pattern and not lists:
        yield f"{where}: {{split}} must stand in a folder's name, unless each split has a list, or `draw:` is given."
    if files.has_groups and folders[-1] != "{group}":
        yield f"{where}: {{group}} must be the whole name of the last folder."


def _impossible_labels(dataset: DatasetDescriptor) -> Iterator[str]:
    """What the labels' format rules out, and what is given twice."""
    kind = dataset.labels
    wanted: type = int
    if kind.format == "colours":
        wanted = tuple
    elif kind.format in OF_NAMES:
        wanted = str
    is_pixels = kind.format in (*OF_NUMBERS, "colours")
    if is_pixels and (kind.outside or kind.overlap):
        yield f"labels: outside and overlap are of polygons; {kind.format} has none."
    if not is_pixels and not (kind.outside and kind.overlap):
        yield (
            "labels: polygons need `outside:` (the class of what none covers, or ignored) and `overlap:` (order: the "
            "later wins; area: the smaller)."
        )
    if not is_pixels and kind.outside not in ("", "ignored", *dataset.class_names):
        yield f"labels.outside: {kind.outside} is no class; ignored: what no polygon covers is not scored."
    labels = (*dataset.classes, *dataset.ignored)
    for label in labels:
        if not label.values and kind.format in OF_NUMBERS:
            yield f"{label.name}: has no values; list the numbers that mean it in the label files."
        for value in label.values:
            if not isinstance(value, wanted):
                yield f"{label.name}: {value!r} is no value of {kind.format}; expected: {_EXPECTED[wanted]}."
    uncategorised = [label.name for label in dataset.classes if not label.category]
    if dataset.categories and uncategorised:
        yield f"classes: {', '.join(uncategorised)}: without a category, which the others have."
    coloured = labels if kind.format == "colours" else dataset.classes
    given: dict[tuple[str, Value], list[str]] = defaultdict(list)
    for label in labels:
        given["name", label.name].append(label.name)
        for value in label.values:
            given["value", value].append(label.name)
    for label in coloured:
        given["colour", label.colour].append(label.name)
    for (what, thing), names in given.items():
        if len(names) > 1:
            yield f"classes: the {what} {json.dumps(thing)} is given to {' and '.join(names)}; give it to one of them."


_EXPECTED = {int: "a number from 0 to 255", tuple: "a colour, as [R, G, B]", str: "a name"}


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
        hint = ' YAML takes yes, no, on, off, y, n, true and false for truth values: write it in quotes, as "no".'
    message = error["msg"]
    if "values" in error["loc"][:-1]:
        # It is neither of the kinds that a value may be.
        place = ".".join(map(str, error["loc"][: error["loc"].index("values") + 2]))
        message = f"expected: {', '.join(_EXPECTED.values())}"
    return [f"{place}: {error['input']!r} is not accepted: {message[0].lower()}{message[1:]}.{hint}"]


_SECTIONS = (DatasetDescriptor, SplitFiles, Draw, Images, Labels, DatasetClass, Normalisation)
