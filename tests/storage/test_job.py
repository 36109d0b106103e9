"""A job brings what its stage reads and nothing else, and leaves what it wrote; a function stands for the stage."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from adl.config import params, recipes
from adl.dataset import descriptor
from adl.errors import AdlError, reported
from adl.files import OURS, digest, write_json, write_text
from adl.prepare.layout import Split
from adl.storage import environment
from adl.storage import job as module
from adl.storage.environment import Node
from adl.storage.job import Job
from adl.storage.stages import stages
from adl.training import lock, runs
from pipeline import modelarts, report
from tests import own_data
from tests.conftest import ROOT
from tests.workspace import wait_for

RECORDS = [
    f"data/mindrecord/{split}.{end}" for split in ("train", "val") for end in ("mindrecord", "mindrecord.db", "json")
]


class Cloud:
    """A code folder, two folders that stand for buckets, and what the stage does when it is run."""

    def __init__(self, folder: Path) -> None:
        self.code, self.data, self.train = (folder / name for name in ("code", "data", "train"))
        self.work = folder / "work"
        self.code.mkdir()
        for name in ("adl", "architectures", "datasets", "dvc.yaml", "pipeline"):
            (self.code / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "params.yaml", self.code)
        self.commands: list[list[str]] = []
        self.stage = lambda: 0

    def run(self, stage: str, node: Node | None = None, **changes) -> int:
        os.chdir(self.code)
        changes |= {"modelArts": True, "train_url": str(self.train)}
        if self.data.exists():
            changes["data_url"] = str(self.data)
        p = params.load(**changes)
        job = Job(p, node or Node(), work=self.work, every=60)
        return job.run(stages()[stage])

    def main(self, *arguments: str) -> int:
        """Run a job by its command line. Returns its exit code."""
        os.chdir(self.code)
        sys.argv[1:] = [*arguments, "--work", str(self.work)]
        with pytest.raises(SystemExit) as ended, reported():
            modelarts.main()
        return ended.value.code


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    cloud = Cloud(tmp_path)

    def run(command, environment):
        cloud.commands.append(command[1:])
        assert environment["ADL_STATE_DIR"] == ".adl/state"
        return cloud.stage()

    monkeypatch.setattr(module.foreground, "run", run)
    monkeypatch.setattr(modelarts.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(sys, "argv", ["modelarts"])
    monkeypatch.chdir(tmp_path)
    return cloud


@pytest.fixture
def run_name(monkeypatch) -> str:
    """The name of the run that a job trains; its records are no real ones here."""

    monkeypatch.setattr(runs, "key_of", lambda params: {"a": 1})
    monkeypatch.setattr(runs, "code_digest", lambda: "this code")
    return runs.state_of(Path(), {"a": 1}).name


def with_records(cloud) -> None:
    for name in RECORDS:
        write_text(cloud.train / name, name)


def test_what_an_earlier_job_read_is_not_read_again(cloud):
    read = []

    def stage():
        read.append(sorted(path.name for path in Path("data/raw").rglob("*.png")))
        return 0

    cloud.stage = stage
    for name in ("a", "b"):
        shutil.rmtree(cloud.data, ignore_errors=True)
        for folder in ("leftImg8bit", "gtFine"):
            write_text(cloud.data / folder / f"val/ulm/{name}.png", name)
        assert cloud.run("mindrecord@val") == 0
    assert read == [["a.png", "a.png"], ["b.png", "b.png"]]


def test_what_an_earlier_stage_wrote_here_is_not_left_as_this_ones(cloud):
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/1.png"), "whole") or 0
    assert cloud.run("synthesize") == 0
    cloud.stage = lambda: 1
    assert cloud.run("synthesize") == 1
    assert (cloud.train / "data/synthetic/gtFine/1.png").read_text() == "whole"
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/2.png"), "half") or 1
    assert cloud.run("synthesize") == 1
    with pytest.raises(AdlError, match="the stage synthesize did not finish"):
        cloud.run("mindrecord@val")


def test_exit_code_is_that_of_the_stage(cloud):
    cloud.stage = lambda: 143
    assert cloud.main("synthesize", "--train_url", str(cloud.train)) == 143


def test_a_stage_that_fails_before_the_one_that_was_meant_ends_the_job(cloud):
    with_records(cloud)
    for name in ("models/autodeeplab.ckpt", "models/autodeeplab.ckpt.json"):
        write_text(cloud.train / name, "{}")
    cloud.stage = lambda: 3
    assert cloud.main("evaluate", "--train_url", str(cloud.train)) == 3
    assert cloud.commands == [["-m", "pipeline.baselines"]]


def test_a_machine_need_only_fit_the_stage_that_runs(cloud, capsys):
    (cloud.code / "params.yaml").write_text(
        recipes.edited((ROOT / "params.yaml").read_text(), {"device_target": "Ascend"})
    )
    place = ("--train_url", str(cloud.train))
    assert cloud.main("synthesize", *place) == 0
    assert cloud.main("train", *place) == 2
    assert "this machine has 0 such devices" in capsys.readouterr().err
    assert cloud.main("infer", "--device_target=CPU", "--infer_backends=[lite]", *place) == 2
    assert "lite" in capsys.readouterr().err


def test_the_port_and_the_pace_of_a_training_are_those_that_were_asked_for(cloud, run_name, monkeypatch):
    with_records(cloud)
    nodes = {"MA_NUM_HOSTS": "2", "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1", "VC_TASK_INDEX": "0"}
    for name, value in nodes.items():
        monkeypatch.setenv(name, value)
    position = Path(run_name) / "position_000000001.npz"

    def stage():
        write_text(".adl/state" / position, "1")
        wait_for((cloud.train / "state" / position).exists, seconds=5)
        return 0

    cloud.stage = stage
    asked = ("--master_port=8200", "--state_seconds=0.05")
    assert cloud.main("train", *asked, "--train_url", str(cloud.train)) == 0
    assert cloud.commands[0][-3:] == ["--master", "127.0.0.1:8200", "--loopback"]


def test_a_home_folder_may_be_written_as_a_tilde(cloud, monkeypatch):
    monkeypatch.setenv("HOME", str(cloud.code.parent))
    cloud.work = "~/work of mine"
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/1.png"), "x") or 0
    assert cloud.main("synthesize", "--train_url=~/out") == 0
    assert (cloud.code.parent / "out/data/synthetic/gtFine/1.png").exists()
    assert (cloud.code.parent / "work of mine/params.yaml").exists()


@pytest.mark.parametrize("where", ["elsewhere", "code", "exported"])
def test_a_folder_that_jobs_did_not_make_is_never_worked_in(cloud, capsys, where):
    """Neither one with precious files, nor the workspace, nor what a stage made there."""
    if where == "exported":
        write_text(cloud.work / OURS, "of the stage export")
    if where == "code":
        cloud.work = cloud.code
    else:
        write_text(cloud.work / "models/autodeeplab.ckpt", "precious")
        write_text(cloud.work / "params.yaml", "precious")
    before = {path: path.stat().st_mtime_ns for path in cloud.work.rglob("*")}
    assert cloud.main("synthesize", "--train_url", str(cloud.train)) == 2
    message = capsys.readouterr().err
    assert f"--work {cloud.work}: something else made it, or an earlier version did" in message
    assert "or remove this one" in message
    assert {path: path.stat().st_mtime_ns for path in cloud.work.rglob("*")} == before
    assert cloud.commands == []


def test_an_empty_folder_is_worked_in_again_and_again(cloud):
    cloud.work.mkdir()
    for _ in range(2):
        assert cloud.main("synthesize", "--train_url", str(cloud.train)) == 0
    assert (cloud.work / "adl").resolve() == (ROOT / "adl").resolve()


def test_two_jobs_do_not_work_in_one_folder(cloud):
    cloud.run("synthesize")
    with (
        lock.held(cloud.work),
        pytest.raises(AdlError, match="already in progress"),
    ):
        cloud.run("synthesize")


@pytest.fixture
def bucket(s3, monkeypatch):
    """A bucket that is found by ModelArts' own variable."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name.replace("AWS_ENDPOINT_URL", "S3_ENDPOINT"), value)
    return s3.bucket()


@pytest.mark.parametrize("name", ["../../../../../x.png", r"..\..\x.png"])
def test_a_key_that_leads_elsewhere_is_refused(cloud, s3, bucket, capsys, name):
    whole = f"in/leftImg8bit/val/{name}"
    for image in (whole, "in/leftImg8bit/val/ulm/1.png", "in/gtFine/val/ulm/1.png"):
        s3.client().put_object(Bucket=bucket, Key=image, Body=b"x")
    urls = ("--data_url", f"obs://{bucket}/in", "--train_url", str(cloud.train))
    assert cloud.main("mindrecord", "--split", "val", *urls) == 2
    assert f"leftImg8bit/val: {name!r} is no name that can be copied" in capsys.readouterr().err
    assert cloud.commands == []
    assert not list(cloud.work.parent.rglob("*.png"))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "metrics/../../x"])
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_manifest_that_names_what_is_elsewhere_is_refused(cloud, capsys, name, is_complete):
    """Neither is it read, nor is what it names removed as a result that is no longer written."""
    manifest = {"stage": "synthesize", "complete": is_complete, "files": {name: "0"}}
    write_json(cloud.train / "copied/synthesize.json", manifest)
    write_text(cloud.train / "data/synthetic/gtFine/val/1.png", "x")
    write_text(cloud.train.parent / "x", "precious")
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/2.png"), "new") or 0
    for stage in (["synthesize"], ["mindrecord", "--split", "val"]):
        assert cloud.main(*stage, "--train_url", str(cloud.train)) == 2
        assert f"copied/synthesize.json: {name!r} is no name" in capsys.readouterr().err
    assert (cloud.train.parent / "x").read_text() == "precious"


@pytest.mark.parametrize("folder", ["pipeline/drawn", "../drawn", "/drawn"])
def test_raw_data_is_never_written_into_the_code_or_out_of_the_folder(cloud, folder):
    for kind in ("leftImg8bit", "gtFine"):
        write_text(cloud.data / kind / "val/ulm/1.png", "x")
    seen = []
    cloud.stage = lambda: seen.append(sorted(map(str, Path("data").rglob("*.png")))) or 0
    urls = ("--data_url", str(cloud.data), "--train_url", str(cloud.train))
    assert cloud.main("mindrecord", "--split", "val", "--data_path", folder, *urls) == 0
    raw = "data/raw/{}/val/ulm/1.png"
    assert seen == [[raw.format("gtFine"), raw.format("leftImg8bit")]]


def test_a_folder_of_raw_data_that_only_sounds_like_code_is_kept(cloud):
    for kind in ("leftImg8bit", "gtFine"):
        write_text(cloud.data / kind / "val/ulm/1.png", "x")
    seen = []
    cloud.stage = lambda: seen.append(sorted(map(str, Path("data").rglob("*.png")))) or 0
    assert cloud.run("mindrecord@val", data_path="data/pipeline") == 0
    raw = "data/pipeline/{}/val/ulm/1.png"
    assert seen == [[raw.format("gtFine"), raw.format("leftImg8bit")]]


def test_a_split_with_a_list_brings_the_list_and_what_it_names(cloud):
    own_data.write(cloud.code)
    (cloud.code / "garden").rename(cloud.data)
    seen = {}

    def stage():
        found = Split(Path("data/raw"), split, descriptor.load("garden.yaml")).passed()
        seen[split] = len(found.frames)
        return 0

    cloud.stage = stage
    for split in ("val", "train"):
        assert cloud.run(f"mindrecord@{split}", dataset="garden.yaml", data_path="/data/garden") == 0
    assert seen == {"train": 5, "val": 4}

    (cloud.data / "lists/val.txt").unlink()
    with pytest.raises(AdlError, match=r"mindrecord@val needs data/raw/lists/val\.txt: not in "):
        cloud.run("mindrecord@val", dataset="garden.yaml", data_path="/data/garden")


def test_a_job_trains_from_its_own_run_alone(cloud, run_name):
    with_records(cloud)
    for name in (run_name, "fedcba9876543210"):
        write_text(cloud.train / f"state/{name}/position_1.npz", name)
    seen = []

    def stage():
        seen.append(sorted(path.parent.name for path in Path(".adl/state").rglob("*.npz")))
        write_text(Path(f".adl/state/{run_name}/position_2.npz"), "2")
        Path(f".adl/state/{run_name}/position_1.npz").unlink()
        return 0

    cloud.stage = stage
    assert cloud.main("train", "--train_url", str(cloud.train)) == 0
    assert seen == [[run_name]]
    found = {path.relative_to(cloud.train / "state") for path in cloud.train.rglob("*.npz")}
    assert set(map(str, found)) == {
        f"{run_name}/position_2.npz",
        "fedcba9876543210/position_1.npz",
    }


def test_of_two_nodes_without_numbers_none_leads(cloud, monkeypatch, capsys):
    with_records(cloud)
    for name, value in {"MA_NUM_HOSTS": "2", "VC_WORKER_HOSTS": "one,two"}.items():
        monkeypatch.setenv(name, value)
    assert cloud.main("train", "--train_url", str(cloud.train)) == 2
    assert "VC_TASK_INDEX: not set, but the job has 2 nodes" in capsys.readouterr().err
    assert cloud.commands == []


def test_two_runs_whose_places_differ_behind_a_hash_or_a_question_mark_stay_apart(cloud, s3, bucket):
    for place in ("run#1", "run#2", "run?2"):
        cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/a #1?.png"), "x") or 0
        assert cloud.main("synthesize", "--train_url", f"s3://{bucket}/{place}") == 0
    answer = s3.client().list_objects_v2(Bucket=bucket)
    roots = {entry["Key"].partition("/data/")[0] for entry in answer["Contents"] if "/data/" in entry["Key"]}
    assert roots == {"run#1", "run#2", "run?2"}
    local = "./local out #1: x"
    assert cloud.main("synthesize", "--train_url", local) == 0
    assert (cloud.code / local / "data/synthetic/gtFine/a #1?.png").exists()


@pytest.mark.parametrize("is_declared", [True, False])
def test_speeds_go_along_whether_or_not_dvc_knows_of_them(cloud, run_name, is_declared):
    lines = (ROOT / "dvc.yaml").read_text().splitlines(keepends=True)
    kept = [line for line in lines if is_declared or "reports/speed/" not in line]
    (cloud.code / "dvc.yaml").unlink()
    (cloud.code / "dvc.yaml").write_text("".join(kept))
    with_records(cloud)
    speed = Path("reports/speed/train.json")
    cloud.stage = lambda: write_text(speed, "fast") or 0
    assert cloud.main("train", "--train_url", str(cloud.train)) == 0
    assert (cloud.train / speed).read_text() == "fast"
    shutil.rmtree(cloud.work)
    seen = []
    cloud.stage = lambda: seen.append(speed.read_text()) or 0
    assert cloud.main("report", "--train_url", str(cloud.train)) == 0
    assert seen == ["fast"]


def test_a_report_leaves_the_page_of_times_to_which_it_links(cloud, monkeypatch):
    model = cloud.train / "models/autodeeplab.ckpt"
    write_text(model, "weights")
    speed = {
        "device": "CPU", "processor": "P", "cores": 2, "mindspore": "2", "processes": 1,
        "ms_per_image": 31.5, "network_ms_per_image": 30.5, "checkpoint_digest": digest(model),
    }  # fmt: skip
    write_json(cloud.train / "reports/speed/evaluate.json", speed)

    def stage():
        monkeypatch.setattr(sys, "argv", ["report"])
        report.main()
        return 0

    cloud.stage = stage
    assert cloud.main("report", "--train_url", str(cloud.train)) == 0
    assert 'href="performance.html"' in (cloud.train / "reports/index.html").read_text()
    for name in ("performance.md", "performance.html"):
        assert "31.5 ms/image, 30.5 in the network" in (cloud.train / "reports" / name).read_text()


def test_architecture_files_of_ones_own_come_along(cloud):
    published = np.load(ROOT / "architectures/small/net_arch.npy")
    (cloud.code / "mine").mkdir()
    np.save(cloud.code / "mine/net.npy", published)
    seen = []
    cloud.stage = lambda: seen.append(np.load("mine/net.npy")) or 0
    assert cloud.run("synthesize", net_arch="mine/net.npy") == 0
    assert np.array_equal(seen[0], published)
    np.save(cloud.code.parent / "net.npy", published)
    with pytest.raises(AdlError, match=r"\.\./net.npy: must be in the project's folder"):
        cloud.run("synthesize", net_arch="../net.npy")


def test_weights_to_start_from_come_with_their_sidecar(cloud, run_name):
    with_records(cloud)
    write_text(cloud.code / "pretrained/old.ckpt", "weights")
    write_json(cloud.code / "pretrained/old.ckpt.json", {"of": "old"})
    seen = []
    cloud.stage = lambda: seen.append(sorted(p.name for p in Path("pretrained").iterdir())) or 0
    assert cloud.run("train", ckpt_name="old.ckpt") == 0
    (cloud.code / "pretrained/old.ckpt.json").unlink()
    assert cloud.run("train", ckpt_name="old.ckpt") == 0
    assert seen == [["old.ckpt", "old.ckpt.json"], ["old.ckpt"]]
    with pytest.raises(AdlError, match=r"ckpt_name: new.ckpt is not in .*, nor in pretrained/"):
        cloud.run("train", ckpt_name="new.ckpt")


def test_a_model_that_a_run_kept_is_exported_by_its_name(cloud, run_name):
    with_records(cloud)
    kept = Path("state", run_name, "result/intermediate/epoch_00010.ckpt")
    write_text(cloud.train / kept, "weights")
    write_json(cloud.train / kept.with_name("epoch_00010.ckpt.json"), {"epoch": 10})
    seen = []
    cloud.stage = lambda: seen.append(sorted(p.name for p in Path("pretrained").iterdir())) or 0
    url = ("--train_url", str(cloud.train))
    assert cloud.main("export", "--ckpt_name", "epoch_00010.ckpt", *url) == 0
    assert cloud.commands[0][:4] == [
        *("-m", "pipeline.export", "--checkpoint"),
        "pretrained/epoch_00010.ckpt",
    ]
    assert seen == [["epoch_00010.ckpt", "epoch_00010.ckpt.json"]]


class TestSecondNode:
    """It sees the first one's state only through the bucket."""

    node = Node(nodes=2, rank=1, hosts=("127.0.0.1", "127.0.0.1"))

    @pytest.fixture
    def state(self, cloud, run_name, monkeypatch):
        """Where the run's state is in the bucket. The first node publishes it at the second look."""
        with_records(cloud)
        monkeypatch.setattr(environment.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(module, "NODE_TIMEOUT", 0.2)
        return cloud.train / "state" / run_name

    def test_it_begins_from_what_the_first_one_published_and_leaves_its_logs(self, cloud, state, monkeypatch):
        write_text(cloud.work / module.MARK, "of an earlier job")
        write_text(cloud.work / ".adl/state" / state.name / "position_1.npz", "stale")
        monkeypatch.setattr(environment.time, "sleep", lambda seconds: write_text(state / "job.json", "{}"))
        write_text(state / "position_9.npz", "9")
        seen = []

        def stage():
            folder = Path(".adl/state") / state.name
            seen.append(sorted(path.name for path in folder.iterdir()))
            write_text(folder / "logs/rank_8.log", "hello")
            write_text(folder / "position_10.npz", "not mine to copy")
            return 0

        cloud.stage = stage
        assert cloud.run("train", self.node) == 0
        assert seen == [["job.json", "position_9.npz"]]
        assert {path.name for path in state.rglob("*") if path.is_file()} == {
            "job.json",
            "position_9.npz",
            "rank_8.log",
        }
        assert not (cloud.train / "copied").exists()

    @pytest.mark.parametrize(("code", "is_done"), [("this code", True), ("other code", False)])
    def test_a_run_that_is_finished_with_this_code_needs_no_second_node(self, cloud, state, code, is_done):
        write_text(state / "result/digests.json", "{}")
        write_json(state / "about.json", {"code": code})
        if is_done:
            assert cloud.run("train", self.node) == 0
        else:
            with pytest.raises(AdlError, match="the first node did not start"):
                cloud.run("train", self.node)
        assert cloud.commands == []

    def test_other_stages_are_not_its_work(self, cloud):
        assert cloud.run("report", self.node) == 0
        assert cloud.commands == []
