"""Conversion: what a record holds, its order, and that nothing half-written stays."""

from __future__ import annotations

import json

import cv2
import mindspore.dataset as ds
import numpy as np
import pytest

from adl import cityscapes, conversion, records
from adl.cityscapes import files, layout
from adl.errors import AdlError
from tests.data import write_frame, write_record


@pytest.fixture
def root(tmp_path):
    for i in range(7):
        write_frame(tmp_path / "raw", "train", "ab"[i % 2], f"{'ab'[i % 2]}_{i:06d}_000019")
    return tmp_path / "raw"


def test_image_bytes_pass_unchanged_and_labels_become_train_ids(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    frames = layout.frames(root, "train")
    rows = list(ds.MindDataset(str(record), shuffle=False).create_dict_iterator(num_epochs=1, output_numpy=True))
    assert [str(row["file_name"]) for row in rows] == [f.name for f in frames]
    for row, frame in zip(rows, frames, strict=True):
        assert row["image"].tobytes() == frame.image.read_bytes()
        ids = cv2.imread(str(frame.label), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(records.decode_label(row["label"]), cityscapes.TRAIN_ID[ids])


def test_reading_gives_bgr_images_in_order_up_to_the_limit(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    frames = layout.frames(root, "train")
    rows = list(records.read(record, limit=3))
    assert [name for name, _, _ in rows] == [f.name for f in frames[:3]]
    np.testing.assert_array_equal(rows[0][1], cv2.imread(str(frames[0].image)))


def test_manifest_counts_images_and_pixels(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    manifest = records.read_manifest(record)
    labels = [cityscapes.TRAIN_ID[files.read_frame(f)[1]] for f in layout.frames(root, "train")]
    counts = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=256)
    assert manifest["images"] == 7
    assert manifest["classes"] == 19
    assert manifest["sizes"] == ["16x8"]
    assert list(manifest["pixels"].values()) == counts[:19].tolist()
    assert manifest["pixels_ignored"] == counts[255]


def test_digest_follows_from_the_content(root, tmp_path):
    first = records.read_manifest(write_record(root, "train", tmp_path / "one"))["digest"]
    assert records.read_manifest(write_record(root, "train", tmp_path / "two"))["digest"] == first
    write_frame(root, "train", "a", "a_000099_000019")
    assert records.read_manifest(write_record(root, "train", tmp_path / "three"))["digest"] != first


def test_bad_frame_leaves_the_earlier_record_and_nothing_else(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    before = {p.name: p.read_bytes() for p in record.parent.iterdir()}
    frames = layout.frames(root, "train")
    frames[4].image.write_bytes(frames[4].image.read_bytes()[:50])
    with pytest.raises(AdlError, match="truncated"):
        conversion.write(frames, record, workers=2)
    assert {p.name: p.read_bytes() for p in record.parent.iterdir()} == before


def test_unreadable_manifest_says_what_makes_it(tmp_path):
    with pytest.raises(AdlError, match="dvc repro mindrecord"):
        records.read_manifest(tmp_path / "cityscapes_train.mindrecord")


def test_metrics_hold_numbers_only(root, tmp_path):
    def leaves(value):
        return [x for v in value.values() for x in leaves(v)] if isinstance(value, dict) else [value]

    manifest = json.loads(records.manifest_path(write_record(root, "train", tmp_path / "out")).read_text())
    numbers = {name: manifest[name] for name in ("images", "classes", "pixels_ignored", "pixels")}
    assert all(isinstance(x, int) for x in leaves(numbers))
