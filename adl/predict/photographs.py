"""Photographs as people have them: which files of a folder are images, and their pixels as the network wants them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence, Set
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

from adl.console.text import counted, listing
from adl.errors import AdlError
from adl.files import LONGEST_NAME, ROWS, fitting

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
OUTPUTS = ("_labelIds.png", "_color.png", "_overlay.png")
"""What `adl predict` writes for an image: label ids, palette, both in one."""
RESULTS = "results of an earlier `adl predict`"
HEIC = (
    "HEIC, which cannot be read here. Convert it to JPEG first (heif-convert, ImageMagick, or the phone's “most "
    "compatible” setting)."
)
OTHERS = "not images; to label a video, give its own path"
"""Why files of a folder are not labelled."""


class ImageError(AdlError):
    """What is wrong with an image, as a clause that follows its name."""


class NotAnImageError(ImageError):
    """Not an image of any kind that is read here."""


class HeicError(NotAnImageError):
    """An image as phones save it, for which there is no decoder."""


class Found:
    """What is to be labelled: each file, and where its results go below the output folder.

    unlike_images: named one by one, and perhaps videos. hidden: files and folders whose names begin with a dot.
    skipped: why other files of the folders are left out → their names. faults: what keeps which file or folder from
    being labelled.
    """

    def __init__(self) -> None:
        self.images: dict[Path, list[Path]] = {}
        self.unlike_images: dict[Path, list[Path]] = {}
        self.hidden = 0
        self.skipped: dict[Path, str] = {}
        self.faults: dict[Path, str] = {}

    def left_out(self) -> list[str]:
        """Lines that say what was not taken for an image."""
        lines = []
        if self.hidden:
            lines.append(f"skipped: {self.hidden} hidden (names that begin with a dot)")
        for reason in (RESULTS, HEIC, OTHERS):
            names = [path.name for path, why in self.skipped.items() if why == reason]
            if names:
                lines.append(f"skipped: {counted(len(names), 'file')} ({listing(names, most=3)}), {reason}")
        return lines


def find(paths: Sequence[Path]) -> Found:
    """The files themselves, and every image below the folders, sorted, whatever their suffixes.

    Raises AdlError if a path does not exist, or if there is nothing at all.
    """
    found = Found()
    for path in dict.fromkeys(paths):
        if path.is_dir():
            _find_below(path, found)
        elif not path.exists():
            raise AdlError(f"{path}: no such image or folder.")
        elif _why_not(path) == OTHERS:
            found.unlike_images[path] = results(Path(path.name), ["_overlay.mp4"])
        else:
            found.images.setdefault(path, results(Path(path.name)))
    if not (found.images or found.unlike_images):
        nothing = f"{', '.join(map(str, paths))}: holds no image."
        raise AdlError("\n".join([nothing, *found.faults.values(), *found.left_out()]))
    return found


def _find_below(root: Path, found: Found) -> None:
    reasons = {path: _why_not(path) for path in sorted(_walk(root, found, above=set()))}
    images = {path for path, reason in reasons.items() if reason is None}
    earlier = set()
    for image in images:
        # A run that was interrupted may have written no more than the first of three.
        beside = results(image)
        if beside[0] in images:
            earlier.update(beside)
        # Elsewhere they are known by standing together: a picture may well be called `x_color.png`.
        stem = image.name.removesuffix(OUTPUTS[0])
        together = {image.with_name(stem + ending) for ending in OUTPUTS}
        if together <= images:
            earlier |= together
    for path, reason in reasons.items():
        if path in earlier:
            reason = RESULTS
        if reason:
            found.skipped[path] = reason
        else:
            found.images.setdefault(path, results(path.relative_to(root)))


def results(path: Path, endings: Sequence[str] = OUTPUTS) -> list[Path]:
    """The files that hold the results of an image or a video, beside it. A name is shortened if they need it."""
    stem = fitting(path.stem, LONGEST_NAME - max(map(len, endings)))
    return [path.with_name(stem + ending) for ending in endings]


def _walk(path: Path, found: Found, above: Set[str]) -> Iterator[Path]:
    """Every visible file at or below a path. Links to folders are followed, but in no circle.

    above: real paths of the folders from the root down to this path.
    """
    try:
        if path.is_file():
            yield path
        elif path.is_dir():
            real = os.path.realpath(path)
            if real in above:
                return
            for child in path.iterdir():
                if child.name.startswith("."):
                    found.hidden += 1
                else:
                    yield from _walk(child, found, {*above, real})
    except OSError as error:  # which keeps no other place from being searched
        found.faults[path] = (
            f"{path}: cannot be searched ({error.strerror}). Change its permissions so that you can read it."
        )


def _why_not(path: Path) -> str | None:
    """Why a file is not taken for an image, going by its content; None: it is one.

    Whether it can be read to its end is reported later, with its name.
    """
    try:
        with path.open("rb") as file, opened(file):
            return None
    except NotAnImageError as error:
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            return None  # meant to be one, and so a fault
        return HEIC if isinstance(error, HeicError) else OTHERS
    except (ImageError, OSError):
        return None


class Photograph(NamedTuple):
    """pixels: (H, W, 3) uint8 BGR, upright. used_bits: of 16 in the file; None where the file has 8."""

    pixels: np.ndarray
    used_bits: int | None = None


def read(path: Path) -> Photograph:
    """Read an image file, as `decode`. Raises AdlError, with the file's name, for whatever is wrong with it."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise AdlError(f"{path}: cannot be read ({error.strerror}).") from None
    except ImageError as error:
        raise AdlError(error.problem, where=path) from error


def decode(content: bytes | bytearray) -> Photograph:
    """The image in a file's bytes, upright, as its EXIF orientation says. Raises ImageError.

    Grey, alpha, palettes and 16 bits are converted; 16-bit files are scaled by the bits that they use: 12-bit data in
    them would be nearly black otherwise.
    """
    with opened(BytesIO(content)) as picture:
        bits, used_bits = _sample_bits(picture), None
        if bits > 16:
            raise ImageError(f"has pixels of {bits} bits; 8 or 16 are needed.")
        if bits == 16:
            orientation = picture.getexif().get(Base.Orientation, 1)
            picture, used_bits = _decode_16_bits(content)
            picture.getexif()[Base.Orientation] = orientation
        ImageOps.exif_transpose(picture, in_place=True)
        upright = picture if picture.mode == "RGB" else picture.convert("RGB")
        return Photograph(_bgr(upright), used_bits)


def _bgr(picture: Image.Image) -> np.ndarray:
    """The pixels of an RGB picture. Some rows at a time: Pillow copies what it gives away, and so does OpenCV."""
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, ROWS):
        rows = picture.crop((0, top, width, min(top + ROWS, height)))
        cv2.cvtColor(np.asarray(rows), cv2.COLOR_RGB2BGR, dst=pixels[top : top + ROWS])
    return pixels


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[Image.Image]:
    """An image in a file of one of the formats, of which only the header is read.

    Whatever goes wrong with it in the block becomes an ImageError; a NotAnImageError if it is none.
    """
    # Pillow refuses what states more than twice as many.
    Image.MAX_IMAGE_PIXELS = 1 << 29
    # Editors write their whole history into a text of a PNG, more than the 1 MB that Pillow takes.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
    try:
        with Image.open(file, formats=FORMATS) as picture:
            yield picture
    except ImageError:
        raise
    except UnidentifiedImageError:
        file.seek(4)
        if file.read(8) in (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1", b"ftypmsf1"):
            raise HeicError(f"is {HEIC}") from None
        raise NotAnImageError("is not an image that can be read.") from None
    except Image.DecompressionBombError:
        raise ImageError("states more pixels than can be read.") from None
    except Exception as error:  # Pillow and its codecs raise whatever their parsers meet
        raise ImageError(f"is damaged ({error}). Save it again, or take another.") from error


def _sample_bits(picture: Image.Image) -> int:
    """Bits of one sample in the file. Pillow itself cuts colours of 16 bits down to 8."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(Base.BitsPerSample, (8,)))  # type: ignore[attr-defined]
    is_deep = picture.mode.startswith("I")
    if picture.format == "PNG":
        is_deep |= ";16" in str(picture.tile)  # type: ignore[attr-defined]
    return 16 if is_deep else 8


def _decode_16_bits(content: bytes | bytearray) -> tuple[Image.Image, int]:
    """The picture as it lies, in 8 bits, and how many of 16 the file uses."""
    # OpenCV does not turn every format upright, so that it turns none here.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if samples is None or samples.dtype != np.uint16:
        raise ValueError("its 16-bit pixels cannot be decoded")
    # Cameras and scanners use no other numbers of bits.
    bits = next(bits for bits in (8, 10, 12, 14, 16) if samples.max() < 1 << bits)
    narrowed = np.right_shift(samples, bits - 8).astype(np.uint8)
    return Image.fromarray(cv2.cvtColor(narrowed, cv2.COLOR_BGR2RGB)), bits
