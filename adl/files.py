"""Writing files: every one appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from adl.errors import AdlError
from adl.workspace import sidecar

if TYPE_CHECKING:
    import pandas as pd


OURS = ".made_by_adl"
"""Stands in each folder that is replaced as a whole: one without it is somebody else's."""
LONGEST_NAME = 255  # bytes, which nearly every file system takes for one file or folder


def fitting(name: str, most: int = LONGEST_NAME) -> str:
    """A file's name of at most so many bytes: of a longer one, a digest of the whole stands for the middle."""
    encoded = os.fsencode(name)
    if len(encoded) <= most:
        return name
    # The suffix is among the last characters, or the number of a photograph.
    start, end = name[:-20], f"-{hashlib.sha256(encoded).hexdigest()[:12]}-{name[-20:]}"
    while len(os.fsencode(start + end)) > most:
        start = start[:-1]
    return start + end


@contextlib.contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """Yield a place beside `path`, with its suffix, where nothing stands before the block and after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(fitting(f".partial-{path.name}"))
    remove(temporary)
    try:
        yield temporary
    finally:
        remove(temporary)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder (same suffix), moved over `path` when the block ends well.

    What a failed or killed block leaves is hidden, and removed by the next one.
    """
    with _hidden(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `path`, removed at the end."""
    with _hidden(path) as temporary:
        temporary.mkdir()
        yield temporary


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """`replacing` for a whole folder: what stood there is gone once the new one is complete.

    Raises AdlError if something else made the folder that stands there.
    """
    check_replaceable(path)
    with scratch_folder(path) as temporary:
        yield temporary
        write_text(temporary / OURS, "adl made this folder, and replaces it as a whole.\n")
        check_replaceable(path)
        remove(path)
        temporary.replace(path)


@contextlib.contextmanager
def full_disk_reported(path: Path) -> Iterator[None]:
    """Raise the OSError of a full disk for `path` if the block failed and there is no room beside it.

    For libraries that write by themselves: MindSpore says "internal error", whatever the reason. A fault that has a
    message of its own keeps it.
    """
    try:
        yield
    except AdlError:
        raise
    except Exception:
        try:
            with _hidden(path.with_name(f"probe-{path.name}")) as probe:
                # With less room than this, it is the disk that made the library fail.
                probe.write_bytes(os.urandom(2**25))
                to_disk(probe)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        raise


def check_replaceable(folder: Path) -> None:
    """Raises AdlError if a folder that would be replaced holds anything and was not made here."""
    if any(folder.glob("*")) and not folder.is_symlink() and not (folder / OURS).exists():
        raise AdlError(
            f"{folder}: would be replaced as a whole, but something else made it (it holds no {OURS}). Move it away, "
            "or name another place."
        )


def check_output(path: Path, *, suffix: str = "", folder: bool = False, option: str = "--output") -> None:
    """Raises AdlError, before any work, if an option names a place that cannot be written. Creates nothing.

    suffix: what a file must have. folder: it is to be a folder.
    """
    # A file is written beside its place, and then moved there.
    existing = nearest_existing(path if folder else path.parent)
    where = f"{option} {path}"
    if not path.name.lower().endswith(suffix):
        raise AdlError(f"must end with {suffix}.", where=where)
    if path.is_dir() and not folder:
        raise AdlError("is a folder; name a file.", where=where)
    if not existing.is_dir():
        raise AdlError(f"{existing} is a file; name a folder.", where=where)
    if not os.access(existing, os.W_OK):
        raise AdlError(f"{existing} may not be written.", where=where)


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    whole = path.absolute()
    return next(above for above in (whole, *whole.parents) if above.exists())


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder with every file, is on the disk, so that a power cut cannot leave them empty."""
    for one in [*path.rglob("*"), path]:
        descriptor = os.open(one, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """NaN and the infinities, which JSON does not have, become null."""
    write_text(path, json.dumps(finite(content), indent=2) + "\n")


def finite(content: Any) -> Any:
    """What JSON can hold: null in place of NaN and the infinities."""
    return json.loads(json.dumps(content), parse_constant=lambda _: None)


def write_csv(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a PNG. image: (H, W) or (H, W, 3) uint8, RGB. Raises AdlError if it is too large for one."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    # Encoded in memory: OpenCV's own writing crashes at names that are not UTF-8, and hides that a disk is full.
    is_encoded, content = cv2.imencode(".png", image)
    if not is_encoded:
        raise AdlError(
            f"{path}: no PNG of {image.shape[1]}×{image.shape[0]} pixels can be written. Cut the image into pieces."
        )
    write_bytes(path, content.tobytes())


ROWS = 64
"""Rows of a large image that are worked on at a time, so that it is in memory once. OpenCV warns of a PNG whose chunks
have more than 8 MB, which are 140 rows of 20,000 pixels."""


def write_png_by_rows(path: Path, size: tuple[int, ...], draw: Callable[[slice], np.ndarray]) -> None:
    """Write a PNG of any size, of which never more than some rows are in memory.

    size: (height, width). draw: rows → their pixels, (n, W, 3) uint8 RGB.
    """
    height, width = size
    packer = zlib.compressobj(level=1)
    with replacing(path) as temporary, temporary.open("wb") as file:
        # 8 bits, RGB, and the usual methods of compression, filters and order.
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header))
        for top in range(0, height, ROWS):
            pixels = draw(slice(top, min(top + ROWS, height)))
            # Each row begins with the number of its filter: 1, differences to the pixel on the left.
            filtered = np.ones((len(pixels), 1 + 3 * width), np.uint8)
            filtered[:, 1:4] = pixels[:, 0]
            filtered[:, 4:] = np.diff(pixels, axis=1).reshape(len(pixels), -1)
            file.write(_chunk(b"IDAT", packer.compress(filtered.tobytes())))
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG: length, kind, content, checksum."""
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def read_png(path: Path) -> np.ndarray:
    """The pixels of a PNG as they are stored, BGR. Raises AdlError if the file is missing or damaged."""
    with contextlib.suppress(FileNotFoundError, cv2.error):
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is not None:
            return image
    raise AdlError(f"{path}: is missing or damaged.")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def code_digest(paths: Iterable[Path], *, root: Path) -> str:
    """Digest of files, and of the Python files below folders, with their places below root."""
    files: list[Path] = []
    for path in paths:
        files += [path] if path.is_file() else path.rglob("*.py")
    lines = [f"{path.relative_to(root)} {digest(path)}\n" for path in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1_000_000):
            sha.update(chunk)
    return sha.hexdigest()


def check_sidecar(model: Path) -> None:
    """Raises AdlError if the JSON beside a model holds the digest of another one."""
    description = sidecar(model)
    try:
        stated = read_json(description)["digest"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return  # There is none, it is of a time before digests, or it is damaged, which its readers report.
    if stated != digest(model):
        raise AdlError(
            f"{description}: describes another file than {model.name}: the digests differ. Put the one there that was "
            "written with it."
        )


def percent(fraction: float | None) -> float | None:
    """How the JSON files hold a fraction."""
    return None if fraction is None else round(100 * fraction, 4)
