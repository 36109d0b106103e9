"""The facts of the data set, and every fault of its files and folders; on real ones, through the command."""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label, labels
from PIL import Image

from adl.dataset.batches import descriptor
from adl import commands
from adl.intake import conversion
from adl.intake import faults
from adl.intake import png
from adl.intake import layout
from adl.intake.faults import DataError
from adl.intake.survey import survey
from tests.conftest import ROOT
from tests.data import write_frame

A, B, C = "a_000001_000019", "a_000002_000019", "b_000003_000019"


def test_label_map_is_the_official_one():
    for label in labels:
        if label.id >= 0:
            assert descriptor.TRAIN_ID[label.id] == (255 if label.trainId in (-1, 255) else label.trainId)
            assert tuple(descriptor.COLOURS[label.id]) == label.color
    assert [id2label[descriptor.LABEL_ID[i]].trainId for i in range(19)] == list(range(19))
    assert (descriptor.LABEL_ID[19:] == 0).all()
    assert len(descriptor.CLASS_NAMES) == 19
    assert len(descriptor.CATEGORIES) == 7


@pytest.fixture
def root(tmp_path):
    """A sound data set: three train frames in two cities, one val frame."""
    place = tmp_path / "cityscapes"
    for split, name in (("train", B), ("train", A), ("train", C), ("val", "c_000004_000019")):
        write_frame(place, split, name[0], name)
    return place


def image(root: Path, name: str = A, split: str = "train") -> Path:
    return descriptor.image_path(root, split, name[0], name)


def label(root: Path, name: str = A, split: str = "train") -> Path:
    return descriptor.label_path(root, split, name[0], name)


def check_data(capsys, *arguments) -> tuple[int, str]:
    """Run the command; returns its exit code and all that it printed."""
    code = 0
    try:
        commands.main(["check-data", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_sound_data_passes_with_a_table(root, capsys):
    code, text = check_data(capsys, root)
    assert code == 0
    train, val = (line.split() for line in text.splitlines() if line.startswith(("train", "val")))
    assert train[:6] == ["train", "2", "3", "3", "3", "16×8"]
    assert val[:6] == ["val", "1", "1", "1", "1", "16×8"]
    assert "no fault: layout, every file's header, copies, and the pixels of 4 labels were checked" in text
    size = sum(p.stat().st_size for p in root.rglob("*train*/*/*.png"))
    assert json.loads(check_data(capsys, root, "--json")[1])["splits"]["train"]["bytes"] == size


def test_size_of_a_split_is_that_of_most_images(root):
    write_frame(root, "train", "b", "b_000005_000019", shape=(4, 8))
    split = survey(root, ["train"]).splits["train"]
    assert split.size == (16, 8)
    assert split.sizes == {(16, 8): 3, (8, 4): 1}


def test_frames_are_sorted_by_city_and_name(root):
    assert [frame.name for frame in layout.frames(root, "train")] == [A, B, C]


def test_other_kinds_of_labels_beside_the_right_one_are_ignored(root, capsys):
    path = label(root)
    for kind in ("labelTrainIds", "color", "instanceIds"):
        path.with_name(path.name.replace("labelIds", kind)).write_bytes(b"anything")
    assert layout.frames(root, "train")[0].label == path
    assert check_data(capsys, root)[0] == 0


# Faults of single files: (what is done, the file that must be named, the sentence, the cause).


def truncated(root):
    image(root).write_bytes(image(root).read_bytes()[:-20])
    return image(root)


def truncated_in_its_header(root):
    image(root).write_bytes(image(root).read_bytes()[:20])
    return image(root)


def empty(root):
    label(root).write_bytes(b"")
    return label(root)


def jpeg(root):
    image(root).write_bytes(cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes())
    return image(root)


def something_else(root):
    image(root).write_bytes(b"<html>" * 20)
    return image(root)


def without_width(root):
    content = image(root).read_bytes()
    header = content[12:16] + bytes(4) + content[20:29]
    image(root).write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    return image(root)


def changed_in_its_header(root):
    content = bytearray(label(root).read_bytes())
    content[19] ^= 1
    label(root).write_bytes(content)
    return label(root)


def grey(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16), np.uint8))
    return image(root)


def alpha(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16, 4), np.uint8))
    return image(root)


def sixteen_bits(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16, 3), np.uint16))
    return image(root)


def save_with_palette(path):
    picture = Image.fromarray(np.arange(128, dtype=np.uint8).reshape(8, 16), "P")
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(path)
    return path


def palette(root):
    return save_with_palette(image(root))


def instance_ids(root):
    cv2.imwrite(str(label(root)), np.full((8, 16), 26001, np.uint16))
    return label(root)


def coloured(root):
    cv2.imwrite(str(label(root)), np.zeros((8, 16, 3), np.uint8))
    return label(root)


def coloured_palette(root):
    return save_with_palette(label(root))


def other_size(root):
    cv2.imwrite(str(label(root)), np.full((8, 15), 7, np.uint8))
    return label(root)


def other_size_than_the_split(root):
    write_frame(root, "train", "a", A, shape=(10, 20))
    return image(root)


def wrong_ids(root):
    cv2.imwrite(str(label(root)), np.array([[7, 200]] * 2, np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def train_ids(root):
    cv2.imwrite(str(label(root)), np.array([[0, 18], [13, 255]], np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def void(root):
    cv2.imwrite(str(label(root)), np.array([[0, 3]] * 2, np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def broken_link(root):
    image(root).unlink()
    image(root).symlink_to("nowhere.png")
    return image(root)


def missing_label(root):
    label(root).unlink()
    return image(root)


def missing_image(root):
    image(root).unlink()
    return label(root)


def only_train_ids(root):
    label(root).rename(label(root).with_name(f"{A}_gtFine_labelTrainIds.png"))
    return image(root)


def only_instances(root):
    label(root).rename(label(root).with_name(f"{A}_gtFine_instanceIds.png"))
    return image(root)


def in_two_cities(root):
    for path in (image(root), label(root)):
        other = path.parent.parent / "b" / path.name
        other.write_bytes(path.read_bytes())
    return image(root).parent.parent / "b" / image(root).name


def copied_under_another_name(root):
    copy = image(root, "b_000009_000019")
    shutil.copy(image(root), copy)
    shutil.copy(label(root), label(root, "b_000009_000019"))
    return copy


def train_and_val_share(root):
    copy = image(root, "c_000009_000019", "val")
    shutil.copy(image(root), copy)
    shutil.copy(label(root), label(root, "c_000009_000019", "val"))
    return copy


def train_and_val_share_a_name(root):
    path = write_frame(root, "val", "a", A)[0]
    cv2.imwrite(str(path), np.zeros((8, 16, 3), np.uint8))
    return path


FILE_FAULTS = [
    (truncated, "truncated after", "was interrupted"),
    (truncated_in_its_header, "truncated after 20 bytes", "was interrupted"),
    (without_width, "its header states 0×8 pixels", "was interrupted"),
    (changed_in_its_header, "wrong checksum of its header", "was interrupted"),
    (empty, "the file is empty", "the disk was full"),
    (jpeg, "is a JPEG named .png", "converted"),
    (something_else, "not a PNG file", "something else"),
    (grey, "8-bit grey; expected 8-bit RGB", "converted to grey"),
    (alpha, "8-bit RGB with alpha; expected 8-bit RGB", "image editor"),
    (sixteen_bits, "16-bit RGB; expected 8-bit RGB", "image editor"),
    (palette, "8-bit palette; expected 8-bit RGB", "image editor"),
    (instance_ids, "16-bit grey; expected 8-bit grey", "_instanceIds.png"),
    (coloured, "8-bit RGB; expected 8-bit grey", "_color.png"),
    (coloured_palette, "8-bit palette; expected 8-bit grey", "_color.png"),
    (other_size, "is 15×8 pixels, but its image", "resized"),
    (other_size_than_the_split, "is 20×10 pixels, most of its split are 16×8", "another source"),
    (wrong_ids, "label ids [200] do not exist", "not the labels of Cityscapes"),
    (train_ids, "label ids [255] do not exist", "train ids (0-18 and 255) under the name of label ids"),
    (void, "no pixel belongs to a class", "label of the test split"),
    (broken_link, "it links to nowhere.png, which does not exist", "moved"),
    (missing_label, "this image has no label", "not unpacked to its end"),
    (missing_image, "this label has no image", "not unpacked to its end"),
    (only_train_ids, "this image has no label", "labelTrainIds.png is there: train ids"),
    (only_instances, "this image has no label", "instanceIds.png is there: the instances, 16-bit"),
    (in_two_cities, "this frame is also in another city", "copied or unpacked into another"),
    (copied_under_another_name, "is the same image as", "copied or renamed"),
    (train_and_val_share, "is the same image as", "train and val share it"),
    (train_and_val_share_a_name, "has the name of", "train and val share it"),
]


def contents(root: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


@pytest.mark.parametrize(("damage", "problem", "cause"), FILE_FAULTS, ids=[f.__name__ for f, _, _ in FILE_FAULTS])
def test_fault_of_a_file_is_one_message_with_its_name_and_cause(root, tmp_path, capsys, damage, problem, cause):
    named = damage(root)
    before = contents(tmp_path)
    code, text = check_data(capsys, root)
    assert code == 2
    [message] = [line for line in text.splitlines() if line.startswith(str(named))]
    assert problem in message
    assert cause in message
    assert "1 fault" in text or damage is in_two_cities
    reported = json.loads(check_data(capsys, root, "--json")[1])["faults"]
    assert str(named) in [fault["file"] for fault in reported]
    assert contents(tmp_path) == before
    # Conversion refuses the same, but for what only both splits together show.
    if damage not in (train_and_val_share, train_and_val_share_a_name):
        with pytest.raises(DataError) as error:
            survey(root, ["train"]).checked()
        assert problem in str(error.value)


def test_damage_inside_a_file_is_found_by_the_deep_check_and_by_conversion(root, tmp_path, capfd):
    content = bytearray(image(root).read_bytes())
    content[len(content) // 2] ^= 1
    image(root).write_bytes(content)
    code, text = check_data(capfd, root, "--deep")
    assert code == 2
    assert f"1 fault:\n{image(root)}: wrong checksum" in text
    assert "libpng" not in text
    with pytest.raises(DataError, match="wrong checksum"):
        conversion.write(layout.frames(root, "train"), tmp_path / "out" / "cityscapes_train.mindrecord", workers=1)
    assert not list((tmp_path / "out").iterdir())


def test_pixels_that_cannot_be_inflated_are_found_by_the_deep_check_only(root, capsys):
    """Every chunk has the checksum that it states, and the first and last bytes are sound."""
    content = image(root).read_bytes()
    start = content.index(b"IDAT")
    [length] = struct.unpack_from(">I", content, start - 4)
    chunk = b"IDAT" + bytes(length)
    content = content[:start] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[start + length + 8 :]
    image(root).write_bytes(content)
    assert check_data(capsys, root)[0] == 0
    code, text = check_data(capsys, root, "--deep")
    assert code == 2
    assert f"1 fault:\n{image(root)}: its compressed pixels cannot be decoded" in text


def test_train_ids_without_255_are_found_over_all_files(root, tmp_path, capsys):
    for name in (A, B, C):
        cv2.imwrite(str(label(root, name)), np.arange(18, dtype=np.uint8).repeat(8).reshape(8, 18)[:, :16])
    code, text = check_data(capsys, root)
    assert code == 2
    assert f"{root / 'gtFine/train'}: no id above 18 occurs in 3 _labelIds.png files" in text
    assert "train ids under the name of label ids" in text
    with pytest.raises(DataError, match="no id above 18"):
        conversion.write(layout.frames(root, "train"), tmp_path / "out" / "cityscapes_train.mindrecord", workers=1)
    assert not list((tmp_path / "out").iterdir())


# Root may read everything, whatever the permissions: give that up, and become the program that is named behind it.
WITHOUT_ROOT_RIGHTS = (
    sys.executable,
    "-c",
    """
import ctypes, os, sys
drop_capability = 24
for override in (1, 2):
    ctypes.CDLL(None).prctl(drop_capability, override, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
""",
)


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        (f"leftImg8bit/train/a/{A}_leftImg8bit.png", 0),
        ("leftImg8bit/train/a", 0),
        ("gtFine/train/a", 0o444),
        ("leftImg8bit/train", 0),
        ("leftImg8bit", 0),
        ("gtFine", 0o444),
        ("", 0),
    ],
)
def test_permissions_are_named(root, place, mode):
    place = root / place
    cannot = "read" if place.is_file() else "listed"
    (root / "gtFine/train/a/notes.txt").touch()
    place.chmod(mode)
    try:
        command = [*WITHOUT_ROOT_RIGHTS, sys.executable, "-m", "adl.commands", "check-data", str(root)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    finally:
        place.chmod(0o755)
    assert done.returncode == 2
    assert f"1 fault:\n{place}: cannot be {cannot} (Permission denied)" in done.stdout
    assert "belongs to another user" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("place", ["", "gtFine", "leftImg8bit", "leftImg8bit/val", "gtFine/train/a"])
def test_broken_link_in_place_of_a_folder_is_the_fault(root, capsys, place):
    (root / place).rename(root.parent / "moved")
    (root / place).symlink_to("gone")
    code, text = check_data(capsys, root)
    assert code == 2
    assert f"1 fault:\n{root / place}: cannot be listed: it links to gone, which does not exist" in text


@pytest.mark.parametrize(
    ("lost", "train", "val"),
    [
        ("gtFine", ["2", "3", "0", "0"], ["1", "1", "0", "0"]),
        ("gtFine/train", ["2", "3", "0", "0"], ["1", "1", "1", "1"]),
        ("leftImg8bit", ["2", "0", "3", "0"], ["1", "0", "1", "0"]),
    ],
)
def test_table_counts_the_side_that_is_there(root, capsys, lost, train, val):
    shutil.rmtree(root / lost)
    rows = {line.split()[0]: line.split()[1:5] for line in check_data(capsys, root)[1].splitlines() if line}
    assert (rows["train"], rows["val"]) == (train, val)


def test_count_is_insisted_on_only_where_one_is_stated(root, capsys):
    write_frame(root, "test", "t", "t_000001_000019")
    assert check_data(capsys, root)[0] == 0
    code, text = check_data(capsys, root, "--official")
    assert code == 2
    for split, found, whole in (("train", 3, 2975), ("val", 1, 500), ("test", 1, 1525)):
        assert f"the {split} split has {found} images, but that of Cityscapes has {whole}" in text
    assert "expected_" not in text


def test_many_faults_of_one_kind_are_counted_not_poured_out(root, capsys):
    for i in range(9):
        path = write_frame(root, "train", "a", f"a_{100 + i:06d}_000019")[0]
        path.write_bytes(b"")
    text = check_data(capsys, root)[1]
    assert text.count("the file is empty") == faults.MOST_LISTED
    assert f"… and {9 - faults.MOST_LISTED} more of this kind (empty)" in text
    assert len(json.loads(check_data(capsys, root, "--json")[1])["faults"]) == 9


def test_test_split_is_counted_without_labels(root, capsys):
    path = write_frame(root, "test", "t", "t_000001_000019")[1]
    path.unlink()
    code, text = check_data(capsys, root)
    assert code == 0
    assert "withheld" in next(line for line in text.splitlines() if line.startswith("test"))


def test_shallow_check_opens_no_more_than_it_needs(root, monkeypatch):
    decoded = []
    real = png.read_label
    monkeypatch.setattr("adl.cityscapes.survey.SAMPLED_LABELS", 1)
    monkeypatch.setattr(png, "read_label", lambda frame: decoded.append(frame) or real(frame))
    found = survey(root)
    assert len(decoded) == found.decoded == 2, "one label a split"


# Faults of the folders: (what is done, which returns the data_path that the user then gives; the advice).


def one_level_too_deep(root):
    return root / "leftImg8bit"


def three_levels_too_deep(root):
    return root / "leftImg8bit" / "train" / "a"


def one_level_too_high(root):
    return root.parent


def only_the_images(root):
    shutil.rmtree(root / "gtFine")
    return root


def only_the_labels(root):
    shutil.rmtree(root / "leftImg8bit")
    return root


def misspelt_as_in_2021(root):
    (root / "leftImg8bit").rename(root / "leftImage8bit")
    return root


def misspelt_labels(root):
    (root / "gtFine").rename(root / "gtfine")
    return root


def misspelt_split(root):
    (root / "gtFine" / "train").rename(root / "gtFine" / "training")
    return root


def each_zip_in_its_folder(root):
    for folder in ("leftImg8bit", "gtFine"):
        (root / f"{folder}_trainvaltest").mkdir()
        (root / folder).rename(root / f"{folder}_trainvaltest" / folder)
    return root


def each_zip_in_a_folder_of_its_own_name(root):
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder).rename(root / "moved")
        (root / folder).mkdir()
        (root / "moved").rename(root / folder / folder)
    return root


def still_packed(root):
    shutil.rmtree(root / "gtFine")
    (root / "gtFine_trainvaltest.zip").write_bytes(b"PK")
    return root


def zip_as_path(root):
    (root / "x.zip").write_bytes(b"PK")
    return root / "x.zip"


def coarse_labels(root):
    (root / "gtFine").rename(root / "gtCoarse")
    return root


def foggy_images(root):
    (root / "leftImg8bit").rename(root / "leftImg8bit_foggy")
    return root


def without_cities(root):
    for path in (root / "leftImg8bit/train").rglob("*.png"):
        path.rename(root / "leftImg8bit/train" / path.name)
    return root


def other_suffix(root):
    for path in (root / "leftImg8bit/train").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("_leftImg8bit", "")))
    return root


def no_label_ids_at_all(root):
    for path in (root / "gtFine/train").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "color")))
    return root


def misspelt_path(root):
    return root.parent / "cityscape"


def empty_folder(root):
    shutil.rmtree(root)
    root.mkdir()
    return root


LAYOUT_FAULTS = [
    (one_level_too_deep, "data_path lies inside the data set. Set data_path to {root}."),
    (three_levels_too_deep, "data_path lies inside the data set. Set data_path to {root}."),
    (one_level_too_high, "data_path lies above the data set. Set data_path to {root}."),
    (only_the_images, "holds no gtFine/. Likely cause: only leftImg8bit_trainvaltest.zip is unpacked here."),
    (only_the_labels, "holds no leftImg8bit/. Likely cause: only gtFine_trainvaltest.zip is unpacked here."),
    (misspelt_as_in_2021, "leftImage8bit is misspelt. Rename {root}/leftImage8bit to {root}/leftImg8bit."),
    (misspelt_labels, "gtfine is misspelt. Rename {root}/gtfine to {root}/gtFine."),
    (misspelt_split, "training is misspelt. Rename {root}/gtFine/training to {root}/gtFine/train."),
    (each_zip_in_its_folder, "Move {root}/gtFine_trainvaltest/gtFine to {root}/gtFine."),
    (each_zip_in_a_folder_of_its_own_name, "Move what is in {root}/gtFine/gtFine to {root}/gtFine."),
    (still_packed, "gtFine_trainvaltest.zip is still packed. Unpack it there: unzip"),
    (zip_as_path, "is a file. Likely cause: the zip is not unpacked"),
    (coarse_labels, "gtCoarse holds the coarse labels, which are not used. Unpack gtFine_trainvaltest.zip"),
    (
        foggy_images,
        "leftImg8bit_foggy holds the images with fog added, which are not used. Unpack leftImg8bit_trainvaltest.zip "
        "(the 3rd, 11 GB) in {root}. To use leftImg8bit_foggy instead, make a folder with leftImg8bit/ and gtFine/",
    ),
    (
        without_cities,
        "files lie directly in it, as a_000001_000019_leftImg8bit.png. Put each in the folder of its city",
    ),
    (other_suffix, "have other names, as a_000001_000019.png. Name them <city>_<sequence>_<frame>_leftImg8bit.png"),
    (no_label_ids_at_all, "there are only other kinds of labels, as a_000001_000019_gtFine_color.png"),
    (misspelt_path, "does not exist. Likely cause: a misspelt or moved folder. Did you mean {root}."),
    (empty_folder, "holds neither leftImg8bit/ nor gtFine/. Likely cause: this is not the folder of Cityscapes."),
]


@pytest.mark.parametrize(("damage", "advice"), LAYOUT_FAULTS, ids=[f.__name__ for f, _ in LAYOUT_FAULTS])
def test_fault_of_the_layout_says_which_folder_was_meant(root, tmp_path, capsys, damage, advice):
    path = damage(root)
    before = contents(tmp_path)
    code, text = check_data(capsys, path)
    assert code == 2
    assert advice.format(root=root) in text
    assert str(path) in text
    assert contents(tmp_path) == before
    assert len([line for line in text.splitlines() if "Likely cause" in line]) <= 2, text


def test_path_of_the_parameters_is_the_default(root, tmp_path, capsys, monkeypatch):
    text = (ROOT / "params.yaml").read_text().replace("data_path: data/synthetic", f"data_path: {root}")
    (tmp_path / "params.yaml").write_text(text.replace("expected_val_images: ", "expected_val_images: 500 #"))
    monkeypatch.chdir(tmp_path)
    code, text = check_data(capsys)
    assert code == 2
    assert "the val split has 1 images, but expected_val_images is 500" in text
    assert "set expected_val_images to null" in text


@pytest.mark.parametrize(
    ("command", "data_path", "message"),
    [
        ("check-data", None, "run this in the project's folder, or name the PATH"),
        ("check-data", "data/synthetic", "the stage synthesize makes (`dvc repro`)"),
        ("check-data", "~/cityscapes", "~/cityscapes: does not exist. Likely cause: ~ is not expanded here. Write the"),
        ("submission", None, "run this in the project's folder, or name the PATH"),
        ("submission", "data/synthetic", "without a test split: name the PATH of Cityscapes"),
        ("submission", "~/cityscapes", "~ is not expanded here. Write the whole path"),
    ],
)
def test_without_a_path_and_without_data_it_says_what_to_do(tmp_path, capsys, monkeypatch, command, data_path, message):
    monkeypatch.chdir(tmp_path)
    if data_path:
        text = (ROOT / "params.yaml").read_text()
        (tmp_path / "params.yaml").write_text(text.replace("data_path: data/synthetic", f"data_path: {data_path}"))
    with pytest.raises(SystemExit, match="2"):
        commands.main([command])
    printed = capsys.readouterr()
    assert message in printed.out + printed.err


def test_five_faults_of_a_kind_are_listed():
    five = [faults.Fault("empty", Path(str(number)), "problem", "cause", "remedy") for number in range(5)]
    other = faults.Fault("cut", Path("x"), "problem", "cause", "remedy")
    assert faults.listing([*five, other]).splitlines() == [str(fault) for fault in (*five, other)]
    lines = faults.listing([*five, other, *five[:2]]).splitlines()
    assert lines == [*[str(fault) for fault in (*five, other)], "… and 2 more of this kind (empty)"]


def test_file_that_cannot_be_read_has_the_cause_of_its_error():
    of_others = faults.unreadable(Path("a"), PermissionError(errno.EACCES, "Permission denied"), "listed")
    assert str(of_others).startswith(
        "a: cannot be listed (Permission denied). Likely cause: it belongs to another user"
    )
    assert "chmod" in of_others.remedy
    broken = faults.unreadable(Path("a"), OSError(errno.EIO, "Input/output error"))
    assert broken.problem == "cannot be read (Input/output error)"
    assert broken.cause == "the disk or the network share failed"
    assert broken.remedy == "Copy it again"
    assert broken.kind == of_others.kind == "unreadable"


def test_first_and_last_bytes_tell_that_a_file_is_cut(root):
    whole = png.header(image(root), descriptor.IMAGES)
    assert (whole.size, whole.bytes) == ((16, 8), image(root).stat().st_size)
    truncated(root)
    with pytest.raises(DataError, match="truncated after"):
        png.header(image(root), descriptor.IMAGES)


def test_label_with_every_train_id_holds_train_ids():
    for ids, kind in (([*range(19), 255], "train ids"), ([*range(20), 255], "label ids")):
        with pytest.raises(DataError) as error:
            png.check_ids(Path("a.png"), np.array(ids))
        assert error.value.faults[0].kind == kind


def test_hidden_files_and_folders_are_left_out_and_counted_once(root, capsys):
    for path in [*root.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7 of macOS")
    city = next((root / "leftImg8bit/train").iterdir())
    shutil.copytree(city, city.with_name(".ipynb_checkpoints"))
    hidden = len([*root.rglob("._*.png")]) + 1 - len([*(city.with_name(".ipynb_checkpoints")).rglob("._*")])
    code, text = check_data(capsys, root)
    assert code == 0, text
    assert f"left out: {hidden} hidden, with names that begin with a dot" in text
    assert len(layout.frames(root, "train")) == len([*city.parent.glob("[!.]*/[!.]*.png")])


def test_name_that_is_not_utf_8_is_a_fault_that_names_the_file(root, capsys):
    image = next((root / "leftImg8bit/train").rglob("*.png"))
    image.rename(image.with_name(os.fsdecode(b"Stra\xdfe_000001_000019_leftImg8bit.png")))
    code, text = check_data(capsys, root)
    assert code == 2
    assert "its name is not UTF-8" in text
    assert "Rename it" in text


def test_check_imports_no_mindspore(root):
    code = "import sys; sys.modules['mindspore'] = None\nfrom adl import commands\ncommands.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "check-data", str(root), "--deep"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "every byte and pixel" in done.stdout
