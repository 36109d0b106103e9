"""Labels that are polygons: from the shapes of a file to a label map, by one rule for all formats.

The rule: a corner stands for the pixel that it lies in, and a polygon covers the pixels that Pillow's
`ImageDraw.polygon` fills between its corners, which are the inside and the border.

labelme and the official script of Cityscapes draw with this function. Pixel (x, y) reaches from x to x + 1, so that
coordinates are rounded down; before that they are rounded to a hundredth, because 4.9999999 means 5. The six digits of
a YOLO file thus bring a whole number back in images of up to 8192 pixels. pycocotools draws COCO's polygons without the
right and the lower border, where the corners are whole numbers: here they are one pixel larger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from adl.dataset.descriptor import IGNORE, DatasetDescriptor, Value
from adl.errors import nearest
from adl.prepare import DataError, Problem
from adl.prepare.images import in_pixels


class Shape(NamedTuple):
    """A polygon. names: what it may be called, by name or number; the first that the data set knows counts.

    points: its corners (x, y), in pixels or normalised. place: where it stands in its file.
    """

    names: tuple[str | int, ...]
    points: Sequence[tuple[float, float]]
    place: str


class Annotation(NamedTuple):
    """What a file says of one image.

    shapes: in the order of the file. problems: of shapes that cannot be drawn. size: (width, height) as the file states
    it. place: where the image stands in a file of many. normalised: coordinates are parts of the width and the height.
    """

    file: Path
    shapes: list[Shape]
    problems: list[Problem]
    size: tuple[int, int] | None = None
    place: str = "it"
    normalised: bool = False


def label_map(annotation: Annotation, size: tuple[int, int], dataset: DatasetDescriptor) -> np.ndarray:
    """Draw an image's polygons. size: (width, height) of the image.

    Pixels that no polygon covers become `labels.outside`. Where polygons overlap, the later one in the file lies above
    the earlier one (`labels.overlap: order`), or the smaller area above the larger one (`area`). A corner up to one
    pixel outside the image is accepted, and what lies outside is cut off.
    Returns (H, W) uint8 train ids, 255 where ignored. Raises DataError with everything that is wrong with the
    annotation.
    """
    train_ids = dataset.meanings
    problems = [*annotation.problems, *_size_problems(annotation, size)]
    polygons = []
    for shape in annotation.shapes:
        known = [train_ids[name] for name in shape.names if name in train_ids]
        if not known and dataset.unlisted == "error":
            problems.append(_unknown(annotation.file, shape.names[0], train_ids))
        corners = _corners(shape, size if annotation.normalised else (1, 1))
        problems += _corner_problems(annotation, shape, corners, annotation.size or size)
        polygons.append((corners, (*known, IGNORE)[0]))
    if problems:
        raise DataError(*dict.fromkeys(problems))
    if dataset.labels.overlap == "area":
        polygons.sort(key=lambda polygon: cv2.contourArea(polygon[0].astype(np.float32)), reverse=True)
    picture = Image.new("L", size, dataset.outside)
    pen = ImageDraw.Draw(picture)
    for corners, train_id in polygons:
        pen.polygon(corners.ravel().tolist(), fill=train_id)
    return np.array(picture)


def _corners(shape: Shape, scale: tuple[int, int]) -> np.ndarray:
    """(N, 2): the pixels (x, y) that the corners lie in."""
    points = np.array(shape.points, float).reshape(-1, 2) * scale
    return np.floor(points.round(2))


def _size_problems(annotation: Annotation, size: tuple[int, int]) -> Iterator[Problem]:
    if annotation.size in (None, size):
        return
    cause = "the image was resized after it was labelled"
    remedy = "Use the images that were labelled, or label these."
    if annotation.size == size[::-1]:
        cause = "the image was labelled as its EXIF orientation turns it"
        remedy = "Write `orientation: apply` below `images:`."
    stated = in_pixels(annotation.size)
    problem = f"{annotation.place} states {stated}, but the image is {in_pixels(size)}"
    yield Problem("stated size", annotation.file, problem, cause, remedy)


def _corner_problems(
    annotation: Annotation, shape: Shape, corners: np.ndarray, size: tuple[int, int]
) -> Iterator[Problem]:
    if len(corners) < 3:
        yield Problem(
            kind="too few corners",
            file=annotation.file,
            problem=f"{shape.place} has {len(corners)} corners; a polygon has at least 3",
            cause="drawing it was broken off",
            remedy="Complete it, or delete it.",
        )
    elif not ((corners >= -1) & (corners <= size)).all():  # or they are no numbers
        cause = "it was drawn on an image of another size"
        if annotation.normalised:
            cause = "its coordinates are pixels, where parts of the width and height (0-1) are expected"
        yield Problem(
            kind="polygon outside",
            file=annotation.file,
            problem=f"{shape.place} reaches from {_point(corners.min(axis=0))} to {_point(corners.max(axis=0))}, "
            f"outside the image of {in_pixels(size)}",
            cause=cause,
            remedy="Draw it inside the image, or delete it.",
        )


def _point(corner: np.ndarray) -> str:
    return "({:.0f}, {:.0f})".format(*corner)


def _unknown(file: Path, name: str | int, train_ids: Mapping[Value, int]) -> Problem:
    """The problem of a name or number that the data set's YAML lists nowhere."""
    if isinstance(name, int):
        numbers = sorted(number for number in train_ids if isinstance(number, int))
        return Problem(
            kind="class number",
            file=file,
            problem=f"a polygon has class number {name}; there are {', '.join(map(str, numbers))}",
            cause="the file was written for other classes, or its numbers begin at 1",
            remedy="Write below each of the `classes:` the number that means it, such as `values: [1]` for the first; "
            "`unlisted: ignore` ignores all other numbers.",
        )
    meant = nearest(name, [known for known in train_ids if isinstance(known, str)])
    return Problem(
        kind="polygon label",
        file=file,
        problem=f"a polygon is labelled {name}, which the data set's YAML does not list",
        cause=f"{meant} was meant" if meant else "the YAML lacks a class",
        remedy=f"Correct the file, or write `- {{name: {json.dumps(name)}, colour: [0, 0, 0]}}` below `classes:` or "
        "`ignored:`; `unlisted: ignore` ignores all such labels.",
    )
