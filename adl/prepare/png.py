"""One file, or one frame: is it the undamaged 8-bit PNG that the data set holds there?"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from adl.console import text
from adl.dataset.descriptor import IGNORE, DatasetDescriptor, FileKind, Frame
from adl.prepare.faults import DataError, Fault, unreadable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # signature, and the chunk that states size and kind
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


@dataclasses.dataclass(frozen=True)
class Header:
    """What a PNG says about itself. size: (width, height) in pixels."""

    size: tuple[int, int]
    bytes: int


def header(path: Path, kind: FileKind) -> Header:
    """Check a PNG by its first and last bytes. Raises DataError."""
    try:
        with path.open("rb") as file:
            size = _header_size(file.read(_HEADER_BYTES), path, kind)
            length = file.seek(0, 2)
            if length >= _HEADER_BYTES + len(_END):
                file.seek(-len(_END), 2)
                if file.read() == _END:
                    return Header(size, length)
            _check_chunks(_rewound(file), path, kind)
            return Header(size, length)
    except OSError as error:
        raise DataError([unreadable(path, error)]) from None


def read_frame(frame: Frame, dataset: DatasetDescriptor) -> tuple[bytes, np.ndarray]:
    """Read and check one frame, every byte of it; an image's pixels are not inflated.

    Returns the image file's bytes and the label ids (H, W) uint8. Raises DataError if a PNG is damaged or of another
    kind, if the sizes differ, or if the ids are not label ids.
    """
    image, image_size = _checked(frame.image, dataset.images)
    label, label_size = _checked(frame.label, dataset.labels)
    check_pair(frame, image_size, label_size)
    ids = decoded(label, cv2.IMREAD_UNCHANGED)
    if ids is None or ids.shape != (label_size[1], label_size[0]):
        raise DataError(
            [_damaged(frame.label, "its compressed pixels cannot be decoded", dataset.labels)]
        )
    check_ids(frame.label, np.flatnonzero(np.bincount(ids.ravel(), minlength=256)), dataset)
    return image, ids


def checked_image(path: Path, dataset: DatasetDescriptor) -> bytes:
    """The bytes of an image file, every chunk of which is sound; its pixels are not inflated. Raises DataError."""
    return _checked(path, dataset.images)[0]


def decoded(content: bytes, flags: int) -> np.ndarray | None:
    """What OpenCV sees in a file's bytes; None if that is no image, or one larger than it takes."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def decode_image(content: bytes, path: Path, dataset: DatasetDescriptor) -> np.ndarray:
    """(H, W, 3) uint8 BGR. Raises DataError if the pixels cannot be decoded. path: for the message."""
    image = decoded(content, cv2.IMREAD_COLOR)
    if image is None:
        raise DataError([_damaged(path, "its compressed pixels cannot be decoded", dataset.images)])
    return image


def check_pair(frame: Frame, image_size: tuple[int, int], label_size: tuple[int, int]) -> None:
    """Raises DataError if an image and its label differ in size. Sizes: (width, height)."""
    if image_size != label_size:
        fault = Fault(
            kind="size of a pair",
            file=frame.label,
            problem=f"is {in_pixels(label_size)}, but its image {frame.image} is {in_pixels(image_size)}",
            cause="one of the two was resized",
            remedy="Take both from the original zips",
        )
        raise DataError([fault])


def check_ids(path: Path, ids: np.ndarray, dataset: DatasetDescriptor) -> None:
    """ids: the distinct values of one label file. Raises DataError if some are no label ids, or if all are void."""
    unknown = [value for value in ids.tolist() if value not in dataset.label_names]
    if unknown:
        raise DataError([_unknown_ids(path, unknown, set(ids.tolist()), dataset)])
    if (dataset.train_ids[ids] == IGNORE).all():
        fault = Fault(
            kind="void label",
            file=path,
            problem="no pixel belongs to a class: all are void",
            cause=f"this is a label of the test split, which {dataset.title} withholds, or an empty mask",
            remedy="Leave the test split out of train and val, or remove this frame",
        )
        raise DataError([fault])


def _unknown_ids(
    path: Path, unknown: list[int], present: set[int], dataset: DatasetDescriptor
) -> Fault:
    highest = len(dataset.classes) - 1
    is_train_ids = present <= {*range(highest + 1), IGNORE}
    if is_train_ids:
        cause = (
            f"the file holds train ids (0-{highest} and {IGNORE}) under the name of a label-id file"
        )
    else:
        cause = f"these are not the labels of {dataset.title}, or an editor changed them"
    return Fault(
        kind="train ids" if is_train_ids else "label ids",
        file=path,
        problem=f"label ids {unknown} do not exist; *{dataset.labels.suffix} holds {_known_ids(dataset)} only",
        cause=cause,
        remedy=f"Take the file from {dataset.labels.archive}; train ids are made from it during conversion",
    )


def _known_ids(dataset: DatasetDescriptor) -> str:
    ids = list(dataset.label_names)
    if ids == list(range(ids[0], ids[-1] + 1)):
        return f"{ids[0]}-{ids[-1]}"
    return ", ".join(map(str, ids))


def encoding_fault(
    folder: Path, ids: Collection[int], files: int, dataset: DatasetDescriptor
) -> Fault | None:
    """Train ids without a 255 show only over many files. ids: the distinct values of all `files` label files."""
    highest = len(dataset.classes) - 1
    above = [label for label in dataset.classes if max(label.label_ids) > highest]
    if not ids or not above or max(ids) > highest:
        return None
    return Fault(
        kind="train ids",
        file=folder,
        problem=f"no id above {highest} occurs in {files} label files, although {len(above)} classes have larger ids",
        cause="the files hold train ids under the name of a label-id file",
        remedy=f"Take the files from {dataset.labels.archive}",
    )


def in_pixels(size: tuple[int, int]) -> str:
    """(width, height) for people."""
    return f"{text.size(size[1], size[0])} pixels"


def _rewound(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _checked(path: Path, kind: FileKind) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a PNG, every chunk of which is sound, and its (width, height)."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError([unreadable(path, error)]) from None
    size = _header_size(content[:_HEADER_BYTES], path, kind)
    _check_chunks(content, path, kind)
    return content, size


def _damaged(path: Path, problem: str, kind: FileKind) -> Fault:
    cause = "the download, the unpacking or a copy was interrupted"
    return Fault("damaged", path, problem, cause, f"Unpack it again from {kind.archive}")


def _header_size(start: bytes, path: Path, kind: FileKind) -> tuple[int, int]:
    """(width, height) of a PNG of this kind. start: its first bytes."""
    if not start:
        raise DataError([_empty(path, kind)])
    if not start.startswith(_SIGNATURE):
        raise DataError([_not_a_png(start, path, kind)])
    if len(start) < _HEADER_BYTES:
        raise DataError([_damaged(path, f"the file is truncated after {len(start)} bytes", kind)])
    if start[8:16] != b"\x00\x00\x00\rIHDR":
        raise DataError([_damaged(path, "the first chunk is not a PNG header", kind)])
    if zlib.crc32(start[12:29]) != struct.unpack_from(">I", start, 29)[0]:
        raise DataError([_damaged(path, "wrong checksum of its header", kind)])
    width, height, depth, colour = struct.unpack_from(">IIBB", start, 16)
    if not width or not height:
        raise DataError([_damaged(path, f"its header states {in_pixels((width, height))}", kind)])
    if (depth, colour) != (8, kind.colour_type):
        raise DataError([_wrong_kind(path, kind, depth, colour)])
    return width, height


def _empty(path: Path, kind: FileKind) -> Fault:
    return Fault(
        kind="empty",
        file=path,
        problem="the file is empty (0 bytes)",
        cause="the disk was full, or the unpacking was interrupted",
        remedy=f"Unpack it again from {kind.archive}",
    )


def _not_a_png(start: bytes, path: Path, kind: FileKind) -> Fault:
    problem = f"not a PNG file (it begins {start[:8]!r})"
    cause = "another kind of file was given this name"
    if start.startswith(b"\xff\xd8\xff"):
        problem = "is a JPEG named .png; JPEG changes pixels"
        cause = "it was converted and kept its name"
    return Fault("not a PNG", path, problem, cause, f"Take the original from {kind.archive}")


def _wrong_kind(path: Path, kind: FileKind, depth: int, colour: int) -> Fault:
    is_label = kind.colour_type == 0
    cause = "an image editor or a conversion changed it"
    if is_label and depth == 16:
        cause = "this is an _instanceIds.png, or another 16-bit label, under the name of a label-id file"
    elif is_label and colour in (2, 3, 6):
        cause = "this is a _color.png, or another picture of the label, under the name of a label-id file"
    elif not is_label and colour == 0 and depth == 8:
        cause = "this is a label, or the image was converted to grey"
    found = f"{depth}-bit {_COLOUR_TYPES.get(colour, colour)}"
    return Fault(
        kind="kind of PNG",
        file=path,
        problem=f"is {found}; expected 8-bit {_COLOUR_TYPES[kind.colour_type]}",
        cause=cause,
        remedy=f"Take the original from {kind.archive}",
    )


def _check_chunks(content: bytes, path: Path, kind: FileKind) -> None:
    """Raises DataError unless every chunk of a PNG is there and has the checksum that it states."""
    position, name = len(_SIGNATURE), b""
    while name != b"IEND":
        end = -1
        if position + 12 <= len(content):
            length, name = struct.unpack_from(">I4s", content, position)
            end = position + 8 + length
        if not 0 <= end <= len(content) - 4:
            raise DataError(
                [_damaged(path, f"the file is truncated after {len(content)} bytes", kind)]
            )
        stated = struct.unpack_from(">I", content, end)[0]
        if zlib.crc32(memoryview(content)[position + 4 : end]) != stated:
            raise DataError([_damaged(path, f"wrong checksum at byte {position}", kind)])
        position = end + 4
