"""Every problem of the data's files and folders; on real ones, through the command."""

from __future__ import annotations

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

from adl import commands
from adl.config import recipes
from adl.prepare import MOST_LISTED, DataError, labels, layout
from adl.prepare.check import check_dataset
from adl.prepare.convert import convert
from tests.conftest import ROOT
from tests.damage import (
    FILE_FAULTS,
    LAYOUT_FAULTS,
    A,
    B,
    C,
    image,
    in_two_cities,
    label,
    train_and_val_share,
    train_and_val_share_a_name,
    write_sound,
)  # fmt: skip
from tests.data import CITYSCAPES, described, frames_of, write_frame
from tests.workspace import WITHOUT_ROOT_RIGHTS


@pytest.fixture
def root(tmp_path):
    described(CITYSCAPES, tmp_path)
    return write_sound(tmp_path / "cityscapes")


def check_data(capsys, *arguments) -> tuple[int, str]:
    """Run the command; returns its exit code and all that it printed."""
    code = 0
    if "--official" not in arguments and not Path("params.yaml").exists():
        arguments += ("--dataset", "cityscapes.yaml")
    try:
        commands.main(["check-data", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_sound_data_passes_with_a_table(root, capsys):
    code, text = check_data(capsys, root)
    assert code == 0
    splits = text.partition("\n\n")[0].splitlines()
    train, val = (line.split() for line in splits if line.startswith(("train", "val")))
    assert train[:6] == ["train", "2", "3", "3", "3", "16×8"]
    assert val[:6] == ["val", "1", "1", "1", "1", "16×8"]
    assert "no problem was found; checked: layout, every file's header, duplicates, and the pixels of 4 labels" in text
    size = sum(p.stat().st_size for p in root.rglob("*train*/*/*.png"))
    assert json.loads(check_data(capsys, root, "--json")[1])["splits"]["train"]["bytes"] == size


def test_classes_have_their_share_of_the_pixels_and_their_images_in_each_split(root, capsys):
    for name, ids in ((A, [7, 7, 7, 0]), (B, [7, 7, 26, 26]), (C, [1, 1, 26, 26])):
        cv2.imwrite(str(label(root, name)), np.repeat(np.uint8(ids), 32).reshape(8, 16))
    for every in (["--json"], ["--json", "--deep"]):
        classes = json.loads(check_data(capsys, root, *every)[1])["classes"]
        assert classes["road"]["train"] == {"pixels": 160, "share": pytest.approx(160 / 384), "images": 2}
    text = check_data(capsys, root)[1]
    rows = {line.split()[0]: line.split() for line in text.split("\n\n")[1].splitlines()}
    assert " ".join(rows["class"]) == "class values train % train images val % val images"
    assert rows["road"][:4] == ["road", "7", "41.67", "2"]
    assert rows["car"][:4] == ["car", "26", "33.33", "2"]
    assert rows["bus"][:4] == ["bus", "28", "0.00", "0"]
    assert rows["ignored"][-4:-2] == ["25.00", "2"]
    # One message for all classes that train lacks.
    assert text.count("no label of the train split shows sidewalk, building, ") == 1
    assert f"1 problem:\n{root / 'gtFine/train'}: no label" in text


def test_size_of_a_split_is_that_of_most_images(root):
    write_frame(root, "train", "b", "b_000005_000019", shape=(4, 8))
    split = check_dataset(root, CITYSCAPES, ["train"]).splits["train"]
    assert split.size == (16, 8)
    assert split.sizes == {(16, 8): 3, (8, 4): 1}


def test_frames_are_sorted_by_city_and_name(root):
    assert [frame.name for frame in frames_of(root, "train")] == [A, B, C]


def test_other_kinds_of_labels_beside_the_right_one_are_ignored(root, capsys):
    path = label(root)
    for kind in ("labelTrainIds", "color", "instanceIds"):
        path.with_name(path.name.replace("labelIds", kind)).write_bytes(b"anything")
    assert frames_of(root, "train")[0].label == path
    assert check_data(capsys, root)[0] == 0


def test_labels_of_other_kinds_alone_are_a_problem_of_their_encoding(root):
    for path in (root / "gtFine/train").rglob("*_labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    [problem] = layout.Split(root, "train", CITYSCAPES).problems
    assert problem.kind == "label encoding"
    assert "train ids, made by another tool" in problem.cause


def contents(root: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


@pytest.mark.parametrize(("damage", "problem", "cause"), FILE_FAULTS, ids=[f.__name__ for f, _, _ in FILE_FAULTS])
def test_problem_of_a_file_is_one_message_with_its_name_and_cause(root, tmp_path, capsys, damage, problem, cause):
    named = damage(root)
    before = contents(tmp_path)
    code, text = check_data(capsys, root)
    assert code == 2
    [message] = [line for line in text.splitlines() if line.startswith(str(named))]
    assert problem in message
    assert cause in message
    assert "1 problem" in text or damage is in_two_cities
    reported = json.loads(check_data(capsys, root, "--json")[1])["problems"]
    assert str(named) in [one["file"] for one in reported]
    assert contents(tmp_path) == before
    # Conversion refuses the same, but for what only both splits together show.
    if damage not in (train_and_val_share, train_and_val_share_a_name):
        with pytest.raises(DataError) as error:
            check_dataset(root, CITYSCAPES, ["train"]).passed()
        assert problem in str(error.value)


def test_damage_inside_a_file_is_found_by_the_deep_check_and_by_conversion(root, tmp_path, capfd):
    content = bytearray(image(root).read_bytes())
    content[len(content) // 2] ^= 1
    image(root).write_bytes(content)
    code, text = check_data(capfd, root, "--deep")
    assert code == 2
    assert f"1 problem:\n{image(root)}: wrong checksum" in text
    assert "libpng" not in text
    record = tmp_path / "out" / "train.mindrecord"
    with pytest.raises(DataError, match="wrong checksum"):
        convert(frames_of(root, "train"), record, CITYSCAPES, workers=1)
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
    assert f"1 problem:\n{image(root)}: its compressed pixels cannot be decoded" in text


def test_train_ids_without_255_are_found_over_all_files(root, tmp_path, capsys):
    for name in (A, B, C):
        cv2.imwrite(str(label(root, name)), np.arange(18, dtype=np.uint8).repeat(8).reshape(8, 18)[:, :16])
    code, text = check_data(capsys, root)
    assert code == 2
    assert (
        f"{root / 'gtFine/train'}: no id above 18 occurs in 3 label files, although 13 classes have larger ids" in text
    )
    assert "train ids under the name of a label-id file" in text
    record = tmp_path / "out" / "train.mindrecord"
    with pytest.raises(DataError, match="no id above 18"):
        convert(frames_of(root, "train"), record, CITYSCAPES, workers=1)
    assert not list((tmp_path / "out").iterdir())


CLOSED = [
    (f"leftImg8bit/train/a/{A}_leftImg8bit.png", 0),
    ("leftImg8bit/train/a", 0),
    ("gtFine/train/a", 0o444),
    ("leftImg8bit/train", 0),
    ("leftImg8bit", 0),
    ("gtFine", 0o444),
    ("", 0),
]
"""A place and its permissions."""
CHECK_WITH_EACH = """
import contextlib, io, json, sys
from pathlib import Path
from adl import commands
from adl.config import recipes
told = []
for place, mode in json.loads(sys.argv[2]):
    path, printed, code = Path(sys.argv[1], place), [io.StringIO(), io.StringIO()], 0
    path.chmod(mode)
    with contextlib.redirect_stdout(printed[0]), contextlib.redirect_stderr(printed[1]):
        try:
            commands.main(["check-data", sys.argv[1], "--dataset", "datasets/synthetic.yaml"])
        except SystemExit as stop:
            code = stop.code
    path.chmod(0o755)
    told.append([code, *(one.getvalue() for one in printed)])
print(json.dumps(told))
"""


def test_permissions_are_named(root):
    (root / "gtFine/train/a/notes.txt").touch()
    arguments = [CHECK_WITH_EACH, str(root), json.dumps(CLOSED)]
    command = [*WITHOUT_ROOT_RIGHTS, sys.executable, "-c", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for (name, _), (code, told, errors) in zip(CLOSED, json.loads(done.stdout), strict=True):
        place = root / name
        cannot = "read" if place.is_file() else "listed"
        assert code == 2, name
        assert f"1 problem:\n{place}: cannot be {cannot} (Permission denied)" in told
        assert "belongs to another user" in told
        assert not errors


@pytest.mark.parametrize("place", ["", "gtFine", "leftImg8bit", "leftImg8bit/val", "gtFine/train/a"])
def test_broken_link_in_place_of_a_folder_is_the_problem(root, capsys, place):
    (root / place).rename(root.parent / "moved")
    (root / place).symlink_to("gone")
    code, text = check_data(capsys, root)
    assert code == 2
    assert f"1 problem:\n{root / place}: cannot be listed: it links to gone, which does not exist" in text


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
    table = check_data(capsys, root)[1].partition("\n\n")[0]
    rows = {line.split()[0]: line.split()[1:5] for line in table.splitlines()}
    assert (rows["train"], rows["val"]) == (train, val)


def test_count_is_insisted_on_only_where_one_is_stated(root, capsys):
    write_frame(root, "test", "t", "t_000001_000019")
    assert check_data(capsys, root)[0] == 0
    code, text = check_data(capsys, root, "--official")
    assert code == 2
    for split, found, whole in (("train", 3, 2975), ("val", 1, 500), ("test", 1, 1525)):
        assert f"the {split} split has {found} images, that of Cityscapes has {whole}" in text
    assert "expected_" not in text


def test_many_problems_of_one_kind_are_counted_not_poured_out(root, capsys):
    for i in range(9):
        path = write_frame(root, "train", "a", f"a_{100 + i:06d}_000019")[0]
        path.write_bytes(b"")
    text = check_data(capsys, root)[1]
    assert text.count("the file is empty") == MOST_LISTED
    assert f"… and {9 - MOST_LISTED} more of this kind (empty)" in text
    assert len(json.loads(check_data(capsys, root, "--json")[1])["problems"]) == 9


def test_test_split_is_counted_without_labels(root, capsys):
    path = write_frame(root, "test", "t", "t_000001_000019")[1]
    path.unlink()
    code, text = check_data(capsys, root)
    assert code == 0
    assert "withheld" in next(line for line in text.splitlines() if line.startswith("test"))


def test_shallow_check_opens_no_more_than_it_needs(root, monkeypatch):
    decoded = []
    real = labels.LabelFiles.read
    monkeypatch.setattr("adl.prepare.check.SAMPLED_LABELS", 1)
    monkeypatch.setattr(
        labels.LabelFiles, "read", lambda self, frame, size: decoded.append(frame) or real(self, frame, size)
    )
    found = check_dataset(root, CITYSCAPES)
    assert len(decoded) == found.decoded == 2, "one label per split"


@pytest.mark.parametrize(("damage", "advice"), LAYOUT_FAULTS, ids=[f.__name__ for f, _ in LAYOUT_FAULTS])
def test_problem_of_the_layout_says_which_folder_was_meant(root, tmp_path, capsys, damage, advice):
    path = damage(root)
    before = contents(tmp_path)
    code, text = check_data(capsys, path)
    assert code == 2
    assert advice.format(root=root) in text
    assert str(path) in text
    assert contents(tmp_path) == before
    assert len([line for line in text.splitlines() if "Likely cause" in line]) <= 2, text


def test_folder_and_file_of_the_parameters_are_the_default(root, tmp_path, capsys):
    described(CITYSCAPES.model_copy(update={"expect": {"val": 500}}), tmp_path)
    text = recipes.edited(
        (ROOT / "params.yaml").read_text(), {"data_path": str(root), "dataset": str(tmp_path / "cityscapes.yaml")}
    )
    (tmp_path / "params.yaml").write_text(text)
    code, text = check_data(capsys)
    assert code == 2
    assert "the val split has 1 images, that of Cityscapes has 500" in text
    assert "take val out of `expect`" in text


@pytest.mark.parametrize(
    ("command", "data_path", "message"),
    [
        ("check-data", None, "run this in the project's folder, or name the PATH"),
        ("check-data", "data/synthetic", "the stage synthesize makes (`dvc repro`)"),
        ("check-data", "~/cityscapes", "/cityscapes instead of ~/cityscapes."),
        ("submission", None, "run this in the project's folder, or name the PATH"),
        ("submission", "data/synthetic", "without a test split: name the PATH of Cityscapes"),
        ("submission", "~/cityscapes", "/cityscapes instead of ~/cityscapes."),
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


def test_hidden_files_and_folders_are_left_out_and_counted_once(root, capsys):
    for path in [*root.rglob("*.png")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7 of macOS")
    city = next((root / "leftImg8bit/train").iterdir())
    shutil.copytree(city, city.with_name(".ipynb_checkpoints"))
    hidden = len([*root.rglob("._*.png")]) + 1 - len([*(city.with_name(".ipynb_checkpoints")).rglob("._*")])
    code, text = check_data(capsys, root)
    assert code == 0, text
    assert f"skipped: {hidden} hidden (names that begin with a dot)" in text
    assert len(frames_of(root, "train")) == len([*city.parent.glob("[!.]*/[!.]*.png")])


def test_name_that_is_not_utf_8_is_a_problem_that_names_the_file(root, capsys):
    image = next((root / "leftImg8bit/train").rglob("*.png"))
    image.rename(image.with_name(os.fsdecode(b"Stra\xdfe_000001_000019_leftImg8bit.png")))
    code, text = check_data(capsys, root)
    assert code == 2
    assert "its name is not UTF-8" in text
    assert "Rename it" in text


def test_check_imports_no_mindspore(root):
    code = "import sys; sys.modules['mindspore'] = None\nfrom adl import commands\ncommands.main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "check-data", str(root), "--deep", "--dataset", "datasets/synthetic.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "every byte and pixel" in done.stdout
