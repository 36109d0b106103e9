"""What a conversion follows from, and which data set need not be checked again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import pytest

from adl.files import write_json
from adl.prepare import DataError, survey
from tests.data import CITYSCAPES, frames_of, like_cityscapes, write_frame, write_scenes
from tests.prepare.test_polygons import dataset_of


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A folder of two frames, and its listing."""
    root = write_scenes(tmp_path_factory.mktemp("survey"), train=2)
    return root, survey.listing(root, "train", CITYSCAPES)


def changed(**changes):
    """Cityscapes with another first class."""
    first = CITYSCAPES.classes[0].model_copy(update=changes)
    return like_cityscapes(classes=(first, *CITYSCAPES.classes[1:]))


def test_listing_has_both_files_of_each_frame_and_can_be_stored(listed, tmp_path):
    root, found = listed
    files = [sorted(entry) for entry in found["frames"].values()]
    assert files == [
        sorted(str(path.relative_to(root)) for path in (frame.image, frame.label)) for frame in frames_of(root, "train")
    ]
    write_json(tmp_path / "train.json", found)
    assert json.loads((tmp_path / "train.json").read_text()) == found


@pytest.mark.parametrize(
    "dataset",
    [
        changed(colour=(1, 2, 3)),
        changed(category="other"),
        like_cityscapes(title="T", source="S", related={}, expect={"train": 2}),
        like_cityscapes(images=CITYSCAPES.images.model_copy(update={"source": "elsewhere"})),
    ],
)
def test_what_is_for_people_leaves_the_records(listed, dataset):
    root, found = listed
    assert survey.listing(root, "train", dataset) == found


@pytest.mark.parametrize(
    "dataset",
    [
        changed(values=(7, 99)),
        changed(name="street"),
        like_cityscapes(ignored=CITYSCAPES.ignored[1:]),
        like_cityscapes(unlisted="ignore"),
        like_cityscapes(normalise={"channels": "RGB"}),
    ],
)
def test_what_values_mean_makes_other_records(listed, dataset):
    root, found = listed
    assert survey.listing(root, "train", dataset) != found


def test_edited_image_or_label_makes_other_records(tmp_path):
    for name in ("a_0_0", "a_1_0"):
        image, label = write_frame(tmp_path, "train", "a", name)
    before = survey.listing(tmp_path, "train", CITYSCAPES)["frames"]
    for number, path in enumerate((image, label), start=1):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pixels[0, 0] = 7 if pixels[0, 0].max() != 7 else 8
        cv2.imwrite(str(path), pixels)
        after = survey.listing(tmp_path, "train", CITYSCAPES)["frames"]
        assert after["a_0_0"] == before["a_0_0"]
        assert sum(after["a_1_0"][name] != before["a_1_0"][name] for name in after["a_1_0"]) == number


@pytest.fixture
def looked(tmp_path, monkeypatch):
    """looked(dataset) -> whether a data set was checked, file by file, when it was asked for."""
    for split in ("train", "val"):
        write_frame(tmp_path / "cs", split, "a", f"{split}_0_0")
    checked = []
    check = survey.check_dataset
    monkeypatch.setattr(
        survey, "check_dataset", lambda *given, **named: checked.append(given) or check(*given, **named)
    )

    def ask(dataset=CITYSCAPES) -> bool:
        before = len(checked)
        first = survey.surveyed(tmp_path / "cs", dataset, crop_size=8, memory=tmp_path / "memory.json")
        assert first.val_sizes == [(16, 8)]
        assert "train" in first.table
        assert first.bytes == sum(path.stat().st_size for path in (tmp_path / "cs").rglob("*.png"))
        return len(checked) > before

    return ask


def test_sound_data_set_is_not_looked_at_again(looked):
    assert [looked(), looked(), looked()] == [True, False, False]


def test_file_that_was_touched_renamed_or_added_is_looked_at(looked, tmp_path):
    looked()
    [frame] = frames_of(tmp_path / "cs", "train")
    os.utime(frame.image, (1, 1))
    assert [looked(), looked()] == [True, False]
    for path in (frame.image, frame.label):
        path.rename(path.with_name(path.name.replace("train_0", "train_1")))
    assert [looked(), looked()] == [True, False]
    write_frame(tmp_path / "cs", "train", "a", "train_5_0")
    assert [looked(), looked()] == [True, False]


def test_other_data_set_and_other_code_look_again(looked, tmp_path, monkeypatch):
    looked()
    expecting = like_cityscapes(expect={"train": 1})
    assert [looked(expecting), looked(expecting)] == [True, False]
    (tmp_path / "code").mkdir()
    code = tmp_path / "code/check.py"
    code.write_text("a")
    monkeypatch.setattr(survey, "CODE", tmp_path / "code")
    assert [looked(expecting), looked(expecting)] == [True, False]
    code.write_text("b")
    assert looked(expecting)


def test_fault_is_not_remembered_as_sound(looked, tmp_path):
    looked()
    image = frames_of(tmp_path / "cs", "val")[0].image
    content = image.read_bytes()
    image.write_bytes(content[:30])
    for _ in range(2):
        with pytest.raises(DataError, match=Path(image).name):
            looked()
    image.write_bytes(content)
    assert looked()


def test_broken_link_is_a_problem_that_is_named(tmp_path):
    for split in ("train", "val"):
        image, _ = write_frame(tmp_path / "cs", split, "a", f"{split}_0_0")
    image.unlink()
    image.symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"val_0_0_leftImg8bit\.png: .*links to nowhere\.png"):
        survey.surveyed(tmp_path / "cs", CITYSCAPES, crop_size=8, memory=tmp_path / "memory.json")


def test_file_of_all_labels_is_digested_once(tmp_path, monkeypatch):
    content = {"images": [], "categories": [], "annotations": []}
    (tmp_path / "train").mkdir()
    for number in range(3):
        (tmp_path / f"train/{number}.jpg").write_bytes(bytes([number]))
    (tmp_path / "train/.json").write_text(json.dumps(content))
    digested = []
    real = survey.digest
    monkeypatch.setattr(survey, "digest", lambda path: digested.append(path.name) or real(path))
    survey.listing(tmp_path, "train", dataset_of("coco"))
    assert sorted(digested) == [".json", "0.jpg", "1.jpg", "2.jpg"]
