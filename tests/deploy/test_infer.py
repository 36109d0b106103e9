"""The exported file on raw images, against the evaluation of the checkpoint."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from adl import runtime
from adl.artifacts import write_json
from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import export, exported, infer
from adl.errors import AdlError
from adl.intake import layout
from tests.data import write_scenes

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def mindir(net, tiny, evaluation_data, tmp_path):
    path = tmp_path / "m.mindir"
    proof = export.write(
        net,
        path,
        CITYSCAPES,
        height=64,
        width=128,
        record=evaluation_data / "cityscapes_val.mindrecord",
    )
    (tmp_path / "m.ckpt").write_bytes(b"weights")
    exported.write_sidecar(
        path,
        source=tmp_path / "m.ckpt",
        architecture=tiny,
        dataset=CITYSCAPES,
        height=64,
        width=128,
    )
    return path, proof


def test_exported_file_gives_the_checkpoints_results(mindir, score, evaluation_scenes, tmp_path):
    path, proof = mindir
    assert json.loads(path.with_name("m.mindir.json").read_text())["format"] == 1
    assert proof.images == 3
    assert proof.difference <= 1e-4
    assert proof.agreement >= 0.9999
    expected = score(tmp_path / "evaluate")
    result = infer.infer(
        path,
        layout.frames(evaluation_scenes, "val", CITYSCAPES),
        CITYSCAPES,
        device_target="CPU",
        flip=True,
        reference=tmp_path / "evaluate",
        predictions=tmp_path / "infer",
    )
    assert result.metrics["agreement"] >= 99.99
    assert result.metrics["mIOU"] == pytest.approx(expected.metrics()["mIOU"], abs=0.01)
    assert len(list((tmp_path / "infer").rglob("*.png"))) == 4


def test_image_of_another_size_is_refused_by_name(mindir, evaluation_scenes, tmp_path):
    path, _ = mindir
    other = write_scenes(tmp_path / "other", height=70, train=1, val=1)
    with pytest.raises(
        AdlError, match=r"elmstad_000000_000019_leftImg8bit\.png: is 140×70 pixels.*takes 128×64"
    ):
        infer.infer(
            path, layout.frames(other, "val", CITYSCAPES), CITYSCAPES, device_target="CPU", flip=False,
            reference=tmp_path, predictions=tmp_path / "infer",
        )  # fmt: skip
    assert not (tmp_path / "infer").exists()


def test_one_image_alone_has_no_usual_time(
    mindir_sidecar, evaluation_scenes, tmp_path, monkeypatch
):
    blank = np.zeros((1, 64, 128), np.uint8)
    monkeypatch.setattr(exported, "load", lambda path: None)
    monkeypatch.setattr(infer.inference, "label_maps", lambda *_: {"single": blank})
    monkeypatch.setattr(infer, "_reference", lambda *_: blank[0])
    ticks, started = itertools.count(), []
    start = runtime.start
    monkeypatch.setattr(
        runtime,
        "start",
        lambda *device, **settings: (started.append(device), start(*device, **settings)),
    )
    monkeypatch.setattr(infer.time, "perf_counter", lambda: next(ticks) ** 2 / 100)
    speeds = [
        infer.infer(
            mindir_sidecar, layout.frames(evaluation_scenes, "val", CITYSCAPES)[:images], CITYSCAPES,
            device_target="CPU", flip=False,
            reference=tmp_path, predictions=tmp_path / "infer",
        ).speed["ms_per_image"]
        for images in (1, 3)
    ]  # fmt: skip
    # The clock's squares from 2² on: the images took 5, 9 and 13 hundredths of a second, the first one not counted.
    assert speeds == [None, 110.0]
    assert started == [("CPU",), ("CPU",)]


@pytest.fixture
def mindir_sidecar(tmp_path):
    write_json(tmp_path / "m.mindir.json", {"input": {"height": 64, "width": 128}})
    return tmp_path / "m.mindir"
