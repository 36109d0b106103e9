"""Photographs as people have them: which files of a folder are images, and their pixels as the network wants them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence, Set
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from adl.console.text import counted, listing
from adl.errors import AdlError
from adl.files import LONGEST_NAME, fitting

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
OUTPUTS = ("_labelIds.png", "_color.png", "_overlay.png")
"""What `adl predict` writes for an image: label ids, palette, both in one."""
MOST_NAMED = 3
"""Files of one kind that a sentence names."""
CONVERT_HEIC = "Convert it to JPEG first (heif-convert, ImageMagick, or the phone's “most compatible” setting)."
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners really use of 16."""
_MOST_PIXELS = 1 << 29
"""Pillow refuses what states more than twice as many, 2^30."""
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
_STILL = ("MPO", "TIFF")
"""Several pictures in one file that do not move: a phone's JPEG with its depth map, pages. The first one counts."""


class NotAnImageError(AdlError):
    """Not an image of any kind that is read here."""


class DamagedImageError(AdlError):
    """An image that cannot be read to its end; its cause says what a parser met."""


@dataclasses.dataclass
class Found:
    """Files below some folders. hidden: files and folders whose names begin with a dot. others: no images.

    results: of an earlier `adl predict`. heic: images that cannot be read. unlike_images: named by themselves, and
    perhaps videos. faults: what keeps which file or folder from being labelled.
    """

    images: list[Path] = dataclasses.field(default_factory=list)
    hidden: int = 0
    others: list[Path] = dataclasses.field(default_factory=list)
    results: list[Path] = dataclasses.field(default_factory=list)
    heic: list[Path] = dataclasses.field(default_factory=list)
    unlike_images: list[Path] = dataclasses.field(default_factory=list)
    faults: dict[Path, str] = dataclasses.field(default_factory=dict)

    def left_out(self) -> list[str]:
        """Lines that say what was not taken for an image."""
        lines = []
        if self.hidden:
            lines.append(f"skipped: {self.hidden} hidden (names that begin with a dot)")
        for paths, what in (
            (self.results, "results of an earlier `adl predict`"),
            (self.heic, f"HEIC, which cannot be read here. {CONVERT_HEIC}"),
            (self.others, "not images; to label a video, give its own path"),
        ):
            if paths:
                names = listing([path.name for path in paths], most=MOST_NAMED)
                lines.append(f"skipped: {counted(len(paths), 'file')} ({names}), {what}")
        return lines


def find(paths: Sequence[Path]) -> Found:
    """The files themselves, and every image below the folders, sorted, whatever their suffixes.

    Raises AdlError if a path does not exist, or if there is nothing at all.
    """
    found = Found()
    for path in dict.fromkeys(paths):
        if path.is_dir():
            _find_below(path, found)
        elif path.exists():
            kind = found.images if _is_image(path) or _is_heic(path) else found.unlike_images
            kind.append(path)
        else:
            raise AdlError(f"{path}: no such image or folder.")
    found.images = list(dict.fromkeys(found.images))
    if not (found.images or found.unlike_images):
        places = ", ".join(str(path) for path in paths)
        reasons = [*found.faults.values(), *found.left_out()]
        raise AdlError("\n".join([f"{places}: holds no image.", *reasons]))
    return found


def _find_below(root: Path, found: Found) -> None:
    paths = sorted(_walk(root, found, seen={os.path.realpath(root)}))
    images = {path for path in paths if _is_image(path)}
    places = {place(path, OUTPUTS) for path in images}
    for path in paths:
        if _is_result(path, images, places):
            found.results.append(path)
        elif path in images:
            found.images.append(path)
        elif _is_heic(path):
            found.heic.append(path)
        else:
            found.others.append(path)


def place(path: Path, endings: Sequence[str]) -> Path:
    """Beside an image or a video: where its results stand, without their endings."""
    return path.with_name(fitting(path.stem, LONGEST_NAME - max(map(len, endings))))


def _is_result(path: Path, images: Set[Path], places: Set[Path]) -> bool:
    """Did `adl predict` write it? A picture may well be called `x_color.png`.

    places: of the images' results. A run that was interrupted may have written no more than the first of three.
    """
    for ending in OUTPUTS:
        stem = path.name.removesuffix(ending)
        if stem != path.name:
            together = [path.with_name(f"{stem}{other}") for other in OUTPUTS]
            is_beside = path.with_name(stem) in places and together[0] in images
            return is_beside or images >= set(together)
    return False


def _walk(folder: Path, found: Found, *, seen: set[str]) -> Iterator[Path]:
    """Every visible file below a folder. Links to folders are followed, but in no circle.

    seen: real paths of the folders from the root to this one.
    """
    entries: list[os.DirEntry] = []
    with _noted(folder, found):
        entries += os.scandir(folder)
    for entry in entries:
        path = Path(entry.path)
        with _noted(path, found):
            if entry.name.startswith("."):
                found.hidden += 1
            elif entry.is_dir():
                real = os.path.realpath(path)
                if real not in seen:
                    yield from _walk(path, found, seen=seen | {real})
            elif entry.is_file():
                yield path


@contextlib.contextmanager
def _noted(path: Path, found: Found) -> Iterator[None]:
    """A place that cannot be searched keeps no other from being searched."""
    try:
        yield
    except OSError as error:
        found.faults[path] = (
            f"{path}: cannot be searched ({error.strerror}). Change its permissions so that you can read it."
        )


def _open(source: Path | BytesIO) -> Image.Image:
    """Begin to read an image of one of the formats."""
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    # Editors write their whole history into a text of a PNG, more than the 1 MB that Pillow takes.
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
    return Image.open(source, formats=FORMATS)


def _is_image(path: Path) -> bool:
    """Does the content begin as an image does? Whether it can be read to its end is reported later, with its name."""
    try:
        with _open(path):
            return True
    except UnidentifiedImageError:
        return path.suffix.lower() in (".png", ".jpg", ".jpeg")  # meant to be one, and so a fault
    except Exception:  # it was recognised, and is damaged
        return True


def _is_heic(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _begins_as_heic(file.read(12))
    except OSError:
        return False


def _begins_as_heic(start: bytes | bytearray) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


@dataclasses.dataclass
class Photograph:
    """pixels: (H, W, 3) uint8 BGR, upright. used_bits: of 16 in the file; None where the file has 8."""

    pixels: np.ndarray
    used_bits: int | None = None


def read(path: Path) -> Photograph:
    """Read an image file, as `decode`. Raises AdlError, with the file's name, for whatever is wrong with it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AdlError(f"{path}: cannot be read ({error.strerror}).") from None
    return decode(content, str(path))


@dataclasses.dataclass
class Header:
    """What a file states of its image, which is not decoded for it. format: Pillow's name."""

    format: str
    width: int
    height: int
    is_animated: bool


def header(content: bytes | bytearray, name: str) -> Header:
    """The header of an image in a file's bytes. Raises NotAnImageError, or AdlError if it is damaged."""
    with _named_faults(content, name), _open(BytesIO(content)) as picture:
        kind = picture.format or ""
        is_animated = kind not in _STILL and getattr(picture, "is_animated", False)
        return Header(kind, *picture.size, is_animated)


def decode(content: bytes | bytearray, name: str) -> Photograph:
    """The image in a file's bytes, upright, as its EXIF orientation says.

    Grey, alpha, palettes and 16 bits are converted; 16-bit files are scaled by the bits that they use: 12-bit data in
    them would be nearly black otherwise. Raises AdlError, which begins with `name`, for whatever is wrong with it.
    """
    with _named_faults(content, name):
        with _open(BytesIO(content)) as picture:
            if picture.mode in ("I", "F") and _sample_bits(picture) == 32:
                raise AdlError("has pixels of 32 bits; 8 or 16 are needed.", where=name)
            if _sample_bits(picture) == 16:
                return _decode_16_bits(content, picture.getexif().get(_ORIENTATION, 1))
            upright = ImageOps.exif_transpose(picture)
        return Photograph(np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1]))


@contextlib.contextmanager
def _named_faults(content: bytes | bytearray, name: str) -> Iterator[None]:
    """Whatever goes wrong with an image becomes an AdlError with its name."""
    try:
        yield
    except AdlError:
        raise
    except UnidentifiedImageError:
        if _begins_as_heic(content[:12]):
            problem = f"is a HEIC image, which cannot be read here. {CONVERT_HEIC}"
            raise NotAnImageError(problem, where=name) from None
        raise NotAnImageError("is not an image that can be read.", where=name) from None
    except Image.DecompressionBombError:
        raise AdlError("states more pixels than can be read.", where=name) from None
    except Exception as error:  # Pillow and its codecs raise whatever their parsers meet
        raise DamagedImageError(f"the image is damaged ({error}).", where=name) from error


def _sample_bits(picture: Image.Image) -> int:
    """Bits of one sample in the file. Pillow itself cuts colours of 16 bits down to 8."""
    if picture.format == "PNG":
        tiles = picture.tile  # type: ignore[attr-defined]
        rawmode = str(tiles[0][3]) if tiles else ""
        return 16 if ";16" in rawmode else 8
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(_BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
    return 16 if picture.mode.startswith("I") else 8


def _decode_16_bits(content: bytes | bytearray, orientation: int) -> Photograph:
    # OpenCV does not turn every format upright, so that it turns none here.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    samples = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if samples is None or samples.dtype != np.uint16:
        raise ValueError("its 16-bit pixels cannot be decoded")
    bits = next(bits for bits in _DEPTHS if samples.max() < 1 << bits)
    picture = Image.fromarray(np.right_shift(samples, bits - 8).astype(np.uint8))
    picture.getexif()[_ORIENTATION] = orientation
    return Photograph(np.ascontiguousarray(ImageOps.exif_transpose(picture)), used_bits=bits)
