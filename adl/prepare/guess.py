"""What data set a folder holds: where its files are, how its labels are written, which classes they have.

Nothing is asked: each guess is stated with what it was made from.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from adl.console.text import counted
from adl.dataset import descriptor
from adl.dataset.descriptor import OF_NAMES, Draw, Files
from adl.errors import AdlError
from adl.prepare import DataError, images, seen, subfolders
from adl.prepare.labels import OF_PICTURES
from adl.prepare.seen import BACKGROUND, BLACK, LEAST, SAMPLED, Seen


class Layout(NamedTuple):
    """Where a kind of data set has its files.

    images, labels: patterns as in the file of a data set, up to the suffix. ending: how the name of a label goes on.
    """

    title: str
    images: str
    labels: str
    ending: str


LAYOUTS = (
    Layout(
        "Cityscapes",
        "leftImg8bit/{split}/{group}/{name}_leftImg8bit",
        "gtFine/{split}/{group}/{name}",
        r"_gtFine_(labelIds\.png|polygons\.json)",
    ),
    Layout("VOC or CVAT's masks", "JPEGImages/{name}", "SegmentationClass/{name}", r"\.png"),
    Layout("CamVid of 2009", "701_StillsRaw_full/{name}", "LabeledApproved_full/{name}", r"_L\.png"),
    Layout("CamVid of SegNet's authors", "{split}/{name}", "{split}annot/{name}", r"\.png"),
    Layout("CamVid with class_dict.csv", "{split}/{name}", "{split}_labels/{name}", r"(_L)?\.png"),
    Layout("Roboflow's masks", "{split}/{name}", "{split}/{name}", r"_mask\.png"),
    Layout("labelme", "{split}/{name}", "{split}/{name}", r"\.json"),
    Layout("labelme", "{name}", "{name}", r"\.json"),
)
"""The first that fits counts; after them come folders of these names, then COCO."""
IMAGES = ("images", "image", "imgs", "img", "jpegimages")
LABELS = ("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "gt", "segmentationclass")
PLAIN = ("KIND/{split}/{name}", "{split}/KIND/{name}", "KIND/{name}")
OF_COCO = ("{split}/images/", "{split}/", "images/{split}/", "images/", "images/default/", "")
"""Where COCO's images may be: three places with splits, three without."""
LISTS = ("ImageSets/Segmentation/*.txt", "splits/*.txt", "*.txt")

_SPLIT = re.compile(
    r"(?<![a-z])(?:(?P<train>train(?:ing)?)|(?P<val>val(?:id|idation)?)|(?P<test>test(?:ing)?))\d*(?![a-z0-9])",
    re.IGNORECASE,
)
_PICTURE = r"\.(png|jpe?g)"


class Found(NamedTuple):
    """The files of a data set. images, labels: patterns. splits: as in its file."""

    title: str
    images: str
    labels: str
    splits: dict[str, Any]
    image_files: list[Path]
    label_files: list[Path]


class Guess(NamedTuple):
    """content: of a data set's file. reasons: key → what was guessed for it, and from what."""

    content: dict[str, Any]
    reasons: dict[str, str]

    def text(self, head: str) -> str:
        """The file, with the reasons as comments."""
        lines = [f"# {head}", f"# layout: {self.reasons['layout']}"]
        for section, value in self.content.items():
            lines += [f"# {key}: {why}" for key, why in self.reasons.items() if key.partition(".")[0] == section]
            if isinstance(value, list):
                lines += [f"{section}:", *(f"  - {_flow(entry)}" for entry in value)]
            else:
                lines.append(_flow({section: value})[1:-1])
        return "\n".join(lines) + "\n"


def _flow(content: dict[str, Any]) -> str:
    """YAML in one line, in braces. A name such as n, which YAML 1.1 takes for a truth value, is put in quotes."""
    yaml = YAML()
    yaml.version = (1, 1)
    yaml.default_flow_style = True
    yaml.width = 100_000
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue().partition("--- ")[2].strip()


def guess(root: Path, name: str) -> Guess:
    """The data set in a folder, which gets this name. Raises AdlError if no layout fits, or labels cannot be used."""
    found = recognised(root)
    if found is None:
        raise _unrecognised(root, name)
    looked = seen.look(found.label_files)
    reasons = {"layout": f"{found.title}, because there are {found.images} and {found.labels}"}
    splits = _splits(root, found, reasons)
    if "draw" in splits:
        found = _in_one_folder(found)
    content: dict[str, Any] = {
        "name": name,
        "title": name,
        **splits,
        "images": _images(found, reasons),
        "labels": {"pattern": found.labels, "format": looked.format},
    }
    reasons["labels.format"] = f"{looked.format}, because {looked.kind} were found in {counted(looked.files, 'file')}"
    content |= _classes(root, found, looked, reasons)
    if looked.format not in OF_PICTURES:
        content["labels"] |= _outside(found, looked, content["classes"], reasons)
    if looked.smoothed:
        content["unlisted"] = "ignore"
        reasons["unlisted"] = f"ignore, because of colours that fill less than {LEAST:.1%} each: borders were smoothed"
    return Guess(content, reasons)


def recognised(root: Path) -> Found | None:
    """The files of the first layout that fits."""
    return next(filter(None, (_find(root, layout) for layout in (*LAYOUTS, *_plain(root)))), None) or _coco(root)


def _plain(root: Path) -> Iterator[Layout]:
    """The layouts that the names of the folders allow."""
    names = sorted({path.name for path in (*subfolders(root), *subfolders(root, "*/*/"))})
    of_images, of_labels = ([name for name in names if name.lower() in known] for known in (IMAGES, LABELS))
    for pattern, name, image, label in itertools.product(PLAIN, ("{name}", "{group}/{name}"), of_images, of_labels):
        whole = pattern.replace("{name}", name)
        places = whole.replace("KIND", image), whole.replace("KIND", label)
        yield Layout("images and labels in folders", *places, ending=r".*\.(png|jpe?g|txt|json)")


def _find(root: Path, layout: Layout) -> Found | None:
    """The files of a layout, if every split but test has images and labels."""
    above, of_split, _ = layout.images.partition("{split}")
    folders = {"": ""}
    if of_split:
        folders = {split: path.name for split, (_, path) in _by_split(root, subfolders(root, f"{above}*/")).items()}
    _, after = layout.images.split("{name}")
    splits: dict[str, Any] = {}
    image_files, label_files = [], []
    for split, folder in folders.items():
        labels = _files(root, layout.labels, folder, layout.ending)
        pictures = [path for path in _files(root, layout.images, folder, after + _PICTURE) if path not in labels]
        if pictures and (labels or split == "test"):
            splits[split] = folder if labels else {"folder": folder, "labels": "withheld"}
            image_files += pictures
            label_files += labels
    # One image may lack its label, and the name of one may be that of another with something behind it.
    endings = {
        label.name.removeprefix(name)
        for name in (path.stem.removesuffix(after) for path in image_files[:20])
        for label in label_files
        if label.name.startswith(name)
    }
    ending = min(endings, key=lambda ending: (len(ending), ending), default="")
    if not re.fullmatch(layout.ending, ending, re.IGNORECASE):
        return None
    label_files = [path for path in label_files if path.name.endswith(ending)]
    images_pattern = layout.images + _suffixes(image_files)[0]
    return Found(layout.title, images_pattern, layout.labels + ending, splits, image_files, label_files)


def _coco(root: Path) -> Found | None:
    """The files of COCO: JSON files that list images, and these."""
    paths = sorted((*root.glob("*.json"), *root.glob("*/*.json")))
    # Beside those of objects, there may be captions and key points of the same images.
    paths = [path for path in paths if path.name.startswith("instances")] or paths
    paths = [path for path in paths if seen.format_of(path) == "coco"]
    if not paths:
        return None
    of_split = _by_split(root, paths) or {"": ("", paths[0])}
    splits = {split: folder for split, (folder, _) in of_split.items()}
    label_files = [path for _, path in of_split.values()]
    for place in OF_COCO[3 * ("" in splits) :]:
        image_files = [path for folder in splits.values() for path in _files(root, place + "{name}", folder, _PICTURE)]
        if image_files:
            labels = _SPLIT.sub("{split}", label_files[0].relative_to(root).as_posix())
            images_pattern = f"{place}{{name}}{_suffixes(image_files)[0]}"
            return Found("COCO", images_pattern, labels, splits, image_files, label_files)
    return None


def _by_split(root: Path, paths: Iterable[Path]) -> dict[str, tuple[str, Path]]:
    """Split → the word for it in the first path that has one, and this path."""
    found: dict[str, tuple[str, Path]] = {}
    for path in paths:
        if match := _SPLIT.search(path.relative_to(root).as_posix()):
            found.setdefault(match.lastgroup or "", (match[0], path))
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _files(root: Path, pattern: str, split: str, ending: str) -> list[Path]:
    """The files of a pattern whose names have an ending, sorted."""
    pattern = pattern.format(split=split, group="*", name="*") + "*"
    # Two stars would be folders.
    found = root.glob(pattern.replace("**", "*").lstrip("/"))
    return sorted(path for path in found if re.search(f"{ending}$", path.name, re.IGNORECASE) and path.name[0] != ".")


def _suffixes(files: Iterable[Path]) -> list[str]:
    """The most frequent first."""
    return [suffix for suffix, _ in Counter(path.suffix for path in files).most_common()]


def _splits(root: Path, found: Found, reasons: dict[str, str]) -> dict[str, Any]:
    """The section `splits:`; `draw:` if train or val is not there."""
    splits = found.splits
    source = "folders or files of these names"
    if "" in splits:
        lists = (_by_split(root, sorted(root.glob(pattern))) for pattern in LISTS)
        of_split = next(filter(None, lists), {})
        splits = {split: {"list": path.relative_to(root).as_posix()} for split, (_, path) in of_split.items()}
        source = "lists of these names"
    missing = " and ".join(split for split in ("train", "val") if split not in splits)
    if not missing:
        reasons["splits"] = f"{', '.join(splits)}, because there are {source}"
        return {"splits": splits}
    reasons["draw"] = f"`adl dataset split` draws the splits, because there is neither folder nor list of {missing}"
    if left_out := [split for split in splits if split != "train"]:
        reasons["draw"] += f"; it draws them from the images of train, and leaves out {left_out[0]}"
    return {"draw": Draw().model_dump(include={"val", "test"})}


def _in_one_folder(found: Found) -> Found:
    """With the folder of train in the patterns, from whose images all splits are drawn, if there are folders."""
    folder = next((folder for folder in found.splits.values() if isinstance(folder, str)), "")
    images, labels = (pattern.replace("{split}", folder) for pattern in (found.images, found.labels))
    return found._replace(images=images, labels=labels)


def _images(found: Found, reasons: dict[str, str]) -> dict[str, Any]:
    section: dict[str, Any] = {"pattern": found.images}
    _, *others = _suffixes(found.image_files)
    if others:
        section["suffixes"] = others
        reasons["images.suffixes"] = f"{', '.join(others)}, because there are such files too"
    for path in found.image_files[:: max(1, len(found.image_files) // SAMPLED)]:
        with contextlib.suppress(DataError):
            if images.header(path, Files(pattern=found.images)).orientation != 1:
                section["orientation"] = "apply"
                reasons["images.orientation"] = f"apply, because EXIF turns {path.name}"
                break
    return section


def _classes(root: Path, found: Found, looked: Seen, reasons: dict[str, str]) -> dict[str, Any]:
    """The sections `classes:` and, if there is one, `ignored:`."""
    known, source = ([], "") if looked.format in OF_NAMES else seen.named(root)
    classes, ignored = seen.classes(known, looked)
    if not known:
        source = f"what {looked.files} of {len(found.label_files)} label files hold; give them better names"
    shipped = descriptor.shipped("cityscapes")
    known_values = {*shipped.label_names, *shipped.label_names.values()}
    if found.title == "Cityscapes" and known_values.issuperset(looked.values):
        left_out = {"values"} if looked.format in OF_NAMES else set()
        classes, ignored = (
            [label.model_dump(mode="json", exclude=left_out) for label in labels]
            for labels in (shipped.classes, shipped.ignored)
        )
        source = "Cityscapes, whose layout this is"
    if len(classes) < 2:
        remedy = f"Look at {found.label_files[0]}: is it a label?"
        raise AdlError(f"its labels hold {len(classes)} classes, and at least 2 are needed", remedy, where=root)
    reasons["classes"] = f"{len(classes)}, from {source}"
    if not ignored:
        return {"classes": classes}
    reasons["ignored"] = f"{', '.join(label['name'] for label in ignored)}, which is not scored by convention"
    return {"classes": classes, "ignored": ignored}


def _outside(found: Found, looked: Seen, classes: list[dict[str, Any]], reasons: dict[str, str]) -> dict[str, str]:
    """What polygons need said besides. A background joins the classes if they have none."""
    names = [label["name"] for label in classes]
    outside = next((name for name in names if name.lower() in BACKGROUND), BACKGROUND[0])
    if found.title == "Cityscapes":
        outside = "ignored"
    elif outside not in names:
        classes.insert(0, {"name": outside, "colour": BLACK})
    overlap, wins = ("area", "smaller") if looked.format in ("coco", "yolo") else ("order", "later")
    reasons["labels.outside"] = f"{outside}, which is what no polygon covers (`ignored`: it is not scored)"
    reasons["labels.overlap"] = f"{overlap}, so that the {wins} of two polygons lies above"
    return {"outside": outside, "overlap": overlap}


def _unrecognised(root: Path, name: str) -> AdlError:
    for below in subfolders(root):
        if found := recognised(below):
            return AdlError(f"holds no data set itself, but {below} does ({found.title})", "Name that.", where=root)
    entries = sorted(path.name for path in root.glob("[!.]*"))
    layouts = "\n".join(f"  {one.title}: {one.images}.* with {one.labels}*" for one in LAYOUTS)
    return AdlError(
        f"{root}: no data set was recognised. In it are: {', '.join(entries[:8]) or 'no files'}"
        f"{', …' if len(entries) > 8 else ''}\nLooked for:\n{layouts}\n"
        "  COCO: annotations/*.json or {split}/_annotations.coco.json\n"
        "  PNG masks, YOLO, labelme: a folder of images and one of labels, above or below those of the splits, or "
        f"without splits;\n    their names: {', '.join(IMAGES + LABELS)}\n"
        f"The smallest file to write by hand, as datasets/{name}.yaml:\n{SMALLEST.replace('NAME', name)}"
    )


SMALLEST = """
name: NAME
title: NAME
splits: {train: train, val: val}
images: {pattern: "images/{split}/{name}.jpg"}
labels: {pattern: "masks/{split}/{name}.png", format: ids}
classes:
  - {name: background, colour: [0, 0, 0], values: [0]}
  - {name: thing, colour: [128, 0, 0], values: [1]}
"""
