"""One file, or one frame: is it the undamaged 8-bit PNG that the data set holds there?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np

from adl.console import text
from adl.dataset.descriptor import IGNORE, DatasetDescriptor, FileKind, Frame
from adl.prepare import DataError, Problem, unreadable

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 33  # signature, and the chunk that states size and kind
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_GREY = 0
_COLOUR_TYPES = {_GREY: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


@dataclasses.dataclass(frozen=True)
class Header:
    """What a PNG says about itself. size: (width, height) in pixels."""

    size: tuple[int, int]
    bytes: int


def header(path: Path, kind: FileKind) -> Header:
    """Check a PNG by its first and last bytes. Raises DataError."""
    with _readable(path), path.open("rb") as file:
        size = _header_size(file.read(_HEADER_BYTES), path, kind)
        file.seek(-len(_END), os.SEEK_END)
        end = file.read()
        length = file.tell()
    if end != _END:
        read(path, kind)  # says which part is missing; something behind the end does no harm
    return Header(size, length)


def read(path: Path, kind: FileKind) -> tuple[bytes, tuple[int, int]]:
    """The bytes of a PNG, every chunk of which is sound, and its (width, height). Raises DataError.

    Its pixels are not inflated.
    """
    with _readable(path):
        content = path.read_bytes()
    size = _header_size(content[:_HEADER_BYTES], path, kind)
    _check_chunks(content, path, kind)
    return content, size


def read_frame(frame: Frame, dataset: DatasetDescriptor) -> tuple[bytes, np.ndarray]:
    """Read and check one frame, every byte of it; an image's pixels are not inflated.

    Returns the image file's bytes and the label ids (H, W) uint8. Raises DataError if a PNG is damaged or of another
    kind, if the sizes differ, or if the ids are not label ids.
    """
    image, image_size = read(frame.image, dataset.images)
    label, label_size = read(frame.label, dataset.labels)
    check_pair(frame, image_size, label_size)
    ids = decode(label, frame.label, dataset.labels)
    check_ids(frame.label, np.flatnonzero(np.bincount(ids.ravel(), minlength=256)), dataset)
    return image, ids


def decoded(content: bytes, flags: int) -> np.ndarray | None:
    """What OpenCV sees in a file's bytes; None if that is no image, or one larger than it takes."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def decode(content: bytes, path: Path, kind: FileKind) -> np.ndarray:
    """The pixels of an image, (H, W, 3) uint8 BGR, or of a label, (H, W) uint8, of this kind of file.

    Raises DataError if they cannot be decoded. path: for the message.
    """
    is_label = kind.colour_type == _GREY
    pixels = decoded(content, cv2.IMREAD_UNCHANGED if is_label else cv2.IMREAD_COLOR)
    if pixels is None:
        raise _damaged(path, "its compressed pixels cannot be decoded", kind)
    return pixels


def check_pair(frame: Frame, image_size: tuple[int, int], label_size: tuple[int, int]) -> None:
    """Raises DataError if an image and its label differ in size. Sizes: (width, height)."""
    if image_size != label_size:
        problem = Problem(
            kind="size of a pair",
            file=frame.label,
            problem=f"is {in_pixels(label_size)}, but its image {frame.image} is {in_pixels(image_size)}",
            cause="one of the two was resized",
            remedy="Take both from the original zips",
        )
        raise DataError(problem)


def check_ids(path: Path, ids: np.ndarray, dataset: DatasetDescriptor) -> None:
    """ids: the distinct values of one label file. Raises DataError if some are no label ids, or if all are void."""
    present = set(ids.tolist())
    unknown = present - dataset.label_names.keys()
    if unknown:
        raise DataError(_unknown_ids(path, sorted(unknown), present, dataset))
    if (dataset.train_ids[ids] == IGNORE).all():
        problem = Problem(
            kind="void label",
            file=path,
            problem="no pixel belongs to a class: all are void",
            cause=f"this is a label of the test split, which {dataset.title} withholds, or an empty mask",
            remedy="Leave the test split out of train and val, or remove this frame",
        )
        raise DataError(problem)


def _unknown_ids(
    path: Path, unknown: list[int], present: set[int], dataset: DatasetDescriptor
) -> Problem:
    highest = len(dataset.classes) - 1
    kind = "label ids"
    cause = f"these are not the labels of {dataset.title}, or an editor changed them"
    if present <= {*range(highest + 1), IGNORE}:
        kind = "train ids"
        cause = (
            f"the file holds train ids (0-{highest} and {IGNORE}) under the name of a label-id file"
        )
    known = list(dataset.label_names)
    holds = ", ".join(map(str, known))
    if len(known) == known[-1] - known[0] + 1:
        holds = f"{known[0]}-{known[-1]}"
    return Problem(
        kind=kind,
        file=path,
        problem=f"label ids {unknown} do not exist; *{dataset.labels.suffix} holds {holds} only",
        cause=cause,
        remedy=f"Take the file from {dataset.labels.archive}; train ids are made from it during conversion",
    )


def encoding_problems(
    folder: Path, ids: Collection[int], files: int, dataset: DatasetDescriptor
) -> list[Problem]:
    """Label files with train ids and without a 255, which only many of them show.

    ids: the distinct values of all `files` label files.
    """
    highest = len(dataset.classes) - 1
    above = [label for label in dataset.classes if max(label.label_ids) > highest]
    if not ids or not above or max(ids) > highest:
        return []
    problem = Problem(
        kind="train ids",
        file=folder,
        problem=f"no id above {highest} occurs in {files} label files, although {len(above)} classes have larger ids",
        cause="the files hold train ids under the name of a label-id file",
        remedy=f"Take the files from {dataset.labels.archive}",
    )
    return [problem]


def in_pixels(size: tuple[int, int]) -> str:
    """(width, height) for people."""
    return f"{text.size(size[1], size[0])} pixels"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises DataError if the block cannot read the file."""
    try:
        yield
    except OSError as error:
        raise DataError(unreadable(path, error)) from None


def _damaged(path: Path, problem: str, kind: FileKind) -> DataError:
    cause = "the download, the unpacking or a copy was interrupted"
    remedy = f"Unpack it again from {kind.archive}"
    return DataError(Problem("damaged", path, problem, cause, remedy))


def _header_size(start: bytes, path: Path, kind: FileKind) -> tuple[int, int]:
    """(width, height) of a PNG of this kind. start: its first bytes."""
    if not start:
        cause = "the disk was full, or the unpacking was interrupted"
        remedy = f"Unpack it again from {kind.archive}"
        raise DataError(Problem("empty", path, "the file is empty (0 bytes)", cause, remedy))
    if not start.startswith(_SIGNATURE):
        raise DataError(_not_a_png(start, path, kind))
    if len(start) < _HEADER_BYTES:
        raise _damaged(path, f"the file is truncated after {len(start)} bytes", kind)
    name, width, height, depth, colour, checksum = struct.unpack_from(">8sIIBB3xI", start, 8)
    if name != b"\x00\x00\x00\rIHDR":
        raise _damaged(path, "the first chunk is not a PNG header", kind)
    if zlib.crc32(start[12:29]) != checksum:
        raise _damaged(path, "wrong checksum of its header", kind)
    if not width or not height:
        raise _damaged(path, f"its header states {in_pixels((width, height))}", kind)
    if (depth, colour) != (8, kind.colour_type):
        raise DataError(_wrong_kind(path, kind, depth, colour))
    return width, height


def _not_a_png(start: bytes, path: Path, kind: FileKind) -> Problem:
    problem = f"not a PNG file (it begins {start[:8]!r})"
    cause = "another kind of file was given this name"
    if start.startswith(b"\xff\xd8\xff"):
        problem = "is a JPEG named .png; JPEG changes pixels"
        cause = "it was converted and kept its name"
    return Problem("not a PNG", path, problem, cause, f"Take the original from {kind.archive}")


def _wrong_kind(path: Path, kind: FileKind, depth: int, colour: int) -> Problem:
    is_label = kind.colour_type == _GREY
    cause = "an image editor or a conversion changed it"
    if is_label and depth == 16:
        cause = "this is an _instanceIds.png, or another 16-bit label, under the name of a label-id file"
    elif is_label and colour in (2, 3, 6):
        cause = "this is a _color.png, or another picture of the label, under the name of a label-id file"
    elif not is_label and colour == 0 and depth == 8:
        cause = "this is a label, or the image was converted to grey"
    found = f"{depth}-bit {_COLOUR_TYPES.get(colour, colour)}"
    return Problem(
        kind="kind of PNG",
        file=path,
        problem=f"is {found}; expected 8-bit {_COLOUR_TYPES[kind.colour_type]}",
        cause=cause,
        remedy=f"Take the original from {kind.archive}",
    )


def _check_chunks(content: bytes, path: Path, kind: FileKind) -> None:
    """Raises DataError unless every chunk of a PNG is there and has the checksum that it states."""
    position = len(_SIGNATURE)
    name = b""
    try:
        while name != b"IEND":
            length, name = struct.unpack_from(">I4s", content, position)
            end = position + 8 + length
            [stated] = struct.unpack_from(">I", content, end)
            if zlib.crc32(content[position + 4 : end]) != stated:
                raise _damaged(path, f"wrong checksum at byte {position}", kind)
            position = end + 4
    except struct.error:
        problem = f"the file is truncated after {len(content)} bytes"
        raise _damaged(path, problem, kind) from None
