"""One file: is it an undamaged PNG or JPEG of a kind that the data set may hold there?"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor, Files
from adl.prepare import DataError, Problem, original, unreadable

PNG, JPEG = "PNG", "JPEG"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types, as a PNG's header has them."""
NAMES = {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey with alpha", RGBA: "RGB with alpha"}
SUFFIXES = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG}

_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_HEADER_BYTES = 33  # signature, and the chunk that states size and kind
_ENDS = {PNG: b"\x00\x00\x00\x00IEND\xaeB`\x82", JPEG: b"\xff\xd9"}
_JPEG_START = b"\xff\xd8\xff"
_ORIENTATION = 0x112  # EXIF's number of it
_TURNED = range(5, 9)  # orientations in which width and height change places


class Picture(NamedTuple):
    """A sound file. size: (width, height) as its header has it. depth: bits. colour: see `NAMES`. orientation: of EXIF,
    1 if upright. content: its bytes, if all of them were read. bytes: how many.
    """

    path: Path
    format: str
    size: tuple[int, int]
    depth: int
    colour: int
    orientation: int
    content: bytes
    bytes: int

    @property
    def kind(self) -> str:
        return f"{self.depth}-bit {NAMES[self.colour]}"

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) once it is turned as EXIF says."""
        return self.size[::-1] if self.orientation in _TURNED else self.size


class _Unsound(Exception):  # noqa: N818
    """What is wrong with a file's bytes: the arguments of `Problem` from `problem` on, and before it its kind."""


def header(path: Path, files: Files, *, whole: bool = False) -> Picture:
    """Check a file by its first and last bytes, or every byte of the whole. Raises DataError.

    The pixels of a PNG are not inflated.
    """
    content = b""
    try:
        with path.open("rb") as file:
            start = file.read(_HEADER_BYTES)
            format_, size, depth, colour = _stated(start, path, file)
            end = _ENDS[format_]
            file.seek(-len(end), os.SEEK_END)
            # A file with another end lacks some part, or has something behind its end, which does no harm.
            if file.read() != end or whole:
                file.seek(0)
                content = file.read()
                _WHOLE[format_](content)
            length = file.seek(0, os.SEEK_END)
            file.seek(0)
            orientation = _orientation(file) if format_ == JPEG or b"eXIf" in content else 1
        return Picture(path, format_, size, depth, colour, orientation, content if whole else b"", length)
    except OSError as error:
        raise DataError(unreadable(path, error)) from None
    except _Unsound as error:
        raise damaged(path, files, *error.args) from None


def check_image(image: Picture, dataset: DatasetDescriptor) -> None:
    """Raises DataError if an image is of a kind that the data set does not have."""
    section = dataset.images
    problem = cause = remedy = ""
    allowed = (RGB,) if section.channels == "RGB" else (GREY, RGB, RGBA)
    if image.depth != 8 or image.colour not in allowed:
        expected = "8-bit RGB" if section.channels == "RGB" else "8-bit grey or RGB"
        problem = f"is {image.kind}; expected {expected}"
        cause = "an image editor or a conversion changed it"
        if image.depth == 8 and image.colour == GREY:
            cause = "this is a label, or the image was converted to grey"
        remedy = f"{original(section)}, or convert it: magick mogrify -depth 8 -type TrueColor -alpha off {image.path}"
    elif image.orientation != 1 and section.orientation == "refuse":
        problem = f"is turned by its EXIF orientation ({image.orientation})"
        cause = "a camera was held upright"
        remedy = (
            "Write `orientation: apply` below `images:` in the data set's file if the labels are of the turned image; "
            "else turn it for good: magick mogrify -auto-orient"
        )
    elif image.colour == RGBA and image.content and _pixels(image)[..., 3].min() < 255:
        problem = "has transparent pixels"
        cause = "it was cut out in an image editor"
        remedy = f"{original(section)}, or convert it: magick mogrify -alpha off {image.path}"
    if problem:
        raise DataError(Problem("kind of image", image.path, problem, cause, f"{remedy}."))


def size_of(image: Picture, dataset: DatasetDescriptor) -> tuple[int, int]:
    """(width, height) of an image as the network sees it."""
    return image.shown_size if dataset.images.orientation == "apply" else image.size


def decode(image: Picture, files: Files) -> np.ndarray:
    """The pixels of an image that was read whole, (H, W, 3) uint8 BGR, turned as EXIF says. Raises DataError."""
    pixels = None
    with contextlib.suppress(cv2.error):  # of one that is larger than OpenCV takes
        pixels = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise damaged(image.path, files, "damaged", "its compressed pixels cannot be decoded")
    return pixels


def _pixels(image: Picture) -> np.ndarray:
    with Image.open(io.BytesIO(image.content)) as opened:
        return np.asarray(opened)


def indices(image: Picture, files: Files) -> np.ndarray:
    """(H, W) uint8: what the pixels of a grey PNG, or of one with a palette, hold; (H, W, 3) RGB of another.

    Raises DataError.
    """
    if image.depth == 8 and image.colour == GREY:
        with contextlib.suppress(cv2.error):
            pixels = cv2.imdecode(np.frombuffer(image.content, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is not None:
                return pixels
        raise damaged(image.path, files, "damaged", "its compressed pixels cannot be decoded")
    try:
        with Image.open(io.BytesIO(image.content)) as opened:
            # A few bits for each pixel are unpacked to whole bytes.
            opened.load()
            return np.asarray(opened.convert("RGB") if image.colour in (RGB, RGBA) else opened).astype(np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError):
        raise damaged(image.path, files, "damaged", "its compressed pixels cannot be decoded") from None


def in_pixels(size: tuple[int, int]) -> str:
    """(width, height) for people."""
    return f"{text.size(size[1], size[0])} pixels"


def damaged(
    path: Path,
    files: Files,
    kind: str,
    problem: str,
    cause: str = "",
    remedy: str = "",
) -> DataError:
    """The error for a file whose bytes are wrong."""
    if not cause:
        cause = (
            f"{'the download, the unpacking or a copy' if files.source else 'writing or copying it'} was interrupted"
        )
    return DataError(Problem(kind, path, problem, cause, remedy or f"{original(files)}."))


def _stated(start: bytes, path: Path, file: io.BufferedReader) -> tuple[str, tuple[int, int], int, int]:
    """Format, (width, height), depth and colour type, as a file's first bytes state them."""
    if not start:
        raise _Unsound("empty", "the file is empty (0 bytes)", "the disk was full, or writing it was interrupted")
    named = SUFFIXES.get(path.suffix.lower())
    if start.startswith((b"II*\x00", b"MM\x00*")):
        remedy = f"Convert it: magick mogrify -format png -depth 8 {path}."
        raise _Unsound("not a PNG", "is a TIFF, which is not read", "it came so from its source", remedy)
    if start.startswith(_JPEG_START):
        if named == PNG:
            problem, cause = "is a JPEG named .png; JPEG changes pixels", "it was converted and kept its name"
            raise _Unsound("not a PNG", problem, cause)
        return JPEG, *_jpeg_header(file)
    if len(start) < _HEADER_BYTES:
        raise _Unsound("damaged", f"the file is truncated after {len(start)} bytes")
    if not start.startswith(_START) or named == JPEG:
        problem = f"not a {named or 'PNG or JPEG'} file (it begins {start[:16]!r})"
        raise _Unsound("not a PNG", problem, "another kind of file was given this name")
    width, height, depth, colour, checksum = struct.unpack_from(">IIBB3xI", start, len(_START))
    if zlib.crc32(start[12:29]) != checksum:
        raise _Unsound("damaged", "wrong checksum of its header")
    if not width or not height:
        raise _Unsound("damaged", f"its header states {in_pixels((width, height))}")
    return PNG, (width, height), depth, colour


def _jpeg_header(file: io.BufferedReader) -> tuple[tuple[int, int], int, int]:
    file.seek(0)
    try:
        with Image.open(file) as opened:
            if opened.mode not in ("L", "RGB"):
                problem = f"has {len(opened.getbands())} channels ({opened.mode}); expected grey or RGB"
                remedy = f"Convert it: magick mogrify -colorspace sRGB {file.name}."
                raise _Unsound("kind of image", problem, "it was made for print", remedy)
            return opened.size, 8, RGB if opened.mode == "RGB" else GREY
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise _Unsound("damaged", "its header cannot be read, or states more pixels than are read") from None


def _orientation(file: io.BufferedReader) -> int:
    with warnings.catch_warnings(), Image.open(file) as opened:
        warnings.simplefilter("ignore")  # of EXIF that is damaged, which says nothing then
        return opened.getexif().get(_ORIENTATION, 1)


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
                raise _Unsound("damaged", f"wrong checksum at byte {position}")
            position = end + 4
    except struct.error:
        raise _Unsound("damaged", f"the file is truncated after {len(content)} bytes") from None


def _check_jpeg(content: bytes) -> None:
    """Raises _Unsound unless all of a JPEG's pixels are there."""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _Unsound("damaged", f"cannot be decoded ({error})") from None


_WHOLE = {PNG: _check_chunks, JPEG: _check_jpeg}
