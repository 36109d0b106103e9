"""Stages as jobs of ModelArts: everything in a bucket, machines that come and go, and the flags of 2021."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from adl.config import params
from adl.errors import AdlError, reported
from adl.launch.topology import free_port
from adl.parallel.lifetime import tied
from adl.storage.stages import stages
from pipeline import modelarts
from tests.conftest import ROOT
from tests.workspace import ONE_PROCESS, alive, set_params, wait_for

URLS = "--train_url=obs://b/out --data_url=obs://b/in --modelArts_mode=True"
FLAGS_OF_2021 = {
    f"mindrecord {URLS} --split=train": ("mindrecord@train", "--split train", None, {}),
    f"mindrecord {URLS} --split=val": ("mindrecord@val", "--split val", None, {}),
    f"train {URLS} --epochs=4000 --batch_size=16 --bn_momentum=0.995 --drop_path_keep_prob=1.0": (
        "train",
        "",
        None,
        {"epochs": 4000, "batch_size": 16, "bn_momentum": 0.995, "drop_path_keep_prob": 1.0},
    ),
    f"train {URLS} --ckpt_name=old.ckpt --initial-fm=None": (
        "train",
        "",
        None,
        {"ckpt_name": "old.ckpt", "initial_fm": None},
    ),
    f"evaluate {URLS} --ckpt_name=old.ckpt --batch_size=1 --split=val --parallel=False --ms_infer=False": (
        "evaluate",
        "--eval-batch-size 1 --split val --checkpoint pretrained/old.ckpt --output evaluate_old_val",
        "old.ckpt",
        {"parallel": False, "ms_infer": False},
    ),
    f"evaluate {URLS} --ckpt_name=autodeeplab.ckpt": (
        "evaluate",
        "--eval-batch-size 1 --split val",
        None,
        {},
    ),
    f"evaluate {URLS} --split=train --batch_size=3": (
        "evaluate",
        "--eval-batch-size 3 --split train --output evaluate_autodeeplab_train",
        None,
        {},
    ),
    f"evaluate {URLS} --split=train --ckpt_name=old.ckpt": (
        "evaluate",
        "--eval-batch-size 1 --split train --checkpoint pretrained/old.ckpt --output evaluate_old_train",
        "old.ckpt",
        {},
    ),
    f"export {URLS} --filter_multiplier=20 --parallel=False --ckpt_name=old.ckpt": (
        "export",
        "--checkpoint pretrained/old.ckpt --output export_old",
        "old.ckpt",
        {"filter_multiplier": 20, "parallel": False},
    ),
}
"""Flags of the ModelArts sections of the 2021 README, behind the stage → the stage as DVC names it, its options, the
checkpoint that it reads instead of the run's own, and which parameters change."""


@pytest.mark.parametrize("command", FLAGS_OF_2021)
def test_flags_of_2021_have_a_counterpart(monkeypatch, tmp_path, command):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["modelarts", *command.split(), "--work", str(tmp_path)])
    stage, changes = modelarts.stage_of(modelarts.parse())
    name, options, checkpoint, changed = FLAGS_OF_2021[command]
    assert (stage.name, stage.checkpoint) == (name, checkpoint)
    module = name.partition("@")[0]
    assert stage.command == ["-m", f"pipeline.{module}", *options.split()]
    if "--output" in options:
        assert stage.outputs == [stage.results] == [options.split()[-1]]
    else:
        assert (stage.outputs, stage.results) == (stages()[name].outputs, name)
    urls = {"data_url": "obs://b/in", "train_url": "obs://b/out", "modelArts": True}
    assert changes == changed | urls
    assert params.load(ROOT / "params.yaml", **changes).modelArts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --modelArts_mode=False", "without ModelArts, run `python -m pipeline.train`"),
        ("train --train_url=x --epoch=3", "unrecognized arguments: --epoch"),
        (
            "mindrecord --train_url=x",
            "python -m pipeline.modelarts: error: mindrecord needs --split",
        ),
        ("train --train_url=x --epochs=[", "'[' is no value of YAML"),
        ("train --train_url=x --epochs=2020-13-45", "'2020-13-45' is no value of YAML"),
        ("train --train_url=x --modelArts_mode=maybe", "'maybe' is neither True nor False"),
        (
            "train --train_url=x --master_port=99999",
            "--master_port: 99999 is no port; they go from 1 to",
        ),
        ("evaluate --train_url=x --batch_size=0", "batch_size: 0 images at a time"),
        ("evaluate --train_url=x --batch_size=two", "batch_size: two images at a time"),
        ("train --train_url=x --state_seconds=0", "--state_seconds: invalid positive number value"),
        ("evaluate --train_url=x --ckpt_name=a/b.ckpt", "a/b.ckpt must be the name of a file"),
        ("train --train_url=x --work=params.yaml", "--work params.yaml: "),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["modelarts", *arguments.split()])
    with pytest.raises((AdlError, SystemExit)) as refused:
        modelarts.stage_of(modelarts.parse())
    assert message in f"{refused.value}{capsys.readouterr().err}"


# The hyper-parameters that the 2021 README lists; train.py there took each.
OF_2021 = (
    "--epochs=4000 --batch_size=16 --seed=0 --base_lr=0.05 --warmup_start_lr=5e-6 --warmup_iters=1000 --min_lr=None "
    "--weight_decay=1e-4 --num_classes=19 --ignore_label=255 --crop_size=769 --workers=4 --filter_multiplier=20 "
    "--block_multiplier=5 --parallel=True --use_ABN=True --affine=True --bn_momentum=0.995 --bn_eps=1e-5 "
    "--drop_path_keep_prob=1.0 --net_arch=None --cell_arch=None --criterion=ohemce --ohem_thresh=0.7 --initial-fm=None "
    "--ckpt_name=None --save_epochs=100"
)  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        f"train {OF_2021} --keep_checkpoints=3 --eval_epochs=0 --save_minutes=5 --log_lines=plain --state_seconds=5",
        "train --device_num=2 --device_target=CPU --amp_level=O0 --master_port=8119",
        "mindrecord --split=val --data_path=data/cityscapes --dataset=datasets/cityscapes.yaml",
        "synthesize --synthetic_seed=3",
        "baselines",
        "evaluate --eval_images=20 --eval_flip=False --ms_infer=True --device_num=2",
        "evaluate --ckpt_name=old.ckpt --net_arch=n.npy --cell_arch=c.npy --affine=False --num_classes=19",
        "export --export_formats=[onnx] --export_height=65",
        "infer --infer_backends=[openvino] --export_formats=[onnx] --eval_images=2 --data_path=data/cityscapes",
        "report --data_path=data/cityscapes",
    ],
)
def test_a_stage_takes_what_it_reads(monkeypatch, command):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["modelarts", *command.split(), "--train_url=x"])
    modelarts.stage_of(modelarts.parse())


@pytest.mark.parametrize(
    ("command", "unread"),
    [
        ("infer --ckpt_name=other.ckpt", "--ckpt_name"),
        ("report --ckpt_name=other.ckpt", "--ckpt_name"),
        ("baselines --ckpt_name=other.ckpt", "--ckpt_name"),
        ("mindrecord --split=val --ckpt_name=other.ckpt", "--ckpt_name"),
        ("synthesize --ckpt_name=other.ckpt", "--ckpt_name"),
        ("synthesize --dataset=own.yaml", "--dataset"),
        ("infer --batch_size=2", "--batch_size"),
        ("export --ckpt_name=old.ckpt --batch_size=2", "--batch_size"),
        ("export --ckpt_name=old.ckpt --synthetic_seed=2", "--synthetic_seed"),
        ("infer --ms_infer=True", "--ms_infer"),
        ("evaluate --state_seconds=5", "--state_seconds"),
        ("export --master_port=8118", "--master_port"),
        ("train --split=val", "--split"),
        ("infer --split=val", "--split"),
        ("mindrecord --split=val --num_classes=2", "--num_classes"),
        ("evaluate --epochs=3", "--epochs"),
        ("evaluate --workers=3", "--workers"),
        ("evaluate --ckpt_name=None --parallel=False", "--parallel"),
        ("evaluate --filter_multiplier=20 --affine=False", "--filter_multiplier, --affine"),
        ("train --eval_flip=False --export_formats=[onnx]", "--eval_flip, --export_formats"),
        ("report --device_target=CPU", "--device_target"),
    ],
)
def test_what_a_stage_does_not_read_is_refused(tmp_path, monkeypatch, capsys, command, unread):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["modelarts", *command.split(), "--train_url", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"), reported():
        modelarts.main()
    stage = command.split()[0]
    assert f"error: {unread}: the stage {stage} reads no such option" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_scoring_other_images_or_weights_needs_other_inputs(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["modelarts", "evaluate", "--train_url=x"])
    own, _ = modelarts.stage_of(modelarts.parse())
    assert own.inputs == stages()["evaluate"].inputs
    sys.argv += ["--split=train", "--ckpt_name=old.ckpt"]
    other, _ = modelarts.stage_of(modelarts.parse())
    assert set(other.inputs) == {f"data/mindrecord/train.{end}" for end in ("mindrecord", "mindrecord.db", "json")}


class Cloud:
    """Jobs whose machines share nothing but the bucket, in which each job starts with the code alone."""

    def __init__(self, code: Path, server, folder: Path) -> None:
        self.code, self.server, self.folder = code, server, folder
        self.bucket = server.bucket()
        self.url = f"obs://{self.bucket}/run"
        self.flags = ["--train_url", self.url]
        self.jobs = 0

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start a job on a new machine."""
        self.jobs += 1
        self.machine = self.folder / f"machine{self.jobs}"
        self.log = self.folder / f"job{self.jobs}.log"
        with self.log.open("wb") as log:
            return subprocess.Popen(
                tied(
                    [
                        *(sys.executable, "-m", "pipeline.modelarts", *arguments),
                        *(*self.flags, "--work", str(self.machine)),
                    ]
                ),
                cwd=self.code,
                env=os.environ | self.server.environment() | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str, **environment: str) -> str:
        job = self.start(*arguments, **environment)
        assert job.wait(timeout=280) == 0, self.log.read_text()[-3000:]
        shutil.rmtree(self.machine, ignore_errors=True)
        return self.log.read_text()

    def names(self) -> set[str]:
        answer = self.server.client().list_objects_v2(Bucket=self.bucket)
        return {entry["Key"].removeprefix("run/") for entry in answer.get("Contents", [])}

    def content(self, name: str) -> bytes:
        answer = self.server.client().get_object(Bucket=self.bucket, Key=f"run/{name}")
        return answer["Body"].read()

    def positions(self) -> list[str]:
        return sorted(name for name in self.names() if "/position_" in name)

    def positions_here(self) -> list[str]:
        """Of the newest machine."""
        return [path.name for path in self.machine.glob(".adl/state/*/position_*")]


@pytest.fixture
def cloud(s3, workspace, tmp_path):
    return Cloud(workspace, s3, tmp_path)


@pytest.fixture
def here(cloud, monkeypatch, capfd):
    """here(…, returns=0) → what a job says that runs in this process, on a new machine; its stage has its own."""

    def execute(*arguments: str, returns: int = 0, **environment: str) -> str:
        cloud.jobs += 1
        work = ("--work", str(cloud.folder / f"machine{cloud.jobs}"))
        with monkeypatch.context() as patch:
            for name, value in (cloud.server.environment() | environment).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["modelarts", *arguments, *cloud.flags, *work])
            patch.setattr(modelarts, "take", lambda *_: None)
            patch.chdir(cloud.code)
            with pytest.raises(SystemExit) as ended, reported():
                modelarts.main()
        said = "".join(capfd.readouterr())
        assert ended.value.code == returns, said
        assert cloud.server.secret not in said
        return said

    return execute


@pytest.fixture
def records(here):
    """records() makes the records, in the bucket."""

    def make() -> None:
        here("synthesize")
        for split in ("train", "val"):
            here("mindrecord", "--split", split)

    return make


@pytest.fixture
def refusal(here):
    """refusal(…) → what a job says that ends with exit code 2."""
    return functools.partial(here, returns=2)


def test_a_job_that_cannot_work_says_why_before_it_copies(cloud, refusal):
    wrong = {"AWS_SECRET_ACCESS_KEY": "s3cret"}
    text = refusal("train", **wrong)
    assert f"error: {cloud.url}" in text
    assert "access is refused" in text
    assert "s3cret" not in text
    text = refusal("train")
    assert "error: train needs data/mindrecord/train.mindrecord, " in text
    text = refusal("train", MA_NUM_HOSTS="2", VC_TASK_INDEX="0", VC_WORKER_HOSTS="one")
    assert "VC_WORKER_HOSTS: names 1 hosts" in text
    set_params(cloud.code, data_path="/data/cityscapes")
    text = refusal("train", MA_NUM_GPUS="8")
    assert "device_num is 8, as many as this job has, instead of 1" in text
    assert "data_path is data/raw, where the data set is copied to" in text
    assert "batch_size: 2 images cannot be divided evenly among device_num 8 devices" in text
    text = refusal("train", "--device_target", "Ascend")
    assert "this machine has 0 such devices" in text
    text = refusal("train", "--bn_momentum", "2")
    assert "bn_momentum: 2 is not accepted" in text
    assert cloud.names() == set()


def test_drawn_scenes_and_records_go_through_the_bucket(cloud, here, refusal):
    """The stages that need no MindSpore graph; params.yaml says where to, and nothing of the workspace changes."""
    set_params(cloud.code, modelArts=True, train_url=cloud.url)
    cloud.flags = []
    before = (cloud.code / "params.yaml").read_text()
    cloud.run("synthesize")
    text = here("mindrecord", "--split", "val")
    images = "data/synthetic/leftImg8bit/val"
    assert re.search(rf"reads {images}: 3 files, \d+ kB, from {cloud.url}/{images}/\w+/", text)
    assert "data/mindrecord/val.mindrecord" in cloud.names()
    assert json.loads(cloud.content("metrics/mindrecord_val.json"))["images"] == 3
    assert (cloud.code / "params.yaml").read_text() == before
    assert not (cloud.code / "data").exists()
    lost = next(name for name in cloud.names() if name.startswith(images))
    cloud.server.client().delete_object(Bucket=cloud.bucket, Key=f"run/{lost}")
    assert f"{lost}: this object is missing" in refusal("mindrecord", "--split", "val")


@pytest.mark.slow
def test_a_whole_run_in_a_bucket_survives_the_loss_of_its_machine(cloud, here, records, one_process):
    saving = {"save_minutes": None, "save_epochs": 1}
    set_params(cloud.code, **ONE_PROCESS | saving, export_formats=["onnx"])
    records()

    lost = cloud.start("train", "--state_seconds", "0.2")
    wait_for(lambda: cloud.positions() or lost.poll() is not None, 120)
    started = [lost, *psutil.Process(lost.pid).children(recursive=True)]
    lost.kill()
    lost.wait()
    wait_for(lambda: not alive(started[1:]), 20)
    shutil.rmtree(cloud.machine)
    assert cloud.positions()
    assert "models/autodeeplab.ckpt" not in cloud.names()

    before = cloud.positions()[-1]
    stopped = cloud.start("train", "--state_seconds", "60")
    wait_for(
        lambda: max(cloud.positions_here(), default="") > Path(before).name or stopped.poll() is not None,
        120,
    )
    stopped.terminate()
    assert stopped.wait(timeout=60) == 143, cloud.log.read_text()[-3000:]
    assert cloud.positions()[-1] > before
    shutil.rmtree(cloud.machine)

    text = cloud.run("train", "--state_seconds", "0.2")
    assert "resuming at step" in text
    uninterrupted = (one_process() / "models/autodeeplab.ckpt").read_bytes()
    assert cloud.content("models/autodeeplab.ckpt") == uninterrupted
    assert "this run is already finished" in here("train")

    assert "the stage baselines runs first" in here("evaluate")
    for stage in ("export", "infer", "report"):
        here(stage)
    metrics = {stage: json.loads(cloud.content(f"metrics/{stage}.json")) for stage in ("evaluate", "infer")}
    assert metrics["evaluate"]["mIOU"] == metrics["infer"]["mIOU"]
    report = cloud.content("reports/miou.md").decode()
    assert f"{metrics['evaluate']['mIOU']:.2f}" in report
    assert {"reports/index.html", "models/exported/autodeeplab.onnx"} <= cloud.names()


@pytest.mark.slow
def test_two_nodes_that_share_only_the_bucket_train_together(cloud, here, records):
    """Both on this machine; what ModelArts would set is set here."""
    # Batch norm over all devices would take twice as long to compile.
    set_params(cloud.code, epochs=3, eval_epochs=0, batch_size=4, parallel=False)
    records()
    place = {"MA_NUM_HOSTS": "2", "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1"}
    port = str(free_port())
    jobs, logs = [], []
    for rank in ("1", "0"):
        jobs.append(cloud.start("train", "--device_num", "2", "--master_port", port, VC_TASK_INDEX=rank, **place))
        logs.append(cloud.log)
    for job, log in zip(jobs, logs, strict=True):
        assert job.wait(timeout=280) == 0, log.read_text()[-3000:]
    assert "waiting for the first node's state" in logs[0].read_text()
    assert "models/autodeeplab.ckpt" in cloud.names()
    assert {name.rpartition("/")[2] for name in cloud.names() if "/logs/rank" in name} == {
        "rank_0.log",
        "rank_1.log",
    }
    # The other stages have nothing to do on the second node.
    assert "runs on the first node alone" in here("report", VC_TASK_INDEX="1", **place)
