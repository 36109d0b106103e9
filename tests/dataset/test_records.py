"""Conversion: what a record holds, its order, and that nothing half-written stays."""

from __future__ import annotations

import cv2
import mindspore.dataset as ds
import numpy as np
import pytest

from adl import workspace
from adl.dataset import records
from adl.errors import AdlError, reported
from adl.prepare import DataError
from adl.prepare.convert import convert
from adl.prepare.labels import LabelFiles
from tests.data import CITYSCAPES, frames_of, largest_file, like_cityscapes, write_frame, write_record


@pytest.fixture
def root(tmp_path):
    for i in range(7):
        write_frame(tmp_path / "raw", "train", "ab"[i % 2], f"{'ab'[i % 2]}_{i:06d}_000019")
    return tmp_path / "raw"


def test_image_bytes_pass_unchanged_and_labels_become_train_ids(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    frames = frames_of(root, "train")
    rows = list(ds.MindDataset(str(record), shuffle=False).create_dict_iterator(num_epochs=1, output_numpy=True))
    assert [str(row["file_name"]) for row in rows] == [f.name for f in frames]
    for row, frame in zip(rows, frames, strict=True):
        assert row["image"].tobytes() == frame.image.read_bytes()
        ids = cv2.imread(str(frame.label), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(records.decode_label(row["label"]), CITYSCAPES.train_ids[ids])


def test_reading_gives_bgr_images_in_order_up_to_the_limit(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    frames = frames_of(root, "train")
    rows = list(records.read(record, limit=3))
    assert [name for name, _, _ in rows] == [f.name for f in frames[:3]]
    np.testing.assert_array_equal(rows[0][1], cv2.imread(str(frames[0].image)))


def test_manifest_counts_images_and_pixels(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    manifest = records.read_manifest(record, CITYSCAPES)
    labels = [LabelFiles([f], CITYSCAPES).read_frame(f)[1].train_ids for f in frames_of(root, "train")]
    counts = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    assert manifest["images"] == 7
    assert manifest["classes"] == list(CITYSCAPES.class_names)
    assert manifest["dataset"] == "cityscapes"
    assert manifest["sizes"] == ["16x8"]
    assert list(manifest["pixels"].values()) == counts[:19].tolist()
    assert manifest["pixels_ignored"] == counts[255]


def test_digest_follows_from_the_content(root, tmp_path):
    first = records.read_manifest(write_record(root, "train", tmp_path / "one"), CITYSCAPES)["digest"]
    assert records.read_manifest(write_record(root, "train", tmp_path / "two"), CITYSCAPES)["digest"] == first
    write_frame(root, "train", "a", "a_000099_000019")
    assert records.read_manifest(write_record(root, "train", tmp_path / "three"), CITYSCAPES)["digest"] != first


def test_bad_frame_leaves_the_earlier_record_and_nothing_else(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    before = {p.name: p.read_bytes() for p in record.parent.iterdir()}
    frames = frames_of(root, "train")
    frames[4].image.write_bytes(frames[4].image.read_bytes()[:50])
    with pytest.raises(AdlError, match="truncated"):
        convert(frames, record, CITYSCAPES, workers=2)
    assert {p.name: p.read_bytes() for p in record.parent.iterdir()} == before


def test_unreadable_manifest_says_what_makes_it(tmp_path):
    with pytest.raises(AdlError, match="dvc repro mindrecord"):
        records.read_manifest(tmp_path / "train.mindrecord", CITYSCAPES)


def test_record_of_an_earlier_version_is_taken_where_there_is_no_other(tmp_path):
    old, new = (tmp_path / f"{name}.mindrecord" for name in ("cityscapes_val", "val"))
    assert workspace.record("val", tmp_path) == new
    old.touch()
    assert workspace.record("val", tmp_path) == old
    new.touch()
    assert workspace.record("val", tmp_path) == new


def test_record_of_other_classes_is_refused(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    of_11 = like_cityscapes(classes=CITYSCAPES.classes[:11])
    with pytest.raises(AdlError, match=r"train\.json: its classes are not those of Cityscapes.*repro mindrecord"):
        records.read_manifest(record, of_11)
    renamed = like_cityscapes(name="other")
    assert records.read_manifest(record, renamed)["dataset"] == "cityscapes"


def test_full_disk_is_one_message_and_nothing_half_written_stays(root, tmp_path, capsys):
    record = tmp_path / "out/train.mindrecord"
    with largest_file(2000), pytest.raises(SystemExit, match="2"), reported():
        convert(frames_of(root, "train"), record, CITYSCAPES, workers=1)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == f"error: {record}: File too large. Free up disk space."
    assert not list(record.parent.iterdir())


def test_fault_that_is_not_the_disks_stays_what_it_is(root, tmp_path):
    frames = frames_of(root, "train")
    frames[3].label.write_bytes(b"no PNG")
    with pytest.raises(DataError):
        convert(frames, tmp_path / "out/train.mindrecord", CITYSCAPES, workers=1)
    assert not list((tmp_path / "out").iterdir())
