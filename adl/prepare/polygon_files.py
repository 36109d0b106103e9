"""Files that hold polygons, as labelme, COCO, Cityscapes and YOLO write them.

Drawing them is the matter of `adl.prepare.polygons`. A file that is not of its format raises DataError.
"""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from adl.dataset.descriptor import Format
from adl.prepare import DataError, Problem, unreadable
from adl.prepare.polygons import Annotation, Shape

NEVER_DRAWN = "license plate"
"""Cityscapes has polygons of it, which the official script leaves out."""
_MARKS = {"shapes": "labelme", "annotations": "coco", "objects": "cityscapes-polygons"}
"""Key that tells a format."""
_MASKS = "export the labels as PNG masks and write `format: ids` below `labels:`."


def labelme(path: Path) -> Annotation:
    """Read a file of labelme: polygons, and rectangles by two opposite corners. Other shapes are problems."""
    content = _parse(path, _Labelme, "labelme")
    shapes, problems = [], []
    for number, shape in enumerate(content.shapes):
        place = f"shapes[{number}] ({shape.label})"
        points = shape.points
        if shape.shape_type == "rectangle" and len(points) == 2:
            (left, top), (right, bottom) = points
            points = [(left, top), (right, top), (right, bottom), (left, bottom)]
        elif shape.shape_type not in (None, "polygon", "rectangle"):
            problem = f"{place} is of the type {shape.shape_type}; only polygons and rectangles are read"
            cause = "it was drawn with another tool of labelme"
            problems.append(Problem("type of shape", path, problem, cause, "Draw it as a polygon, or delete it."))
            continue
        shapes.append(Shape((shape.label,), points, place))
    return Annotation(path, shapes, problems, _size(content.imageWidth, content.imageHeight))


def cityscapes(path: Path) -> Annotation:
    """Read a *_polygons.json of Cityscapes as its official script does.

    Deleted objects and license plates are left out. A cargroup is a car, unless the data set knows cargroups.
    """
    content = _parse(path, _Cityscapes, "cityscapes-polygons")
    shapes = [
        Shape((thing.label, thing.label.removesuffix("group")), thing.polygon, f"objects[{number}] ({thing.label})")
        for number, thing in enumerate(content.objects)
        if not thing.deleted and thing.label != NEVER_DRAWN
    ]
    return Annotation(path, shapes, [], _size(content.imgWidth, content.imgHeight))


def yolo(path: Path) -> Annotation:
    """Read a text file of YOLO: in each line the number of a class, then x and y of each corner, normalised.

    The numbers are the `values` of the classes; if the data set has no values, they count its classes from 0. An empty
    file is that of an image without polygons.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    except UnicodeDecodeError as error:
        raise _damaged(path, f"not UTF-8 text ({error})", "yolo") from None
    shapes, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        label, *words = line.split()
        try:
            values = list(map(float, words))
            names = (int(label),)
        except ValueError:
            problem = f"{place} is not a class's number with coordinates: {line[:40]!r}"
            raise _damaged(path, problem, "yolo") from None
        if len(values) == 4:
            problems.append(_box(path, place))
        elif len(values) % 2:
            problems.append(_odd(path, place, values))
        else:
            shapes.append(Shape(names, _pairs(values), place))
    return Annotation(path, shapes, problems, normalised=True)


READERS: dict[Format, Callable[[Path], Annotation]] = {
    "labelme": labelme,
    "cityscapes-polygons": cityscapes,
    "yolo": yolo,
}
"""Format with one file for each image → its reader."""


def coco(path: Path, images: Sequence[Path]) -> tuple[dict[Path, Annotation], list[Problem]]:
    """Read a COCO file, which describes many images. images: all that it should describe.

    A file_name means the image of this name, whose folders it may leave out. Each polygon of an annotation is a shape
    of its own. Crowds, run-length encoding (RLE) and boxes without a polygon are problems.
    Returns what the file says of each image, and the problems that belong to no single image.
    """
    content = read_coco(path)
    of_name = defaultdict(list)
    for image in images:
        of_name[image.name].append(image)
    of_id: dict[int | str, Annotation] = {}
    found: dict[Path, Annotation] = {}
    problems = []
    for entry in content.images:
        annotation = Annotation(path, [], [], _size(entry.width, entry.height), place=entry.file_name)
        file_name = PurePosixPath(entry.file_name.replace("\\", "/"))
        meant = of_name[file_name.name]
        if len(meant) > 1:
            meant = [image for image in meant if image.parts[-len(file_name.parts) :] == file_name.parts]
        if len(meant) == 1:
            annotation = found.setdefault(meant[0], annotation)
        else:
            problems.append(_without_image(path, entry.file_name, of_name[file_name.name]))
        of_id[entry.id] = annotation
    names = {category.id: category.name for category in content.categories}
    for item in content.annotations:
        if item.image_id not in of_id or item.category_id not in names:
            lacking = f"annotation {item.id} is of image {item.image_id} and category {item.category_id}, one of which "
            raise _damaged(path, f"{lacking}the file does not list", "coco")
        _add(of_id[item.image_id], item, names[item.category_id])
    problems += [_without_labels(path, image) for image in images if image not in found]
    return found, problems


class _Part(BaseModel):
    """A part of a JSON file, by the names that stand there. Other keys are passed over."""


class _LabelmeShape(_Part):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None


class _Labelme(_Part):
    shapes: list[_LabelmeShape]
    imageWidth: int | None = None  # noqa: N815
    imageHeight: int | None = None  # noqa: N815


class _CityscapesObject(_Part):
    label: str
    polygon: list[tuple[float, float]]
    deleted: bool = False


class _Cityscapes(_Part):
    objects: list[_CityscapesObject]
    imgWidth: int | None = None  # noqa: N815
    imgHeight: int | None = None  # noqa: N815


class _CocoImage(_Part):
    id: int | str
    file_name: str
    width: int | None = None
    height: int | None = None


class _CocoCategory(_Part):
    id: int | str
    name: str
    supercategory: str | None = None


class _CocoAnnotation(_Part):
    """segmentation: polygons, each as x, y, x, y …, or a mask in run-length encoding, which is a dict."""

    id: int | str = "without id"
    image_id: int | str
    category_id: int | str
    segmentation: list[list[float]] | dict[str, Any] = []
    iscrowd: bool = False


class Coco(_Part):
    annotations: list[_CocoAnnotation]
    images: list[_CocoImage]
    categories: list[_CocoCategory]


def read_coco(path: Path) -> Coco:
    return _parse(path, Coco, "coco")


_Content = TypeVar("_Content", bound=_Part)


def _parse(path: Path, model: type[_Content], form: str) -> _Content:
    """Read a JSON file of the format `form`. Raises DataError if it is none."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    if not content:
        raise _damaged(path, "the file is empty (0 bytes)", form)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    if len(fault["loc"]) == 1 and isinstance(fault["input"], dict):  # a key is missing in the file as a whole
        for mark in _MARKS.keys() & fault["input"]:
            if _MARKS[mark] != form:
                cause = f"it has the key `{mark}`, which tells {_MARKS[mark]}"
                remedy = f"Write `format: {_MARKS[mark]}` below `labels:`."
                raise DataError(Problem("label format", path, f"is not {form}", cause, remedy))
    place = ".".join(map(str, fault["loc"]))
    raise _damaged(path, f"{place}: {fault['msg']}" if place else fault["msg"], form)


def _size(width: int | None, height: int | None) -> tuple[int, int] | None:
    return (width, height) if width and height else None


def _pairs(values: Sequence[float]) -> list[tuple[float, float]]:
    """The corners in x, y, x, y …"""
    return list(zip(values[::2], values[1::2], strict=True))


def _add(annotation: Annotation, item: _CocoAnnotation, name: str) -> None:
    """Add the polygons of COCO's `item` to an image's, or why it has none."""
    path = annotation.file
    place = f"annotation {item.id} ({name}) of {annotation.place}"
    if item.iscrowd:
        cause = "it outlines many things at once, in run-length encoding"
        crowd = Problem("crowd", path, f"{place} is a crowd (iscrowd)", cause, f"Delete it, or {_MASKS}")
        annotation.problems.append(crowd)
    elif isinstance(item.segmentation, dict):
        problem = f"{place} is a mask in run-length encoding (RLE), not a polygon"
        cause = "it was drawn with a brush, or made from a mask"
        annotation.problems.append(Problem("RLE", path, problem, cause, f"Convert it to polygons, or {_MASKS}"))
    elif not item.segmentation:
        annotation.problems.append(_box(path, place))
    else:
        for polygon in item.segmentation:
            if len(polygon) % 2:
                annotation.problems.append(_odd(path, place, polygon))
            else:
                annotation.shapes.append(Shape((name,), _pairs(polygon), place))


def _damaged(path: Path, problem: str, form: str) -> DataError:
    cause = "a copy was interrupted, or the file is of another format"
    remedy = f"Export it again for {form}, or correct `format:` and `pattern:` below `labels:`."
    return DataError(Problem("damaged", path, problem, cause, remedy))


def _box(path: Path, place: str) -> Problem:
    cause = "the labels were exported for object detection"
    return Problem("box", path, f"{place} is a box, not a polygon", cause, "Export the labels for segmentation.")


def _odd(path: Path, place: str, values: Sequence[float]) -> Problem:
    problem = f"{place} has {len(values)} coordinates; x and y of each corner make an even number"
    return Problem("odd coordinates", path, problem, "a value was lost, or is a score", "Export the file again.")


def _without_image(path: Path, file_name: str, of_this_name: Sequence[Path]) -> Problem:
    cause = "the file is of another split, or the image was moved or renamed"
    if of_this_name:
        cause = f"{len(of_this_name)} images have this name, and its folders are not theirs"
    remedy = "Add the image, or remove it from the file; `pattern:` below `labels:` says which file a split has."
    return Problem("labels without image", path, f"file_name {file_name} is none of the split's images", cause, remedy)


def _without_labels(path: Path, image: Path) -> Problem:
    cause = "it was added after the labels were exported"
    return Problem("image without labels", image, f"{path} does not list it", cause, "Export the labels again.")
