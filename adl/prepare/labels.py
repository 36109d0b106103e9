"""From a label file to train ids, by the format that the data set states.

A problem says which other format it may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adl.dataset.descriptor import IGNORE, OF_NUMBERS, DatasetDescriptor, Format, Frame
from adl.prepare import DataError, Problem, images, original, polygon_files
from adl.prepare.images import GREY, JPEG, PALETTE, RGB, RGBA, Picture, in_pixels
from adl.prepare.polygons import Annotation, label_map

COLOURS_OF_AN_EDGE = 12
"""Colours or numbers that no class has: so many come from smoothed edges, not from a class that was forgotten."""


class Label(NamedTuple):
    """train_ids: (H, W) uint8. pixels: (256,), how many have each train id. numbers: (256,), how many hold each number
    in the file; all 0 for a format without numbers.
    """

    train_ids: np.ndarray
    pixels: np.ndarray
    numbers: np.ndarray


class LabelFiles:
    """The labels of some frames. Raises DataError if a file that holds those of all is damaged or lacks one."""

    def __init__(self, frames: Sequence[Frame], dataset: DatasetDescriptor) -> None:
        self.dataset = dataset
        self.annotations: dict[Path, Annotation] = {}
        if dataset.labels.format == "coco" and frames:
            self.annotations, problems = polygon_files.coco(frames[0].label, [frame.image for frame in frames])
            if "{split}" not in dataset.labels.pattern:  # the file describes the images of other splits too
                problems = [problem for problem in problems if problem.kind != "labels without image"]
            if problems:
                raise DataError(*problems)

    def read_frame(self, frame: Frame) -> tuple[Picture, Label]:
        """Read and check a frame, every byte of it; the pixels of a PNG image are not inflated.

        Raises DataError if a file is damaged or of another kind, if the sizes differ, or if the label holds what the
        data set does not list.
        """
        image = images.header(frame.image, self.dataset.images, whole=True)
        images.check_image(image, self.dataset)
        return image, self.read(frame, images.size_of(image, self.dataset))

    def read(self, frame: Frame, size: tuple[int, int]) -> Label:
        """The label of an image of this (width, height). Raises DataError as `read_frame`."""
        read = OF_PICTURES.get(self.dataset.labels.format)
        if read:
            label = read(self._picture(frame, size, whole=True), self.dataset)
        else:
            train_ids = label_map(self._annotation(frame), size, self.dataset)
            label = _without_numbers(train_ids)
        if not label.pixels[:IGNORE].any():
            raise DataError(
                Problem(
                    kind="void label",
                    file=frame.label,
                    problem="no pixel belongs to a class: all are void",
                    cause=f"this is a label of the test split, which {self.dataset.title} withholds, or an empty mask"
                    if self.dataset.withheld
                    else "this is an empty mask, or all of its values are below `ignored:`",
                    remedy="Leave such a split out of train and val, or remove this frame.",
                )
            )
        return label

    def check(self, frame: Frame, size: tuple[int, int]) -> int:
        """Check what a picture's first and last bytes say. Returns the file's bytes. Raises DataError."""
        if self.dataset.labels.format in OF_PICTURES:
            return self._picture(frame, size).bytes
        return frame.label.stat().st_size

    def _picture(self, frame: Frame, size: tuple[int, int], *, whole: bool = False) -> Picture:
        picture = images.header(frame.label, self.dataset.labels, whole=whole)
        check_kind(picture, self.dataset)
        check_pair(frame.image, size, picture, self.dataset)
        return picture

    def _annotation(self, frame: Frame) -> Annotation:
        if self.annotations:
            return self.annotations[frame.image]
        return polygon_files.READERS[self.dataset.labels.format](frame.label)


def check_pair(image: Path, size: tuple[int, int], label: Picture, dataset: DatasetDescriptor) -> None:
    """Raises DataError if a label has another (width, height) than its image as the network sees it."""
    if label.size == size:
        return
    width, height = size
    cause = "one of the two was resized"
    remedy = f"{original(dataset.labels)}, or resize the label: "
    remedy += f"magick mogrify -filter point -resize {width}x{height}! {label.path}."
    turned = images.header(image, dataset.images).orientation != 1
    if label.size == size[::-1] and turned:
        cause = "the image's EXIF turns it, and the label is of the image that is not turned"
        remedy = f"Take the orientation out of the image: exiftool -Orientation#=1 {image}; or turn the label."
    elif max(np.abs(np.subtract(label.size, size))) == 1:
        cause = "one of the two was resized, and a fraction rounded in another way"
    raise DataError(
        Problem(
            kind="size of a pair",
            file=label.path,
            problem=f"is {in_pixels(label.size)}, but its image {image} is {in_pixels(size)}",
            cause=cause,
            remedy=remedy,
        )
    )


def check_kind(label: Picture, dataset: DatasetDescriptor) -> None:
    """Raises DataError if a picture of labels is of another kind than its format has."""
    section = dataset.labels
    allowed: Mapping[Format, tuple[int, ...]] = {"ids": (GREY,), "palette": (PALETTE,), "colours": (RGB, RGBA)}
    wanted = allowed[section.format]
    is_whole = label.depth == 8 or label.colour == PALETTE  # whose indices may be of fewer bits
    if label.format != JPEG and label.colour in wanted and is_whole:
        return
    problem = f"is {label.kind}; expected {_EXPECTED[section.format]}"
    again = original(section)
    if label.format == JPEG:
        problem, cause = "is a JPEG, which changes values along every edge", "it was converted"
        remedy = f"{again}, or draw the labels again as PNG."
    elif dataset.related_labels:
        cause = f"this is another file of the label ({', '.join(dataset.related_labels)}) under this name"
        remedy = f"{again}."
    elif label.depth == 16:
        cause = "it holds instances, or was written with 16 bits"
        remedy = f"{again}; if its values fit into 8 bits, convert it: magick mogrify -depth 8 {label.path}."
    elif label.colour == PALETTE:
        cause, remedy = "its pixels are indices into a palette", "Write `format: palette` below `labels:`."
    elif label.colour in (RGB, RGBA):
        cause, remedy = _colours(label, dataset)
    else:
        cause, remedy = "it holds numbers", "Write `format: ids` below `labels:`."
    raise DataError(Problem("kind of label", label.path, problem, cause, remedy))


_EXPECTED = {"ids": "8-bit grey", "palette": "a palette", "colours": "8-bit RGB"}


def _colours(label: Picture, dataset: DatasetDescriptor) -> tuple[str, str]:
    """Likely cause and remedy of a label in colours where numbers are expected."""
    pixels = images.indices(images.header(label.path, dataset.labels, whole=True), dataset.labels)
    found = [_colour(code) for code in np.unique(_codes(pixels)).tolist()]
    if all(red == green == blue for red, green, blue in found):
        return "its three channels are equal", f"Keep one of them: magick mogrify -channel R -separate {label.path}."
    known = {one.colour for one in (*dataset.classes, *dataset.ignored)}
    return (
        f"it holds colours: its {len(found)} colours are {_shown(found)}; {len(known.intersection(found))} of "
        f"{len(found)} match your classes",
        "Write `format: colours` below `labels:`.",
    )


def _shown(found: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join(str(list(colour)) for colour in found[:4]) + (", …" if len(found) > 4 else "")


def _read_numbers(label: Picture, dataset: DatasetDescriptor) -> Label:
    ids = images.indices(label, dataset.labels)
    numbers = np.bincount(ids.ravel(), minlength=256)
    check_numbers(label.path, np.flatnonzero(numbers), dataset)
    pixels = np.bincount(dataset.train_ids, weights=numbers, minlength=256).astype(int)
    return Label(cv2.LUT(ids, dataset.train_ids), pixels, numbers)


def _read_colours(label: Picture, dataset: DatasetDescriptor) -> Label:
    pixels = images.indices(label, dataset.labels)
    codes = _codes(pixels)
    known = _codes(np.array([*dataset.meanings], np.uint8))
    order = known.argsort()
    known, train_ids = known[order], np.array([*dataset.meanings.values()], np.uint8)[order]
    places = np.searchsorted(known[1:], codes, side="right")
    is_unlisted = known[places] != codes
    if dataset.unlisted == "error" and is_unlisted.any():
        unlisted = np.unique(codes[is_unlisted]).tolist()
        cause = "a class is missing in the data set's file"
        remedy = "Give these colours to a class or to `ignored:`, or write `unlisted: ignore`."
        if len(unlisted) >= COLOURS_OF_AN_EDGE:
            cause = "the borders between classes were smoothed (anti-aliasing) when the label was drawn or resized"
            remedy = "Export it without smoothing, or write `unlisted: ignore` to leave these pixels out."
        share = is_unlisted.mean()
        shown = _shown([_colour(code) for code in unlisted])
        raise DataError(
            Problem(
                kind="colours",
                file=label.path,
                problem=f"holds {len(unlisted)} colours of no class ({100 * share:.2g} % of its pixels): {shown}",
                cause=cause,
                remedy=remedy,
            )
        )
    return _without_numbers(np.where(is_unlisted, np.uint8(IGNORE), train_ids[places]))


def _without_numbers(train_ids: np.ndarray) -> Label:
    return Label(train_ids, np.bincount(train_ids.ravel(), minlength=256), np.zeros(256, int))


def check_numbers(path: Path, values: np.ndarray, dataset: DatasetDescriptor) -> None:
    """values: the distinct numbers of one label file. Raises DataError if some are not listed."""
    unlisted = sorted(set(values.tolist()) - dataset.label_names.keys())
    if not unlisted or dataset.unlisted == "ignore":
        return
    highest = len(dataset.classes) - 1
    known = list(dataset.label_names)
    holds = ", ".join(map(str, known))
    if len(known) == known[-1] - known[0] + 1:
        holds = f"{known[0]}-{known[-1]}"
    kind = "label ids"
    cause = "an editor or a conversion changed it, or the data set's file lacks a class"
    remedy = "give these values to a class or to `ignored:`, or write `unlisted: ignore`."
    if dataset.labels.source:
        cause = f"these are not the labels of {dataset.title}, or an editor changed them"
    remedy = f"{original(dataset.labels, 'the file')}; or {remedy}"
    if unlisted == [IGNORE] and len(known) <= 2:
        cause = "it is a mask of 0 and 255"
        remedy = "Write `values: [255]` for the class that it shows."
    elif 0 not in values and known == [*range(len(known))] and unlisted == [len(known)]:
        cause = "its values begin at 1, and the classes' at 0"
        remedy = "Write each class's `values:` one higher."
    elif {*range(highest + 1), IGNORE}.issuperset(values.tolist()):
        kind = "train ids"
        cause = f"the file holds train ids (0-{highest} and {IGNORE}) under the name of a label-id file"
    elif len(unlisted) >= COLOURS_OF_AN_EDGE:
        cause = "the borders between classes were smoothed (anti-aliasing) when the label was drawn or resized"
    problem = f"label ids {unlisted} do not exist; *{dataset.labels.suffix} holds {holds} only"
    raise DataError(Problem(kind, path, problem, cause, remedy))


def check_encoding(folder: Path, numbers: np.ndarray, files: int, dataset: DatasetDescriptor) -> None:
    """Raises DataError for label files with train ids and without a 255, which only many of them show.

    numbers: (256,), how many pixels of all `files` label files hold each.
    """
    highest = len(dataset.classes) - 1
    above = [name for name, value in _first_numbers(dataset).items() if value > highest]
    if above and numbers.any() and not numbers[highest + 1 :].any():
        raise DataError(
            Problem(
                kind="train ids",
                file=folder,
                problem=f"no id above {highest} occurs in {files} label files, although {len(above)} classes have "
                "larger ids",
                cause="the files hold train ids under the name of a label-id file",
                remedy=f"{original(dataset.labels, 'the files')}, or list the numbers that they hold as `values:`.",
            )
        )


def _first_numbers(dataset: DatasetDescriptor) -> dict[str, int]:
    if dataset.labels.format not in OF_NUMBERS:
        return {}
    return {label.name: int(dataset.label_ids[train_id]) for train_id, label in enumerate(dataset.classes)}


def _codes(colours: np.ndarray) -> np.ndarray:
    """(…, 3) uint8 RGB → (…): a number for each colour."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _colour(code: int) -> tuple[int, int, int]:
    return code >> 16, code >> 8 & 255, code & 255


OF_PICTURES: Mapping[Format, Callable[[Picture, DatasetDescriptor], Label]] = {
    "ids": _read_numbers,
    "palette": _read_numbers,
    "colours": _read_colours,
}
"""Format of pictures → what reads one."""
