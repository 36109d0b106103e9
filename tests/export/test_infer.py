"""Exported files on raw images, against the evaluation of the checkpoint."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import workspace
from adl.config import params
from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export import infer
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.files import read_json, read_png, write_json
from adl.parallel.pool import map_ahead
from adl.prepare.labels import LabelFiles
from adl.workspace import EXPORTED, MINDIR
from pipeline import infer as stage
from tests.conftest import ROOT
from tests.data import CITYSCAPES, frames_of, like_cityscapes, write_record, write_scenes
from tests.fixtures import evaluated

pytestmark = pytest.mark.usefixtures("graph")
FLIP = Mode(mirror=True)


@pytest.fixture
def frames(evaluation_scenes):
    return frames_of(evaluation_scenes, "val")


@pytest.fixture
def scored(models, evaluation_data, once):
    """The label maps that the evaluation of the checkpoint wrote, in `maps`, and its metrics.json."""

    def make(folder: Path) -> None:
        found = evaluated(evaluation_data, models / "m.ckpt", folder / "maps", processes=0)
        write_json(folder / "metrics.json", found.metrics())

    return once("scored", make)


# MINDIR: below, as the stage does it.
@pytest.mark.parametrize(("kind", "backend"), [("onnx", None), ("onnx", "onnxruntime"), ("onnx-labels", None)])
def test_exported_file_gives_the_checkpoints_results(models, scored, frames, tmp_path, kind, backend):
    path = FORMATS[kind].beside(models / "m.ckpt")
    expected = read_json(scored / "metrics.json")
    result = infer.infer(
        Exported.load(path, backend=backend), frames, CITYSCAPES, FLIP,
        reference=scored / "maps", predictions=tmp_path / "infer",
    )  # fmt: skip
    assert result.metrics["agreement"] >= 99.99
    assert result.metrics["mIOU"] == pytest.approx(expected["mIOU"], abs=0.01)
    assert result.metrics["images"] == 4
    written = sorted((tmp_path / "infer").rglob("*.png"))
    assert len(written) == 4
    for one in written:
        theirs = read_png(scored / "maps" / one.relative_to(tmp_path / "infer"))
        assert (read_png(one) == theirs).mean() >= 0.999


def test_exported_file_is_scored_as_its_checkpoint_is(models, scored, evaluation_data, tmp_path):
    path = FORMATS["onnx"].beside(models / "m.ckpt")
    found = evaluated(evaluation_data, path, tmp_path / "again", processes=0, architecture=None)
    expected = read_json(scored / "metrics.json")
    assert found.metrics()["mIOU"] == pytest.approx(expected["mIOU"], abs=0.01)
    assert set(found.results[0].counts) == {"single", "flip"}


def test_images_of_many_sizes_are_scored_alike_by_windows_of_file_and_checkpoint(models, frames, tmp_path):
    raw = shutil.copytree(frames[0].image.parents[3], tmp_path / "raw")
    for number, frame in enumerate(frames_of(raw, "val")):
        for path in (frame.image, frame.label):
            cut = read_png(path)[: 64 - number, : 90 + 9 * number]
            cv2.imwrite(str(path), cv2.copyMakeBorder(cut, 0, 2 * number, 0, 40, cv2.BORDER_REFLECT))
    record = write_record(raw, "val", tmp_path)
    mode = Mode(mirror=True, window=(64, 128))
    scored = evaluated(tmp_path, models / "m.ckpt", tmp_path / "maps", processes=0, mode=mode)
    assert len(read_json(workspace.manifest(record))["sizes"]) == 4
    assert [result.seconds is None for result in scored.results].count(True) == 1, "one graph for all"
    of_many_sizes = like_cityscapes(images=CITYSCAPES.images.model_copy(update={"sizes": "any"}))
    result = infer.infer(
        Exported.load(models / "m.mindir"), frames_of(raw, "val"), of_many_sizes, mode,
        predictions=None, reference=tmp_path / "maps",
    )  # fmt: skip
    assert result.metrics["agreement"] >= 99.99
    assert result.metrics["mIOU"] == pytest.approx(scored.metrics()["mIOU"], abs=0.01)


def test_image_of_another_size_is_refused_by_name(models, tmp_path):
    other = write_scenes(tmp_path / "other", height=70, train=1, val=1)
    message = r"elmstad_000000_000019_leftImg8bit\.png: .*m\.mindir: takes images of 128×64 pixels, not 140×70"
    file = Exported.load(models / "m.mindir")
    frames = frames_of(other, "val")
    with pytest.raises(AdlError, match=message):
        infer.infer(file, frames, CITYSCAPES, Mode(), predictions=tmp_path / "infer")
    assert not (tmp_path / "infer").exists()


def test_fault_of_a_frame_is_reported_from_its_thread(models, frames, tmp_path):
    copies = shutil.copytree(frames[0].image.parents[3], tmp_path / "raw")
    copied = frames_of(copies, "val")
    copied[2].image.write_bytes(b"no picture")
    file = Exported.load(models / "m.onnx")
    with pytest.raises(AdlError, match=copied[2].image.name):
        infer.infer(file, copied, CITYSCAPES, Mode(), predictions=tmp_path / "infer")
    assert not (tmp_path / "infer").exists()


def test_file_of_other_classes_is_not_scored(frames, tmp_path):
    few = like_cityscapes(classes=CITYSCAPES.classes[:11], title="Eleven")
    file = Exported(lambda images: np.zeros((1, 64, 128), np.uint8), few, None, labels=True, name="m.onnx")
    with pytest.raises(AdlError, match=r"m\.onnx: was trained on Eleven, whose classes are not those of Cityscapes"):
        infer.infer(file, frames, CITYSCAPES, FLIP, predictions=None)


def test_frames_are_read_in_their_order(frames):
    def read(frame):
        return infer.read(frame, LabelFiles(frames, CITYSCAPES))

    samples = list(map_ahead(read, frames, threads=1))
    assert [frame for frame, _, _ in samples] == frames
    assert list(map_ahead(read, [], threads=1)) == []


def test_usual_time_is_told_to_a_tenth_of_a_millisecond_and_one_image_alone_has_none(frames, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(infer.time, "perf_counter", lambda: next(ticks) ** 2 / 70)
    file = Exported(lambda images: np.zeros((1, 64, 128), np.uint8), CITYSCAPES, None, labels=True, name="m")
    times = [infer.infer(file, frames[:count], CITYSCAPES, FLIP, predictions=None).milliseconds for count in (1, 3)]
    # The clock's squares from 2² on: the images took 5, 9 and 13 seventieths of a second, the first one not counted.
    assert times == [None, 157.1]


def test_every_file_that_was_kept_is_measured_with_each_back_end(tmp_path):
    formats = ["onnx", "onnx-int8", "mindir-labels", "onnx-labels", "onnx-int8-labels"]
    p = params.load(ROOT / "params.yaml", export_formats=formats, infer_backends=["openvino", "onnxruntime"])
    EXPORTED.mkdir(parents=True)
    for path in [MINDIR, *(FORMATS[kind].beside(EXPORTED / MINDIR.name) for kind in formats)]:
        path.touch()
    FORMATS["onnx-int8"].beside(EXPORTED / MINDIR.name).unlink()  # lost too much
    onnx = ["onnx", "onnx-labels", "onnx-int8-labels"]
    assert [(backend, kind) for backend, kind, _ in stage.measurements(p)] == [
        ("mindspore", "mindir"),
        ("mindspore", "mindir-labels"),
        *(("openvino", kind) for kind in onnx),
        *(("onnxruntime", kind) for kind in onnx),
    ]
    plain = p.model_copy(update={"eval_flip": False})
    assert [kind for _, kind, _ in stage.measurements(plain)] == ["mindir", "onnx", "onnx"]


def test_one_command_for_the_script_of_2021(models, scored, evaluation_scenes, monkeypatch, capsys):
    """`run_infer_310.sh MINDIR DATASET DEVICE_ID`"""
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    arguments = ["--model", models / "m.mindir", "--data-path", evaluation_scenes, "--device-id", 0]
    monkeypatch.setattr("sys.argv", ["infer", *map(str, arguments), "--output", "out"])
    stage.main()
    metrics = read_json(Path("out/infer.json"))
    assert (metrics["images"], set(metrics)) == (4, {"mIOU", "images"})
    expected = read_json(scored / "metrics.json")
    assert metrics["mIOU"] == pytest.approx(expected["mIOU"], abs=0.01)
    for one in (theirs := scored / "maps").rglob("*.png"):
        ours = read_png(Path("out/predictions") / one.relative_to(theirs))
        assert (ours == read_png(one)).mean() >= 0.999
    assert f"mIOU {metrics['mIOU']:.2f}" in capsys.readouterr().out
    arguments[-1] = 3
    monkeypatch.setattr("sys.argv", ["infer", *map(str, arguments), "--output", "out"])
    with pytest.raises(AdlError, match="--device-id needs device_target Ascend"):
        stage.main()
    monkeypatch.setattr("sys.argv", ["infer", "--device-id", "1"])
    with pytest.raises(SystemExit, match="2"):
        stage.main()
    assert "--device-id needs --model" in capsys.readouterr().err
