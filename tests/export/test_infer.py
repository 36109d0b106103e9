"""Exported files on raw images, against the evaluation of the checkpoint."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from adl.config import params
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export import infer
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.export.writers import Exporter
from adl.files import read_json, read_png, write_json
from adl.network import checkpoint
from adl.parallel.pool import map_ahead
from adl.prepare import layout
from adl.workspace import EXPORTED, MINDIR
from pipeline import infer as stage
from tests.conftest import ROOT
from tests.data import write_scenes
from tests.fixtures import evaluated, export_model

pytestmark = pytest.mark.usefixtures("graph")
FLIP = Mode(mirror=True)


@pytest.fixture
def frames(evaluation_scenes):
    return layout.frames(evaluation_scenes, "val", CITYSCAPES)


KINDS = (
    ("mindir", None),
    ("onnx", None),
    ("onnx", "onnxruntime"),
    ("mindir-labels", None),
    ("onnx-labels", None),
)


@pytest.fixture
def deployed(net, once, evaluation_data):
    """A checkpoint `m.ckpt`, exported in each kind; what its evaluation wrote and scored, metrics.json."""

    def make(folder: Path) -> None:
        checkpoint.save(checkpoint.native(net), folder / "m.ckpt")
        val, train = (
            evaluation_data / f"cityscapes_{split}.mindrecord" for split in ("val", "train")
        )
        exporter = Exporter(net, CITYSCAPES, size=(64, 128), record=val, training_record=train)
        for kind in dict(KINDS):
            export_model(exporter, kind, folder / "m.ckpt")
        scored = evaluated(evaluation_data, folder / "m.ckpt", folder / "evaluate")
        write_json(folder / "metrics.json", scored.metrics())

    return once("deployed", make)


@pytest.mark.parametrize(("kind", "backend"), KINDS)
def test_exported_file_gives_the_checkpoints_results(deployed, frames, tmp_path, kind, backend):
    path = FORMATS[kind].beside(deployed / "m.ckpt")
    expected = read_json(deployed / "metrics.json")
    result = infer.infer(
        Exported.load(path, CITYSCAPES, backend=backend), frames, CITYSCAPES, FLIP,
        reference=deployed / "evaluate", predictions=tmp_path / "infer",
    )  # fmt: skip
    assert result.metrics["agreement"] >= 99.99
    assert result.metrics["mIOU"] == pytest.approx(expected["mIOU"], abs=0.01)
    assert result.metrics["images"] == 4
    written = sorted((tmp_path / "infer").rglob("*.png"))
    assert len(written) == 4
    for one in written:
        theirs = read_png(deployed / "evaluate" / one.relative_to(tmp_path / "infer"))
        assert (read_png(one) == theirs).mean() >= 0.999


def test_exported_file_is_scored_as_its_checkpoint_is(deployed, evaluation_data, tmp_path):
    path = FORMATS["onnx"].beside(deployed / "m.ckpt")
    scored = evaluated(evaluation_data, path, tmp_path / "again", architecture=None)
    expected = read_json(deployed / "metrics.json")
    assert scored.metrics()["mIOU"] == pytest.approx(expected["mIOU"], abs=0.01)
    assert set(scored.results[0].counts) == {"single", "flip"}


def test_image_of_another_size_is_refused_by_name(models, tmp_path):
    other = write_scenes(tmp_path / "other", height=70, train=1, val=1)
    message = r"elmstad_000000_000019_leftImg8bit\.png: .*m\.mindir: takes images of 128×64 pixels, not 140×70"
    file = Exported.load(models / "m.mindir", CITYSCAPES)
    frames = layout.frames(other, "val", CITYSCAPES)
    with pytest.raises(AdlError, match=message):
        infer.infer(file, frames, CITYSCAPES, Mode(), predictions=tmp_path / "infer")
    assert not (tmp_path / "infer").exists()


def test_fault_of_a_frame_is_reported_from_its_thread(models, frames, tmp_path):
    copies = shutil.copytree(frames[0].image.parents[3], tmp_path / "raw")
    copied = layout.frames(copies, "val", CITYSCAPES)
    copied[2].image.write_bytes(b"no picture")
    file = Exported.load(models / "m.onnx", CITYSCAPES)
    with pytest.raises(AdlError, match=copied[2].image.name):
        infer.infer(file, copied, CITYSCAPES, Mode(), predictions=tmp_path / "infer")
    assert not (tmp_path / "infer").exists()


def test_frames_are_read_in_their_order(frames):
    def read(frame):
        return infer.read(frame, CITYSCAPES)

    samples = list(map_ahead(read, frames, threads=1))
    assert [frame for frame, _, _ in samples] == frames
    assert list(map_ahead(read, [], threads=1)) == []


def test_usual_time_is_told_to_a_tenth_of_a_millisecond_and_one_image_alone_has_none(
    frames, monkeypatch
):
    ticks = itertools.count()
    monkeypatch.setattr(infer.time, "perf_counter", lambda: next(ticks) ** 2 / 70)
    file = Exported(lambda images: np.zeros((1, 64, 128), np.uint8), None, labels=True, name="m")
    times = [
        infer.infer(file, frames[:count], CITYSCAPES, FLIP, predictions=None).milliseconds
        for count in (1, 3)
    ]
    # The clock's squares from 2² on: the images took 5, 9 and 13 seventieths of a second, the first one not counted.
    assert times == [None, 157.1]


def test_every_file_that_was_kept_is_measured_with_each_back_end(tmp_path):
    formats = ["onnx", "onnx-int8", "mindir-labels", "onnx-labels", "onnx-int8-labels"]
    p = params.load(
        ROOT / "params.yaml", export_formats=formats, infer_backends=["openvino", "onnxruntime"]
    )
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


def test_one_command_for_the_script_of_2021(models, evaluation_scenes, monkeypatch, capsys):
    """`run_infer_310.sh MINDIR DATASET DEVICE_ID`"""
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    arguments = ["--model", models / "m.mindir", "--data-path", evaluation_scenes, "--device-id", 0]
    monkeypatch.setattr("sys.argv", ["infer", *map(str, arguments), "--output", "out"])
    stage.main()
    metrics = read_json(Path("out/infer.json"))
    assert (metrics["images"], set(metrics)) == (4, {"mIOU", "images"})
    assert f"mIOU {metrics['mIOU']:.2f}" in capsys.readouterr().out
    arguments[-1] = 3
    monkeypatch.setattr("sys.argv", ["infer", *map(str, arguments), "--output", "out"])
    with pytest.raises(AdlError, match="--device-id needs device_target Ascend"):
        stage.main()
    monkeypatch.setattr("sys.argv", ["infer", "--device-id", "1"])
    with pytest.raises(SystemExit, match="2"):
        stage.main()
    assert "--device-id needs --model" in capsys.readouterr().err
