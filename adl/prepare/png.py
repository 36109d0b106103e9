"""One file, or one frame: is it the undamaged 8-bit PNG that the data set holds there?"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adl.console import text
from adl.dataset.descriptor import IGNORE, DatasetDescriptor, Files, Frame
from adl.prepare import DataError, Problem, unreadable

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER_BYTES = 33  # signature, and the chunk that states size and kind
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_GREY = 0
_COLOUR_TYPES = {_GREY: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


class Png(NamedTuple):
    """A sound PNG of this kind of file. size: (width, height). content: its bytes, if all of them were read."""

    path: Path
    kind: Files
    size: tuple[int, int]
    content: bytes
    bytes: int

    def decode(self) -> np.ndarray:
        """The pixels of an image, (H, W, 3) uint8 BGR, or of a label, (H, W) uint8.

        Raises DataError if they cannot be decoded.
        """
        flags = cv2.IMREAD_UNCHANGED if self.kind.colour_type == _GREY else cv2.IMREAD_COLOR
        pixels = None
        with contextlib.suppress(cv2.error):  # of one that is larger than OpenCV takes
            pixels = cv2.imdecode(np.frombuffer(self.content, np.uint8), flags)
        if pixels is None:
            raise _fault(self.path, self.kind, "its compressed pixels cannot be decoded")
        return pixels


class _Unsound(Exception):  # noqa: N818
    """What is wrong with a file's bytes: the arguments of `_fault` from `problem` on."""


class Sample(NamedTuple):
    """A sound frame. ids: (H, W) uint8 label ids. pixels: (256,), how many of them have each id."""

    image: Png
    ids: np.ndarray
    pixels: np.ndarray


def header(path: Path, kind: Files, *, whole: bool = False) -> Png:
    """Check a PNG by its first and last bytes, or every chunk of the whole. Raises DataError.

    Its pixels are not inflated.
    """
    content = b""
    try:
        with path.open("rb") as file:
            size = _header_size(file.read(_HEADER_BYTES), kind)
            file.seek(-len(_END), os.SEEK_END)
            # A file with another end lacks some part, or has something behind its end, which does no harm.
            if file.read() != _END or whole:
                file.seek(0)
                content = file.read()
                _check_chunks(content)
            return Png(path, kind, size, content if whole else b"", file.tell())
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    except _Unsound as error:
        raise _fault(path, kind, *error.args) from None


def read_frame(frame: Frame, dataset: DatasetDescriptor) -> Sample:
    """Read and check one frame, every byte of it; an image's pixels are not inflated.

    Raises DataError if a PNG is damaged or of another kind, if the sizes differ, or if the ids are not label ids.
    """
    image = header(frame.image, dataset.images, whole=True)
    label = header(frame.label, dataset.labels, whole=True)
    check_pair(image, label)
    ids = label.decode()
    pixels = np.bincount(ids.ravel(), minlength=256)
    check_ids(frame.label, np.flatnonzero(pixels), dataset)
    return Sample(image, ids, pixels)


def check_pair(image: Png, label: Png) -> None:
    """Raises DataError if an image and its label differ in size."""
    if image.size != label.size:
        raise DataError(
            Problem(
                kind="size of a pair",
                file=label.path,
                problem=f"is {in_pixels(label.size)}, but its image {image.path} is {in_pixels(image.size)}",
                cause="one of the two was resized",
                remedy="Take both from the original zips.",
            )
        )


def check_ids(path: Path, ids: np.ndarray, dataset: DatasetDescriptor) -> None:
    """ids: the distinct values of one label file. Raises DataError if some are no label ids, or if all are void."""
    unknown = set(ids.tolist()) - dataset.label_names.keys()
    if unknown:
        highest = len(dataset.classes) - 1
        kind = "label ids"
        cause = f"these are not the labels of {dataset.title}, or an editor changed them"
        if {*range(highest + 1), IGNORE}.issuperset(ids):
            kind = "train ids"
            cause = f"the file holds train ids (0-{highest} and {IGNORE}) under the name of a label-id file"
        known = list(dataset.label_names)
        holds = ", ".join(map(str, known))
        if len(known) == known[-1] - known[0] + 1:
            holds = f"{known[0]}-{known[-1]}"
        raise DataError(
            Problem(
                kind=kind,
                file=path,
                problem=f"label ids {sorted(unknown)} do not exist; *{dataset.labels.suffix} holds {holds} only",
                cause=cause,
                remedy=f"Take the file from {dataset.source_of(dataset.labels)}; conversion makes train ids of it.",
            )
        )
    if (dataset.train_ids[ids] == IGNORE).all():
        raise DataError(
            Problem(
                kind="void label",
                file=path,
                problem="no pixel belongs to a class: all are void",
                cause=f"this is a label of the test split, which {dataset.title} withholds, or an empty mask",
                remedy="Leave the test split out of train and val, or remove this frame.",
            )
        )


def check_encoding(folder: Path, pixels: np.ndarray, files: int, dataset: DatasetDescriptor) -> None:
    """Raises DataError for label files with train ids and without a 255, which only many of them show.

    pixels: (256,), how many pixels of all `files` label files have each id.
    """
    highest = len(dataset.classes) - 1
    above = [label for label in dataset.classes if max(label.values) > highest]
    if above and pixels.any() and not pixels[highest + 1 :].any():
        raise DataError(
            Problem(
                kind="train ids",
                file=folder,
                problem=f"no id above {highest} occurs in {files} label files, although {len(above)} classes have "
                "larger ids",
                cause="the files hold train ids under the name of a label-id file",
                remedy=f"Take the files from {dataset.source_of(dataset.labels)}.",
            )
        )


def in_pixels(size: tuple[int, int]) -> str:
    """(width, height) for people."""
    return f"{text.size(size[1], size[0])} pixels"


def _fault(
    path: Path,
    kind: Files,
    problem: str,
    sort: str = "damaged",
    cause: str = "the download, the unpacking or a copy was interrupted",
) -> DataError:
    """The error for a file of this kind."""
    remedy = f"Take the original from {kind.source}." if kind.source else "Take the original."
    return DataError(Problem(sort, path, problem, cause, remedy))


def _header_size(start: bytes, kind: Files) -> tuple[int, int]:
    """(width, height) of a PNG of this kind. start: its first bytes."""
    if not start:
        cause = "the disk was full, or the unpacking was interrupted"
        raise _Unsound("the file is empty (0 bytes)", "empty", cause)
    if start.startswith(b"\xff\xd8\xff"):
        problem = "is a JPEG named .png; JPEG changes pixels"
        raise _Unsound(problem, "not a PNG", "it was converted and kept its name")
    if len(start) < _HEADER_BYTES:
        raise _Unsound(f"the file is truncated after {len(start)} bytes")
    if not start.startswith(_START):
        problem = f"not a PNG file (it begins {start[:16]!r})"
        cause = "another kind of file was given this name"
        raise _Unsound(problem, "not a PNG", cause)
    width, height, depth, colour, checksum = struct.unpack_from(">IIBB3xI", start, len(_START))
    if zlib.crc32(start[12:29]) != checksum:
        raise _Unsound("wrong checksum of its header")
    if not width or not height:
        raise _Unsound(f"its header states {in_pixels((width, height))}")
    if (depth, colour) != (8, kind.colour_type):
        found = f"{depth}-bit {_COLOUR_TYPES.get(colour, colour)}"
        problem = f"is {found}; expected 8-bit {_COLOUR_TYPES[kind.colour_type]}"
        raise _Unsound(problem, "kind of PNG", _origin(kind, depth, colour))
    return width, height


def _origin(kind: Files, depth: int, colour: int) -> str:
    """What a PNG of another bit depth or colour type probably is, and how it came to its place."""
    if kind.colour_type == _GREY:
        if depth == 16:
            return "this is an _instanceIds.png, or another 16-bit label, under the name of a label-id file"
        if colour != _GREY:
            return "this is a _color.png, or another picture of the label, under the name of a label-id file"
    elif (depth, colour) == (8, _GREY):
        return "this is a label, or the image was converted to grey"
    return "an image editor or a conversion changed it"


def _check_chunks(content: bytes) -> None:
    """Raises _Unsound unless every chunk of a PNG is there and has the checksum that it states."""
    position = 8
    name = b""
    try:
        while name != b"IEND":
            length, name = struct.unpack_from(">I4s", content, position)
            end = position + 8 + length
            [stated] = struct.unpack_from(">I", content, end)
            if zlib.crc32(content[position + 4 : end]) != stated:
                raise _Unsound(f"wrong checksum at byte {position}")
            position = end + 4
    except struct.error:
        raise _Unsound(f"the file is truncated after {len(content)} bytes") from None
