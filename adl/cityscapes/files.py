"""One file, or one frame: is it the undamaged 8-bit PNG that Cityscapes holds there?"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from adl.cityscapes import IGNORE, IMAGES, LABELLED, LABELS, TRAIN_ID, Frame
from adl.cityscapes.faults import ZIPS, DataError, Fault, unreadable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # signature, and the chunk that states size and kind
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
_EXPECTED = {IMAGES: (8, 2), LABELLED: (8, 0)}
_HIGHEST_ID = LABELS[-1].id
_HIGHEST_TRAIN_ID = 18


@dataclasses.dataclass(frozen=True)
class Header:
    """What a PNG says about itself. size: (width, height) in pixels."""

    size: tuple[int, int]
    bytes: int


def header(path: Path, role: str) -> Header:
    """Check a PNG by its first and last bytes. role: "leftImg8bit" or "gtFine". Raises DataError."""
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
            size = _header_size(start, path, role)
            length = file.seek(0, 2)
            if length >= _HEADER_BYTES + len(_END):
                file.seek(-len(_END), 2)
                if file.read() == _END:
                    return Header(size, length)
            _check_chunks(_rewound(file), path, role)
            return Header(size, length)
    except OSError as error:
        raise DataError([unreadable(path, error)]) from None


def read_frame(frame: Frame) -> tuple[bytes, np.ndarray]:
    """Read and check one frame, every byte of it; an image's pixels are not inflated.

    Returns the image file's bytes and the label ids (H, W) uint8. Raises DataError where a PNG is damaged or of
    another kind, sizes differ, or the ids are not label ids.
    """
    image, image_size = _checked(frame.image, IMAGES)
    label, label_size = _checked(frame.label, LABELLED)
    check_pair(frame, image_size, label_size)
    ids = decoded(label, cv2.IMREAD_UNCHANGED)
    if ids is None or ids.shape != (label_size[1], label_size[0]):
        raise DataError([_damaged(frame.label, "its compressed pixels cannot be decoded", LABELLED)])
    check_ids(frame.label, np.flatnonzero(np.bincount(ids.ravel(), minlength=256)))
    return image, ids


def read_label(frame: Frame) -> np.ndarray:
    """The checked label ids (H, W) uint8 of a frame."""
    return read_frame(frame)[1]


def read_image(path: Path) -> bytes:
    """The checked bytes of an image file; its pixels are not inflated. Raises DataError."""
    return _checked(path, IMAGES)[0]


def decoded(content: bytes, flags: int) -> np.ndarray | None:
    """What OpenCV sees in a file's bytes; None where that is no image, or one larger than it takes."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def decode_image(content: bytes, path: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises DataError where the pixels cannot be decoded."""
    image = decoded(content, cv2.IMREAD_COLOR)
    if image is None:
        raise DataError([_damaged(path, "its compressed pixels cannot be decoded", IMAGES)])
    return image


def check_pair(frame: Frame, image_size: tuple[int, int], label_size: tuple[int, int]) -> None:
    if image_size != label_size:
        fault = Fault(
            "size of a pair",
            frame.label,
            f"is {text(label_size)}, but its image {frame.image} is {text(image_size)}",
            "one of the two was resized",
            "Take both from the original zips",
        )
        raise DataError([fault])


def check_ids(path: Path, ids: np.ndarray) -> None:
    """ids: the distinct values of one label file."""
    if ids.max() > _HIGHEST_ID:
        wrong = ids[ids > _HIGHEST_ID].tolist()
        train_ids = set(ids.tolist()) <= {*range(_HIGHEST_TRAIN_ID + 1), IGNORE}
        fault = Fault(
            "train ids" if train_ids else "label ids",
            path,
            f"label ids {wrong} do not exist; a _labelIds.png holds 0-{_HIGHEST_ID} only",
            f"the file holds train ids (0-{_HIGHEST_TRAIN_ID} and {IGNORE}) under the name of label ids"
            if train_ids
            else "these are not the labels of Cityscapes, or an editor changed them",
            f"Take the file from {ZIPS[LABELLED]}; train ids are made from it while converting",
        )
        raise DataError([fault])
    if (TRAIN_ID[ids] == IGNORE).all():
        fault = Fault(
            "void label",
            path,
            "no pixel belongs to a class: all are void",
            "this is a label of the test split, which Cityscapes withholds, or an empty mask",
            "Leave the test split out of train and val, or remove this frame",
        )
        raise DataError([fault])


def encoding_fault(folder: Path, ids: Collection[int], files: int) -> Fault | None:
    """Train ids without a 255 show only over many files. ids: the distinct values of all `files` label files."""
    if not ids or max(ids) > _HIGHEST_TRAIN_ID:
        return None
    return Fault(
        "train ids",
        folder,
        f"no id above {_HIGHEST_TRAIN_ID} occurs in {files} _labelIds.png files; vegetation (21), sky (23) and car "
        "(26) should",
        "the files hold train ids under the name of label ids",
        f"Take the files from {ZIPS[LABELLED]}",
    )


def text(size: tuple[int, int]) -> str:
    """(width, height) for people."""
    return f"{size[0]}×{size[1]} pixels"


def _rewound(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _checked(path: Path, role: str) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a PNG, every chunk of which is sound, and its (width, height)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError([unreadable(path, error)]) from None
    size = _header_size(content[:_HEADER_BYTES], path, role)
    _check_chunks(content, path, role)
    return content, size


def _damaged(path: Path, problem: str, role: str) -> Fault:
    cause = "the download, the unpacking or a copy was interrupted"
    return Fault("damaged", path, problem, cause, f"Unpack it again from {ZIPS[role]}")


def _header_size(start: bytes, path: Path, role: str) -> tuple[int, int]:
    """(width, height) of a PNG of the kind that its role asks for. start: its first bytes."""
    if not start:
        fault = Fault(
            "empty",
            path,
            "the file is empty (0 bytes)",
            "the disk was full, or the unpacking was interrupted",
            f"Unpack it again from {ZIPS[role]}",
        )
        raise DataError([fault])
    if not start.startswith(_SIGNATURE):
        jpeg = start.startswith(b"\xff\xd8\xff")
        fault = Fault(
            "not a PNG",
            path,
            "is a JPEG named .png; JPEG changes pixels" if jpeg else f"not a PNG file (it begins {start[:8]!r})",
            "it was converted and kept its name" if jpeg else "it is something else under this name",
            f"Take the original from {ZIPS[role]}",
        )
        raise DataError([fault])
    if len(start) < _HEADER_BYTES:
        raise DataError([_damaged(path, f"the file is truncated after {len(start)} bytes", role)])
    if start[8:16] != b"\x00\x00\x00\rIHDR":
        raise DataError([_damaged(path, "the first chunk is not a PNG header", role)])
    if zlib.crc32(start[12:29]) != struct.unpack_from(">I", start, 29)[0]:
        raise DataError([_damaged(path, "wrong checksum of its header", role)])
    width, height, depth, colour = struct.unpack_from(">IIBB", start, 16)
    if not width or not height:
        raise DataError([_damaged(path, f"its header states {text((width, height))}", role)])
    if (depth, colour) != _EXPECTED[role]:
        raise DataError([_wrong_kind(path, role, depth, colour)])
    return width, height


def _wrong_kind(path: Path, role: str, depth: int, colour: int) -> Fault:
    expected = f"8-bit {_COLOUR_TYPES[_EXPECTED[role][1]]}"
    cause = "an image editor or a conversion changed it"
    if role == LABELLED and depth == 16:
        cause = "this is an _instanceIds.png, or another 16-bit label, under the name of label ids"
    elif role == LABELLED and colour in (2, 3, 6):
        cause = "this is a _color.png, or another picture of the label, under the name of label ids"
    elif role == IMAGES and colour == 0 and depth == 8:
        cause = "this is a label, or the image was converted to grey"
    return Fault(
        "kind of PNG",
        path,
        f"is {depth}-bit {_COLOUR_TYPES.get(colour, colour)}; expected {expected}",
        cause,
        f"Take the original from {ZIPS[role]}",
    )


def _check_chunks(content: bytes, path: Path, role: str) -> None:
    """Every chunk of a PNG is there and has the checksum that it states."""
    position, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        end = -1
        if position + 12 <= len(content):
            length, kind = struct.unpack_from(">I4s", content, position)
            end = position + 8 + length
        if not 0 <= end <= len(content) - 4:
            raise DataError([_damaged(path, f"the file is truncated after {len(content)} bytes", role)])
        if zlib.crc32(memoryview(content)[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise DataError([_damaged(path, f"wrong checksum at byte {position}", role)])
        position = end + 4
