"""Files appear whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adl import files, network
from adl.errors import AdlError
from adl.network import checkpoint
from tests.conftest import TINY
from tests.data import largest_file, write_record, write_scenes


@pytest.fixture(autouse=True)
def empty(tmp_path):
    """The folder of a test holds what the test puts there."""
    (tmp_path / "datasets").unlink()


def test_failed_write_leaves_the_earlier_file(tmp_path):
    file = tmp_path / "a.txt"
    files.write_text(file, "first")
    with pytest.raises(ZeroDivisionError), files.replacing(file) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["x" * 251 + ".txt", "图" * 85, "2024." + "图" * 83, os.fsdecode(b"\xdf" * 255)])
def test_longest_name_is_written_by_way_of_a_shorter_hidden_one(tmp_path, name):
    """As `adl table --output NAME` and every other file and folder of the project."""
    files.write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    files.remove(tmp_path / name)
    with files.replacing_folder(tmp_path / name) as temporary:
        assert temporary.name.startswith(".partial-")
        assert temporary.suffix == (tmp_path / name).suffix or len(name) < 200
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_shortened_names_stay_apart_and_keep_their_ends():
    names = [f"{'图' * 90}{number:04d}{'x' * 20}.png" for number in range(50)]
    short = {files.fitting(name) for name in names}
    assert len(short) == 50
    for name in short:
        assert len(name.encode()) <= 255
        assert name.startswith("图" * 50)
        assert name.endswith("x" * 16 + ".png")
    assert files.fitting(names[0]) == files.fitting(names[0])
    assert files.fitting("x" * 255) == "x" * 255
    assert len(files.fitting("x" * 256)) == 255


def test_failed_folder_leaves_the_earlier_folder(tmp_path):
    folder = tmp_path / "a"
    for content in ("first", "second"):
        with files.replacing_folder(folder) as temporary:
            (temporary / content).touch()
    with pytest.raises(ZeroDivisionError), files.replacing_folder(folder) as temporary:
        (temporary / "half").touch()
        raise ZeroDivisionError
    assert {p.name for p in folder.iterdir()} == {"second", files.OURS}
    assert list(tmp_path.iterdir()) == [folder]


def test_folder_that_something_else_made_is_not_replaced(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    with files.replacing_folder(folder):
        pass
    files.remove(folder)
    (folder / "thesis").mkdir(parents=True)
    refused = pytest.raises(AdlError, match=r"a: would be replaced as a whole, but something else made it")
    with refused, files.replacing_folder(folder):
        pytest.fail("work was begun")
    files.remove(folder)
    with (
        pytest.raises(AdlError, match="something else made it"),
        files.replacing_folder(folder),
    ):
        (folder / "thesis").mkdir(parents=True)  # while the work went on
    assert [p.name for p in folder.iterdir()] == ["thesis"]


def test_write_goes_around_a_read_only_output(tmp_path):
    """DVC's linked caches make outputs read-only; writing into them would change the cache."""
    cached = tmp_path / "cached"
    cached.write_text("cached")
    cached.chmod(0o444)
    link = tmp_path / "link"
    link.hardlink_to(cached)
    files.write_text(link, "new")
    assert link.read_text() == "new"
    assert cached.read_text() == "cached"


def test_output_that_cannot_be_written_is_refused_and_nothing_is_made(tmp_path, monkeypatch):
    for wanted in (tmp_path / "new/a.PNG", tmp_path / "a.png"):
        files.check_output(wanted, suffix=".png")
    files.check_output(tmp_path / "new/folder", folder=True)
    (tmp_path / "file").touch()
    for path, options, message in (
        (tmp_path / "a.jpg", {"suffix": ".png"}, "must end with .png"),
        (tmp_path, {}, "is a folder; name a file"),
        (tmp_path / "file", {"folder": True}, "file is a file; name a folder"),
        (tmp_path / "file/below", {}, "file is a file; name a folder"),
    ):
        with pytest.raises(AdlError, match=message):
            files.check_output(path, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(files.os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(AdlError, match="may not be written"):
        files.check_output(tmp_path / "file")


def test_fault_that_has_a_message_keeps_it_on_a_full_disk(tmp_path):
    with largest_file(10):
        with (
            pytest.raises(AdlError, match="a damaged image"),
            files.full_disk_reported(tmp_path / "a"),
        ):
            raise AdlError("a damaged image")
        with (
            pytest.raises(OSError, match="File too large"),
            files.full_disk_reported(tmp_path / "a"),
        ):
            raise RuntimeError("internal error")
    with (
        pytest.raises(RuntimeError, match="internal error"),
        files.full_disk_reported(tmp_path / "a"),
    ):
        raise RuntimeError("internal error")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_conversion_and_checkpoint_on_a_real_full_disk_leave_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    try:
        raw = write_scenes(tmp_path / "raw", train=4)
        with pytest.raises(OSError, match="No space"):
            write_record(raw, "train", small)
        with pytest.raises(OSError, match="No space"):
            net = network.build(dataclasses.replace(TINY, filter_multiplier=16))
            checkpoint.save(checkpoint.native(net), small / "m.ckpt")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("size", [(1, 1), (2 * files.ROWS + 5, 7)])
def test_png_that_is_written_by_rows_is_read_by_everyone(rng, size):
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    files.write_png_by_rows(Path("p.png"), size, lambda rows: pixels[rows])
    np.testing.assert_array_equal(files.read_png(Path("p.png"))[..., ::-1], pixels)
    np.testing.assert_array_equal(np.asarray(Image.open("p.png")), pixels)
