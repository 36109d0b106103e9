"""Conversion: what a record holds, its order, and that nothing half-written stays."""

from __future__ import annotations

import json
import types

import cv2
import mindspore.dataset as ds
import numpy as np
import pytest

from adl.dataset.batches import descriptor
from adl.intake import conversion
from adl import params
from adl import preflight
from adl.dataset.batches import records
from adl.intake import png
from adl.intake import layout
from adl.intake.faults import DataError
from adl.errors import AdlError, reported
from tests.conftest import ROOT
from tests.data import largest_file, write_frame, write_record

ARCHITECTURE = {name: str(ROOT / f"architectures/small/{name}.npy") for name in ("net_arch", "cell_arch")}


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
        np.testing.assert_array_equal(records.decode_label(row["label"]), descriptor.TRAIN_ID[ids])


def test_reading_gives_bgr_images_in_order_up_to_the_limit(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    frames = layout.frames(root, "train")
    rows = list(records.read(record, limit=3))
    assert [name for name, _, _ in rows] == [f.name for f in frames[:3]]
    np.testing.assert_array_equal(rows[0][1], cv2.imread(str(frames[0].image)))


def test_manifest_counts_images_and_pixels(root, tmp_path):
    record = write_record(root, "train", tmp_path / "out")
    manifest = records.read_manifest(record)
    labels = [descriptor.TRAIN_ID[png.read_frame(f)[1]] for f in layout.frames(root, "train")]
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


def test_full_disk_is_one_message_and_nothing_half_written_stays(root, tmp_path, capsys):
    record = tmp_path / "out/cityscapes_train.mindrecord"
    with largest_file(2000), pytest.raises(SystemExit, match="2"), reported():
        conversion.write(layout.frames(root, "train"), record, workers=1)
    message = capsys.readouterr().err.splitlines()[-1]
    assert message == f"error: {record} cannot be written (File too large). Make room."
    assert not list(record.parent.iterdir())


def test_fault_that_is_not_the_disks_stays_what_it_is(root, tmp_path):
    frames = layout.frames(root, "train")
    frames[3].label.write_bytes(b"no PNG")
    with pytest.raises(DataError):
        conversion.write(frames, tmp_path / "out/cityscapes_train.mindrecord", workers=1)
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def free(monkeypatch):
    """free(n): as if n bytes were free on every disk."""

    def pretend(number: int) -> None:
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=number))

    return pretend


def test_records_that_cannot_fit_are_refused_and_a_copy_that_may_not_is_told(tmp_path, free, capsys):
    out = tmp_path / "data/mindrecord"
    free(4_000_000_000)
    with pytest.raises(AdlError, match=r"the records take 7\.6 GB, but only 4\.0 GB are free there"):
        preflight.check_room(7_600_000_000, out)
    free(8_000_000_000)
    preflight.check_room(7_600_000_000, out)
    assert "`dvc config cache.type reflink,hardlink,symlink`" in capsys.readouterr().out
    free(15_200_000_000)
    preflight.check_room(7_600_000_000, out)
    # What is there already makes room when it is replaced.
    out.mkdir(parents=True)
    (out / "cityscapes_train.mindrecord").write_bytes(bytes(7000))
    free(0)
    preflight.check_room(7000, out)
    assert not capsys.readouterr().out
    assert not list(out.glob("*val*"))


def test_check_compares_the_data_with_what_is_free(tmp_path, free):
    for split in ("train", "val"):
        write_frame(tmp_path / "cs", split, "a", f"a_{len(split):06d}_000019")
    p = params.load(ROOT / "params.yaml", data_path=str(tmp_path / "cs"), **ARCHITECTURE)
    free(300)
    with pytest.raises(AdlError, match="the records take"):
        preflight.check(p, pretrained=tmp_path, synthetic=tmp_path / "drawn", records=tmp_path / "out", states=tmp_path)
