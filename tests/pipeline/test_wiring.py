"""Parameters reach what they are named for: from params.yaml, through a stage, to the call that uses them."""

from __future__ import annotations

import signal
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from adl.config.params import load
from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export.formats import FORMATS
from adl.export.proofs import AccuracyDrop, EightBits, Equality
from adl.files import digest, read_json, write_json, write_png, write_text
from adl.launch import launcher
from adl.launch.topology import local
from adl.metrics.baselines import Scores
from adl.parallel.world import World
from adl.training import train as training
from adl.training.loop import Stopped
from adl.training.run import worker
from adl.training.state import TrainingJob
from adl.workspace import sidecar
from pipeline import evaluate, export, infer
from tests.conftest import ROOT, TINY
from tests.data import CITYSCAPES, frames_of
from tests.workspace import files


class Called(Exception):  # noqa: N818 (no error)
    """Ends a stage where its work would begin."""


def stage_with(monkeypatch, stage, place, name, arguments=(), **values) -> tuple[tuple, dict]:
    """How a stage calls the function `name` of `place`, with these parameters."""
    p = load(ROOT / "params.yaml", **values)
    monkeypatch.setattr(stage.params, "load", lambda: p)
    monkeypatch.setattr(sys, "argv", [stage.__name__, *arguments])
    given = []

    def called(*positional, **named):
        given.append((positional, named))
        raise Called

    monkeypatch.setattr(place, name, called)
    with pytest.raises(Called):
        stage.main()
    return given[0]


@pytest.fixture
def job_of(monkeypatch):
    monkeypatch.setattr(evaluate.records, "read_manifest", lambda *_: {"pixels": {}})
    monkeypatch.setattr(evaluate.checkpoint, "origin", lambda *_: (TINY, CITYSCAPES))
    monkeypatch.setattr(evaluate.Scores, "load", lambda path: Scores([], {}))

    def job(*arguments, **values):
        return stage_with(monkeypatch, evaluate, evaluate, "evaluate", arguments, **values)

    return job


@pytest.mark.parametrize("ms_infer", [True, False])
@pytest.mark.parametrize("eval_flip", [True, False])
def test_mode_of_the_evaluation_is_that_of_the_parameters(job_of, ms_infer, eval_flip):
    (job, _), _ = job_of(ms_infer=ms_infer, eval_flip=eval_flip, eval_window=[40, 50])
    assert job.mode == Mode(multiscale=ms_infer, mirror=eval_flip, window=[40, 50])


def test_images_processes_batch_and_device_of_the_evaluation_are_those_that_were_asked_for(job_of, monkeypatch):
    started = []
    monkeypatch.setattr(
        evaluate.Launcher,
        "run",
        lambda self, command, nodes: started.append((self.logs, nodes)) or 0,
    )
    (job, predictions), named = job_of(eval_images=7, device_num=2, parallel=True)
    assert (job.limit, job.batch_size) == (7, 1)
    assert job.record == Path("data/mindrecord/val.mindrecord")
    assert predictions == Path("data/predictions/evaluate")
    assert named["launch"](["x"]) == 0
    monkeypatch.setattr(evaluate.device, "devices", lambda device_target: 8)
    arguments = ("--split", "train", "--output", "o", "--eval-batch-size", "3", "--device-id", "5")
    (job, predictions), named = job_of(*arguments, device_target="Ascend")
    assert (job.limit, job.batch_size) == (None, 3)
    assert job.record == Path("data/mindrecord/train.mindrecord")
    assert predictions == Path("o/predictions")
    named["launch"](["x"])
    assert started == [(Path(".adl/logs/evaluate"), local(2, 0)), (Path("o/logs"), local(1, 5))]


def test_evaluation_has_no_more_processes_than_this_machine_has_devices(job_of, monkeypatch):
    monkeypatch.setattr(evaluate.device, "devices", lambda device_target: 3)
    monkeypatch.setattr(evaluate.Launcher, "run", lambda self, command, nodes: nodes)
    for device, expected in (("0", 3), ("1", 2), ("7", 1)):
        _, named = job_of(
            "--output",
            "o",
            "--device-id",
            device,
            device_target="Ascend",
            device_num=4,
            batch_size=4,
        )
        assert named["launch"](["x"]) == local(expected, int(device))


@pytest.mark.parametrize("part", ["report", "predictions"])
def test_folder_of_somebody_else_is_refused_before_any_work(part, tmp_path, monkeypatch):
    (tmp_path / "out" / part / "thesis").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--output", "out"])
    with pytest.raises(AdlError, match=f"out/{part}: would be replaced as a whole"):
        evaluate.main()


@pytest.mark.parametrize("eval_flip", [True, False])
def test_inference_has_the_images_and_the_mirror_of_the_parameters(monkeypatch, eval_flip):
    def split(root, name, dataset):
        whole = types.SimpleNamespace(frames=[(str(root), name, n) for n in range(9)])
        return types.SimpleNamespace(passed=lambda: whole)

    monkeypatch.setattr(infer, "Split", split)
    values = {"eval_flip": eval_flip, "eval_window": [40, 50], "eval_images": 2, "data_path": "somewhere"}
    monkeypatch.setattr(infer.Exported, "load", lambda *_, **__: "the MINDIR")
    (Path("models")).mkdir()
    Path("models/autodeeplab.mindir").touch()
    file, named = stage_with(monkeypatch, infer, infer, "infer", **values)
    assert file == ("the MINDIR",)
    assert named["frames"] == [("somewhere", "val", 0), ("somewhere", "val", 1)]
    assert named["mode"] == Mode(mirror=eval_flip, window=[40, 50])
    assert named["reference"] == Path("data/predictions/evaluate")


@pytest.mark.parametrize("eval_flip", [True, False])
def test_export_has_the_size_and_the_mode_of_the_parameters(monkeypatch, eval_flip):
    monkeypatch.setattr(export.checkpoint, "origin", lambda *_: (TINY, CITYSCAPES))
    monkeypatch.setattr(export.checkpoint, "restore", lambda *_, **__: "the network")
    asked = []
    monkeypatch.setattr(export.LabelMaps, "of", lambda folder, **named: asked.append((folder, named)))
    values = {"eval_flip": eval_flip, "eval_window": [64, 128], "export_height": 64, "export_width": 128}
    (network, dataset), named = stage_with(monkeypatch, export, export, "Exporter", **values)
    assert (network, dataset) == ("the network", CITYSCAPES)
    assert named["size"] == (64, 128)
    assert named["mode"] == Mode(mirror=eval_flip, window=[64, 128])
    assert str(named["record"]) == "data/mindrecord/val.mindrecord"
    assert str(named["training_record"]) == "data/mindrecord/train.mindrecord"
    [(folder, of)] = asked
    assert folder == Path("data/predictions/evaluate")
    assert (of["model"], of["record"]) == (Path("models/autodeeplab.ckpt"), named["record"])


@pytest.mark.parametrize("output", [None, "elsewhere"])
def test_export_leaves_files_sidecars_and_proofs_where_dvc_or_the_user_wants_them(monkeypatch, output):
    """Files that differ only in their 8 bits, of which one is not kept, and one that cannot be verified here."""
    p = load(ROOT / "params.yaml").model_copy(update={"export_formats": ["onnx", "onnx-int8", "air"]})
    monkeypatch.setattr(export.params, "load", lambda: p)
    monkeypatch.setattr(sys, "argv", ["export", *(["--output", output] if output else [])])
    network = types.SimpleNamespace(architecture=TINY)
    exporter = export.Exporter(network, CITYSCAPES, size=(64, 128), record=Path(), training_record=Path())
    write_text(Path("models/autodeeplab.ckpt"), "weights")
    proofs = {
        "onnx": Equality(3, 1e-6, 0.99999),
        "onnx-int8": EightBits({"AVX2": AccuracyDrop(5, 0.2, 0.5, 0.9, (29.0, 31.0))}),
        "mindir": Equality(3, 2e-6, 1.0),
        "air": None,
    }

    def write(path, kind):
        name = next(name for name, one in FORMATS.items() if one is kind)
        if name != "onnx-int8":
            write_text(path, name)
        return proofs[name]

    exporter.write = write
    monkeypatch.setattr(export.checkpoint, "origin", lambda *_: (TINY, CITYSCAPES))
    monkeypatch.setattr(export.checkpoint, "restore", lambda *_, **__: network)
    monkeypatch.setattr(export.LabelMaps, "of", lambda *_, **__: None)
    monkeypatch.setattr(export, "Exporter", lambda *_, **__: exporter)
    before = files(Path())
    export.main()
    models, exported, metrics = [Path(output)] * 3 if output else map(Path, ("models", "models/exported", "metrics"))
    written = {
        models / "autodeeplab.mindir": "mindir",
        exported / "autodeeplab.onnx": "onnx",
        exported / "autodeeplab.air": "air",
    }
    left = {path for path in files(Path()) - before if path.name[0] != "."}  # but for our mark
    assert left == {
        *written,
        *(sidecar(path) for path in written),
        metrics / "export.json",
    }
    for path, name in written.items():
        assert path.read_text() == name
        assert read_json(sidecar(path))["checkpoint_digest"] == digest(Path("models/autodeeplab.ckpt"))
    found = read_json(metrics / "export.json")
    assert {name: content["images"] for name, content in found.items()} == {
        "mindir": 3,
        "onnx": 3,
        "onnx-int8": 5,
    }


def test_inference_writes_what_dvc_is_told(monkeypatch, evaluation_scenes):
    """Label maps, metrics and speeds, none elsewhere."""
    p = load(ROOT / "params.yaml", data_path=str(evaluation_scenes))
    monkeypatch.setattr(infer.params, "load", lambda: p)
    monkeypatch.setattr(sys, "argv", ["infer"])
    for frame in frames_of(evaluation_scenes, "val"):
        path = CITYSCAPES.prediction_path(Path("data/predictions/evaluate"), frame.name)
        write_png(path, np.zeros((64, 128), np.uint8))
    write_json(Path("models/autodeeplab.mindir.json"), {"checkpoint_digest": "c"})
    before = files(Path())
    labels = np.zeros((1, 64, 128), np.uint8)
    file = infer.Exported(lambda _: labels, CITYSCAPES, None, labels=True, name="m")
    monkeypatch.setattr(infer.Exported, "load", lambda *_, **__: file)
    infer.main()
    stage = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["infer"]
    declared = {Path(path) for path in (*stage["outs"], *stage["metrics"][0])}
    written = files(Path()) - before
    within = {path: [place for place in declared if place in (path, *path.parents)] for path in written}
    assert {place for places in within.values() for place in places} == declared
    # Speeds follow from the clock.
    assert all(places for path, places in within.items() if "speed" not in path.parts)


@pytest.mark.parametrize("rank", [0, 1])
def test_worker_trains_its_job_as_its_rank(monkeypatch, tmp_path, rank):
    p = load(ROOT / "params.yaml")
    job = TrainingJob(
        params=p,
        record=Path("r"),
        val_record=Path("v"),
        key={},
        state=tmp_path / "state",
        pretrained=Path("w"),
        curves=tmp_path / "curves",
    )
    given = []

    def train(*positional, **named):
        given.append((positional, named))
        named["log_epochs"]([{"epoch": 1, "loss": 1.0, "learning_rate": 0.1}])
        raise Stopped("stopped at step 3")

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(worker.world, "from_environment", lambda: World(rank, 2))
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "state/job.json")])
    write_json(tmp_path / "state/job.json", job.model_dump(mode="json"))
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == worker.STOPPED != 0
    assert given[0][0] == (job,)
    [(_, named)] = given
    assert named["world"] == World(rank, 2)
    assert not named["stop"].requested
    assert bool(list(tmp_path.rglob("loss.tsv"))) == (rank == 0)


@pytest.mark.parametrize("alone", [True, False])
def test_worker_listens_once_its_first_step_is_done(alone):
    before = {number: signal.getsignal(number) for number in (launcher.STOP, signal.SIGTERM)}
    try:
        stop = worker.SignalledStop(alone=alone)
        for number, handler in before.items():
            assert signal.getsignal(number) is handler, "nothing to save yet: a signal ends it"
        stop.arm()
        # Beside other ranks, SIGTERM is MindSpore's.
        is_taken = signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
        assert is_taken == alone
        signal.raise_signal(signal.SIGTERM if alone else launcher.STOP)
        assert stop.requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
