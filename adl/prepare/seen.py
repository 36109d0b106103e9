"""What labels hold that nobody has described, what these values are called, and which classes follow."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl.console.progress import track
from adl.dataset.descriptor import Format, Value
from adl.errors import AdlError
from adl.parallel.pool import map_ahead
from adl.prepare import DataError, polygon_files

SAMPLED = 200
"""Pictures that are looked at, spread over all."""
MOST_COLOURS = 64
"""With more, borders between classes were smoothed; then a class is what fills `LEAST` of the pixels."""
LEAST = 0.001
BACKGROUND = ("background", "_background_")
NOT_SCORED = ("void", "ignore", "ignored", "__ignore__", "unlabeled", "unlabelled")
BORDERS = (255, (224, 224, 192))
"""What VOC draws around objects, which is not scored: its number, and its colour."""

Colour = tuple[int, int, int]
BLACK = (0, 0, 0)

_FORMATS: Mapping[str, tuple[Format, str]] = {
    "L": ("ids", "grey PNGs"),
    "P": ("palette", "PNGs with a palette"),
    "RGB": ("colours", "RGB PNGs"),
}
"""Pillow's mode of a PNG → format, and in words."""
_LINES = {
    "labelmap.txt": r"(?P<name>[^#:\n]+):(?P<colour>\d+,\d+,\d+)",
    "label_colors.txt": r"(?P<colour>\d+\s+\d+\s+\d+)\s+(?P<name>.+)",
    "class_dict.csv": r"(?P<name>[^,\n]+),(?P<colour>\s*\d+,\s*\d+,\s*\d+)",
    "_classes.csv": r"\s*(?P<number>\d+)\s*,(?P<name>.+)",
    "classes.txt": r"(?P<name>.+)",
}
"""File that names classes → a line of it."""


class Seen(NamedTuple):
    """What labels hold.

    kind: their format in words. files: how many were looked at. palette: of the pictures, empty if they have none.
    smoothed: colours along borders were left out.
    """

    format: Format
    kind: str
    values: list[Value]
    files: int
    palette: list[Colour]
    smoothed: bool = False


class Named(NamedTuple):
    """A class as a file names it. number: the one stated, else its place in the file."""

    name: str
    number: int
    colour: Colour | None


def look(files: Sequence[Path]) -> Seen:
    """What label files hold. Raises AdlError if they are of no kind that can be used, or one of polygons is damaged."""
    form = format_of(files[0])
    return _of_polygons(files, form) if form else _of_pictures(files)


def format_of(path: Path) -> Format | None:
    """The format of a file of polygons; None of another file."""
    readers: Mapping[Format, Callable[[Path], Any]] = {**polygon_files.READERS, "coco": polygon_files.read_coco}
    for form, read in readers.items():
        with contextlib.suppress(DataError):
            read(path)
            return form
    return None


def _of_polygons(files: Sequence[Path], form: Format) -> Seen:
    """The names or numbers in all files. Raises DataError if one is damaged."""
    if form == "coco":
        categories = [one for path in files for one in polygon_files.read_coco(path).categories]
        # Roboflow lists the group of the others as if it were one of them.
        above = {one.supercategory for one in categories}
        names = dict.fromkeys(one.name for one in categories if one.name not in above)
        return Seen(form, "lists of images with polygons", list(names), len(files), [])
    annotations = track(map(polygon_files.READERS[form], files), len(files), "reading labels")
    found: set[Any] = {shape.names[0] for annotation in annotations for shape in annotation.shapes}
    return Seen(form, "its polygons", sorted(found), len(files), [])


def _of_pictures(files: Sequence[Path]) -> Seen:
    """The numbers or colours in a sample of the files, as far as they are of one kind. Raises AdlError if that is none
    that can be used.
    """
    sample = files[:: max(1, len(files) // SAMPLED)]
    looks = list(track(map_ahead(_look, sample, threads=2), len(sample), "looking at labels"))
    [(mode, number)] = Counter(mode for mode, _, _ in looks).most_common(1)
    if mode not in _FORMATS:
        remedy = "Labels are PNGs of 8 bits, in grey, with a palette, or RGB: export or convert them."
        raise AdlError(f"labels of the kind {mode} cannot be used", remedy, where=files[0])
    pixels: Counter[Any] = Counter()
    palette: list[Colour] = []
    for other, counts, of_file in looks:
        if other == mode:
            pixels.update(counts)
            palette = of_file
    smoothed = mode == "RGB" and len(pixels) > MOST_COLOURS
    least = LEAST * pixels.total() if smoothed else 0
    values = sorted(value for value, count in pixels.items() if count >= least)
    form, kind = _FORMATS[mode]
    return Seen(form, kind, values, number, palette, smoothed)


def _look(path: Path) -> tuple[str, dict[Any, int], list[Colour]]:
    """Mode of a picture, value → number of its pixels, and its palette."""
    try:
        with Image.open(path) as picture:
            if picture.format != "PNG":
                return str(picture.format), {}, []
            # Where it is transparent, it has a colour all the same.
            plain = picture.convert("RGB") if picture.mode == "RGBA" else picture
            palette = plain.getpalette() or []
            counts = plain.getcolors(plain.width * plain.height) or []
            colours = list(zip(palette[::3], palette[1::3], palette[2::3], strict=True))
            return plain.mode, {value: count for count, value in counts}, colours
    except (OSError, SyntaxError, ValueError):
        return "no picture", {}, []


def named(root: Path) -> tuple[list[Named], str]:
    """The classes that a file in the folder, or one folder below, names, and what that file is called."""
    for file, line in _LINES.items():
        for path in (*root.glob(file), *root.glob(f"*/{file}")):
            text = path.read_text(encoding="utf-8-sig", errors="replace")
            lines = [match.groupdict() for match in re.finditer(f"^{line}", text, re.MULTILINE)]
            found = [Named(parts["name"].strip(), *_stated(parts, place)) for place, parts in enumerate(lines)]
            return found, file
    for path in root.glob("data.y*ml"):
        try:
            names = YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))["names"]
            numbered = names.items() if isinstance(names, dict) else enumerate(names)
            return [Named(str(name), int(number), None) for number, name in numbered], path.name
        except (YAMLError, ValueError, LookupError, TypeError) as error:
            raise AdlError(f"its `names:` cannot be read ({error})", "Correct or remove it.", where=path) from None
    return [], ""


def _stated(parts: Mapping[str, str], place: int) -> tuple[int, Colour | None]:
    """Number and colour in the parts of a line."""
    number = int(parts.get("number", place))
    if "colour" not in parts:
        return number, None
    red, green, blue = map(int, re.findall(r"\d+", parts["colour"]))
    return number, (red, green, blue)


def classes(known: Sequence[Named], seen: Seen) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries of `classes:` and of `ignored:`: those that are named, then those that were only seen."""
    of_value = {_value(one, seen): one for one in known}
    of_value = {value: _called(value, seen) for value in seen.values} | of_value
    values = dict.fromkeys([_value(one, seen) for one in known] + seen.values)
    entries: dict[str, dict[str, Any]] = {}
    unused = map(voc_colour, itertools.count(1))
    given = {one.colour for one in of_value.values()}
    taken: set[Colour] = set()
    for value in values:
        name, _, colour = of_value[value]
        if name in entries:
            entries[name]["values"].append(value)
            continue
        if colour is None and name.lower() in BACKGROUND + NOT_SCORED:
            colour = BLACK
        elif colour is None or colour in taken:
            colour = next(free for free in unused if free not in given)
        entries[name] = {"name": name, "colour": colour, "values": [value]}
        if name.lower() not in NOT_SCORED:
            taken.add(colour)
    for entry in entries.values():
        if entry["values"] in ([entry["name"]], [entry["colour"]]):
            del entry["values"]
    scored = [entry for name, entry in entries.items() if name.lower() not in NOT_SCORED]
    return scored, [entry for entry in entries.values() if entry not in scored]


def _value(one: Named, seen: Seen) -> Value:
    """What means a named class in a label."""
    if seen.format == "colours":
        return one.colour or BLACK
    if one.colour in seen.palette:
        return seen.palette.index(one.colour)
    return one.number


def _called(value: Value, seen: Seen) -> Named:
    """A class that no file names."""
    colour = value if isinstance(value, tuple) else None
    if isinstance(value, int) and value < len(seen.palette):
        colour = seen.palette[value]
    # Of a mask with two values, the lower one is what it does not show.
    is_mask = value == 0 and seen.format == "ids" and len({*seen.values} - {255}) <= 2
    name = f"class_{seen.values.index(value) if isinstance(value, tuple) else value}"
    if isinstance(value, str):
        name = value
    elif value in BORDERS and len(seen.values) > 2:
        name = NOT_SCORED[0]
    elif is_mask or BLACK in (value, colour if value == 0 else None):
        name = BACKGROUND[0]
    return Named(name, 0, colour)


def voc_colour(number: int) -> Colour:
    """The colour of a number in VOC's colour map: the bits of the number in turn, the lowest first, are the highest
    bits of red, green and blue.
    """
    red, green, blue = (sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue
