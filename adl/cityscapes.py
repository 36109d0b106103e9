"""Cityscapes as facts: labels, colours, normalisation, folder layout; and the checks of its files.

The label table is the official one, from `cityscapesscripts`; nothing here repeats it.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from cityscapesscripts.helpers.labels import labels as _official

from adl.errors import AdlError

SPLITS = ("train", "val")
SPLIT_SIZES = {"train": 2975, "val": 500, "test": 1525}
HEIGHT, WIDTH = 1024, 2048

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

_IMAGE_SUFFIX = "_leftImg8bit.png"
_LABEL_SUFFIX = "_gtFine_labelIds.png"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


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
    return root / "leftImg8bit" / split / city / f"{name}{_IMAGE_SUFFIX}"


def label_path(root: Path, split: str, city: str, name: str) -> Path:
    return root / "gtFine" / split / city / f"{name}{_LABEL_SUFFIX}"


def prediction_path(root: Path, name: str) -> Path:
    """Where a predicted label map goes, as the official script expects to find it."""
    return root / name.split("_", maxsplit=1)[0] / f"{name}.png"


def frames(root: str | Path, split: str, *, expected: int | None = None) -> list[Frame]:
    """Every image of a split with its label, sorted by city and name.

    Raises AdlError where there are none, where an image has no label or the reverse, or where their number is not
    the expected one.
    """
    root = Path(root)
    images = {p.name.removesuffix(_IMAGE_SUFFIX): p for p in (root / "leftImg8bit" / split).glob(f"*/*{_IMAGE_SUFFIX}")}
    labels = {p.name.removesuffix(_LABEL_SUFFIX): p for p in (root / "gtFine" / split).glob(f"*/*{_LABEL_SUFFIX}")}
    for found, pattern in (
        (images, f"leftImg8bit/{split}/<city>/*{_IMAGE_SUFFIX}"),
        (labels, f"gtFine/{split}/<city>/*{_LABEL_SUFFIX}"),
    ):
        if not found:
            raise AdlError(
                f"{root}: no file {pattern} was found. data_path must name the folder that holds both leftImg8bit/ "
                "and gtFine/ (the 1st and the 3rd zip of Cityscapes, unpacked in one place)."
            )
    faults = [
        f"{images[name]}: this image has no label {label_path(root, split, images[name].parent.name, name)}"
        for name in sorted(images.keys() - labels.keys())
    ] + [
        f"{labels[name]}: this label has no image {image_path(root, split, labels[name].parent.name, name)}"
        for name in sorted(labels.keys() - images.keys())
    ]
    if faults:
        raise AdlError("\n".join(faults[:20] + ([f"… and {len(faults) - 20} more"] if len(faults) > 20 else [])))
    if expected is not None and len(images) != expected:
        raise AdlError(
            f"{root}: the {split} split has {len(images)} images, but expected_{split}_images is {expected}. Unpack "
            f"the missing ones, or set expected_{split}_images to null to work with a part."
        )
    return [
        Frame(name, images[name], labels[name]) for name in sorted(images, key=lambda n: (images[n].parent.name, n))
    ]


def read_frame(frame: Frame) -> tuple[bytes, np.ndarray]:
    """Read and check one frame.

    Returns the image file's bytes and the label ids (H, W) uint8. Raises AdlError, naming the file, where a PNG is
    damaged or of another kind, sizes differ, or a label id lies outside 0-33.
    """
    image = _read(frame.image)
    label = _read(frame.label)
    image_size = _png_size(image, frame.image, colour_type=2)
    label_size = _png_size(label, frame.label, colour_type=0)
    if image_size != label_size:
        raise AdlError(f"{frame.label}: is {_size(label_size)}, but its image {frame.image} is {_size(image_size)}.")
    ids = cv2.imdecode(np.frombuffer(label, np.uint8), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.shape != (label_size[1], label_size[0]):
        raise AdlError(f"{frame.label}: its compressed pixels cannot be decoded. Unpack or download it again.")
    if ids.max() > LABELS[-1].id:
        wrong = np.unique(ids[ids > LABELS[-1].id]).tolist()
        raise AdlError(f"{frame.label}: label ids {wrong} do not exist; a _labelIds.png holds 0-{LABELS[-1].id} only.")
    return image, ids


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, which is checked as `read_frame` checks it."""
    return _png_size(_read(path), path, colour_type=2)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} pixels"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AdlError(f"{path}: cannot be read ({error.strerror}).") from None


def _png_size(content: bytes, path: Path, *, colour_type: int) -> tuple[int, int]:
    """(width, height) of an undamaged 8-bit PNG of the wanted kind; its pixels are not inflated."""
    if not content:
        raise AdlError(f"{path}: the file is empty. Unpack or download it again.")
    if not content.startswith(_SIGNATURE):
        raise AdlError(f"{path}: not a PNG file (its first bytes are {content[:8]!r}).")
    position, header, kind = len(_SIGNATURE), b"", b""
    while kind != b"IEND":
        if position + 12 > len(content):
            raise AdlError(f"{path}: the file is truncated after {len(content)} bytes. Unpack or download it again.")
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            raise AdlError(f"{path}: the file is truncated after {len(content)} bytes. Unpack or download it again.")
        if zlib.crc32(memoryview(content)[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise AdlError(f"{path}: damaged (wrong checksum at byte {position}). Unpack or download it again.")
        if not header:
            if kind != b"IHDR" or length != 13:
                raise AdlError(f"{path}: damaged (the first chunk is not a PNG header).")
            header = content[position + 8 : end]
        position = end + 4
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    if (depth, colour) != (8, colour_type):
        found = f"{depth}-bit {_COLOUR_TYPES.get(colour, colour)}"
        raise AdlError(f"{path}: is {found}; expected 8-bit {_COLOUR_TYPES[colour_type]}.")
    return width, height
