"""Photographs as people have them: odd names, odd formats, odd places; on real files."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adl import files
from adl.errors import AdlError
from adl.predict import photographs
from adl.predict.videos import Encoding, Video

NOT_UTF_8 = os.fsdecode(b"Stra\xdfe.jpg")


@pytest.fixture
def picture(rng) -> np.ndarray:
    """(40, 60, 3) uint8 RGB, smooth."""
    return cv2.resize(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), (60, 40))


def written(path: Path, picture: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def relative(found: photographs.Found, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in found.images]


def test_names_that_are_not_utf_8_are_found_read_and_written(tmp_path, picture):
    path = written(tmp_path / "in" / NOT_UTF_8, picture, quality=100)
    assert list(photographs.find([tmp_path / "in"]).images) == [path]
    assert np.abs(photographs.read(path).pixels[..., ::-1].astype(int) - picture).mean() < 2
    target = tmp_path / "out" / f"{NOT_UTF_8}_color.png"
    files.write_png(target, picture)
    np.testing.assert_array_equal(files.read_png(target)[..., ::-1], picture)
    with pytest.raises(AdlError, match=r"whose name is not UTF-8\. Rename it"):
        Video.open(path)
    with pytest.raises(AdlError, match=r"whose name is not UTF-8\. Rename it"):
        Encoding("mp4v", 25, (40, 60)).write(tmp_path / f"{NOT_UTF_8}.mp4", [picture])


def test_image_on_a_full_disk_is_an_error_and_nothing_is_left(tmp_path, picture, monkeypatch):
    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_png(tmp_path / "a.png", picture)
    assert not list(tmp_path.glob("*.png*"))


def test_faulty_exif_is_no_traceback(tmp_path, picture):
    """A rational of -1/0 beside the orientation: Pillow cannot write what it read."""
    orientation = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exposure_bias = struct.pack(">HHII", 0x9204, 10, 1, 38)
    ifd = struct.pack(">H", 2) + orientation + exposure_bias + struct.pack(">I", 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + ifd + struct.pack(">iI", -1, 0)
    path = written(tmp_path / "a.jpg", picture, exif=exif)
    try:
        found = photographs.read(path).pixels.shape
    except AdlError as error:
        found = str(error)
    assert found == (60, 40, 3) or found.startswith(f"{path}: is damaged"), found


@pytest.mark.parametrize("error", [struct.error("bad rational"), SyntaxError("x"), KeyError("y"), OverflowError("z")])
def test_whatever_a_parser_raises_names_the_file(tmp_path, picture, monkeypatch, error):
    path = written(tmp_path / "a.png", picture)

    def raises(image):
        raise error

    monkeypatch.setattr(photographs.ImageOps, "exif_transpose", raises)
    with pytest.raises(AdlError, match=r"a\.png: is damaged"):
        photographs.read(path)


def test_png_with_megabytes_of_text_is_read(tmp_path, picture):
    path = written(tmp_path / "a.png", picture)
    content = path.read_bytes()
    text = b"zTXt" + b"history\0\0" + zlib.compress(b"edited " * 600_000)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + chunk + content[33:])
    np.testing.assert_array_equal(photographs.read(path).pixels[..., ::-1], picture)


@pytest.mark.parametrize("suffix", ["gif", "avif", "jp2", "jfif", "ppm", "webp", "bmp", "tif", "no-suffix"])
def test_images_are_known_by_their_content(tmp_path, picture, suffix):
    kind = {"jfif": "JPEG", "no-suffix": "PNG", "jp2": "JPEG2000"}.get(suffix)
    path = written(tmp_path / f"a.{suffix}", picture, **({"format": kind} if kind else {}))
    assert list(photographs.find([tmp_path]).images) == [path]
    assert photographs.read(path).pixels.shape == (40, 60, 3)


def test_what_is_left_out_of_a_folder_is_said(tmp_path, picture):
    folder = tmp_path / "in"
    written(folder / "a.jpg", picture)
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (folder / "notes.txt").write_text("x")
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7 of macOS")
    written(folder / ".ipynb_checkpoints/a.jpg", picture)
    found = photographs.find([folder])
    assert relative(found, folder) == ["a.jpg"]
    hidden, heic, others = found.left_out()
    assert hidden == "skipped: 2 hidden (names that begin with a dot)"
    assert "1 file (IMG_1.HEIC), HEIC, which cannot be read here. Convert it to JPEG first" in heic
    assert "1 file (notes.txt), not images" in others
    with pytest.raises(AdlError, match=r"IMG_1\.HEIC: is HEIC, .* Convert it to JPEG"):
        photographs.read(folder / "IMG_1.HEIC")


def test_what_is_left_out_of_two_folders_is_said_once(tmp_path, picture):
    folder = tmp_path / "in"
    written(folder / "below/a.jpg", picture)
    (folder / "below/notes.txt").write_text("x")
    found = photographs.find([folder, folder / "below"])
    [line] = found.left_out()
    assert line.startswith("skipped: 1 file (notes.txt), not images")


def test_heic_that_is_named_is_told_as_that(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (tmp_path / "clip").write_bytes(b"\0\0\0\x18ftypisom" + bytes(20))
    found = photographs.find([tmp_path / "IMG_1.HEIC", tmp_path / "clip"])
    assert list(found.images) == [tmp_path / "IMG_1.HEIC"]
    assert list(found.unlike_images) == [tmp_path / "clip"]


def test_results_are_known_by_standing_together(tmp_path, picture):
    folder = tmp_path / "in"
    for name in ("a", "a_labelIds", "a_color", "a_overlay", "b_color", "c_overlay"):
        written(folder / f"{name}.png", picture)
    found = photographs.find([folder])
    assert relative(found, folder) == ["a.png", "b_color.png", "c_overlay.png"]
    [line] = found.left_out()
    assert line.endswith(" 3 files (a_color.png, a_labelIds.png, a_overlay.png), results of an earlier `adl predict`")


def test_links_to_folders_are_followed_and_loops_end(tmp_path, picture):
    written(tmp_path / "elsewhere/b.png", picture)
    written(tmp_path / "in/a.png", picture)
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    assert relative(photographs.find([tmp_path / "in"]), tmp_path / "in") == [
        "a.png",
        "linked/b.png",
    ]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_bits_that_a_16_bit_file_uses_are_found(tmp_path, picture, suffix, bits, channels):
    values = picture[..., 0] if channels == 1 else picture
    values = values.copy()
    values.flat[0] = 255
    samples = values.astype(np.uint16) << (bits - 8)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), samples)
    photograph = photographs.read(tmp_path / f"a.{suffix}")
    assert photograph.used_bits == bits
    expected = values if channels == 3 else np.stack([values] * 3, axis=-1)
    np.testing.assert_array_equal(photograph.pixels, expected)


@pytest.mark.parametrize(("highest", "bits"), [(0, 8), (255, 8), (256, 10), (4095, 12), (4096, 14), (65535, 16)])
def test_bits_are_the_fewest_that_hold_the_highest_value(tmp_path, highest, bits):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((2, 3), highest, np.uint16))
    assert photographs.read(tmp_path / "a.png").used_bits == bits


def test_16_bit_image_of_one_column_or_with_alpha_is_read(tmp_path):
    column = np.array([[4095], [0], [2048]], np.uint16)
    cv2.imwrite(str(tmp_path / "column.png"), column)
    assert photographs.read(tmp_path / "column.png").pixels[:, 0, 0].tolist() == [255, 0, 128]
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([np.dstack([column] * 3), column * 0]))
    assert photographs.read(tmp_path / "alpha.png").pixels.shape == (3, 1, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_of_every_format_is_read_upright(tmp_path, suffix, orientation):
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :20] = 255, 0, 0
    upright[20:, :20] = 0, 0, 255
    # How the sensor lay: what its orientation's operation makes upright again.
    lying = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(lying)).save(path, quality=100, exif=exif)
    found = photographs.read(path).pixels[..., ::-1]
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 4


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_16_bit_image_is_read_upright(tmp_path, orientation):
    upright = np.zeros((40, 60), np.uint16)
    upright[:20, :20] = 65535
    lying = np.rot90(upright, {1: 0, 3: 2, 6: 1, 8: -1}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(lying)).save(tmp_path / "a.png", exif=exif)
    found = photographs.read(tmp_path / "a.png")
    assert found.used_bits == 16
    np.testing.assert_array_equal(found.pixels[..., 0], upright >> 8)


def test_other_kinds_of_pixels_are_converted(tmp_path):
    values = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
    three = np.stack([values] * 3, axis=-1)
    cv2.imwrite(str(tmp_path / "grey.png"), values)
    cv2.imwrite(str(tmp_path / "grey16.png"), values.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "rgb16.png"), three.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([three, np.full_like(values, 9)]))
    Image.fromarray(three).quantize(256).save(tmp_path / "palette.png")
    for path in tmp_path.glob("*.png"):
        found = photographs.read(path).pixels
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - three).max() <= (2 if path.stem == "palette" else 0), path
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(AdlError, match=r"float\.tif: has pixels of 32 bits"):
        photographs.read(tmp_path / "float.tif")
