"""A job brings what its stage reads and nothing else, and leaves what it wrote; a function stands for the stage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from adl import params
from adl.artifacts import write_json, write_text
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.storage import job as module
from adl.storage.flow import Task
from adl.storage.job import Job
from adl.storage.modelarts import Place
from adl.training import key, lock
from tests.conftest import ROOT

RECORDS = [
    f"data/mindrecord/cityscapes_{split}.{end}"
    for split in ("train", "val")
    for end in ("mindrecord", "mindrecord.db", "json")
]


class Cloud:
    """A code folder, two folders that stand for buckets, and what the stage does when it is run."""

    def __init__(self, folder: Path) -> None:
        self.code, self.data, self.train = (folder / name for name in ("code", "data", "train"))
        self.work = folder / "work"
        self.code.mkdir()
        for name in ("adl", "architectures", "dvc.yaml", "pipeline"):
            (self.code / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "params.yaml", self.code)
        self.commands: list[list[str]] = []
        self.stage = lambda: 0

    def run(self, task: Task, place: Place | None = None, **changes) -> int:
        os.chdir(self.code)
        changes |= {"modelArts": True, "train_url": str(self.train)}
        if self.data.exists():
            changes["data_url"] = str(self.data)
        p = params.load(**changes)
        job = Job(
            p, place or Place(), CITYSCAPES, endpoint=None, code=self.code, work=self.work, every=60
        )
        return job.run(task)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    cloud = Cloud(tmp_path)

    def run(command, environment):
        cloud.commands.append(command[1:])
        assert environment["ADL_STATE_DIR"] == ".adl/state"
        return cloud.stage()

    monkeypatch.setattr(module.foreground, "run", run)
    monkeypatch.chdir(tmp_path)
    return cloud


def with_records(cloud) -> None:
    for name in RECORDS:
        write_text(cloud.train / name, name)


def test_what_an_earlier_job_read_is_not_read_again(cloud):
    read = []

    def stage():
        read.append(sorted(path.name for path in Path("data/cityscapes").rglob("*.png")))
        return 0

    cloud.stage = stage
    for name in ("a", "b"):
        shutil.rmtree(cloud.data, ignore_errors=True)
        for folder in ("leftImg8bit", "gtFine"):
            write_text(cloud.data / folder / f"val/ulm/{name}.png", name)
        assert cloud.run(Task("mindrecord@val", ("--split", "val"))) == 0
    assert read == [["a.png", "a.png"], ["b.png", "b.png"]]


def test_what_an_earlier_stage_wrote_here_is_not_left_as_this_ones(cloud):
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/1.png"), "whole") or 0
    assert cloud.run(Task("synthesize")) == 0
    cloud.stage = lambda: 1
    assert cloud.run(Task("synthesize")) == 1
    assert (cloud.train / "data/synthetic/gtFine/1.png").read_text() == "whole"
    cloud.stage = lambda: write_text(Path("data/synthetic/gtFine/2.png"), "half") or 1
    assert cloud.run(Task("synthesize")) == 1
    with pytest.raises(AdlError, match="the stage synthesize did not finish"):
        cloud.run(Task("mindrecord@val", ("--split", "val")))


def test_exit_code_is_that_of_the_stage(cloud):
    cloud.stage = lambda: 143
    assert cloud.run(Task("synthesize")) == 143


@pytest.mark.parametrize("where", ["code", "elsewhere"])
def test_a_folder_with_code_of_its_own_is_never_worked_in(cloud, where):
    write_text(cloud.work / "adl/precious.py", "x = 1")
    if where == "code":
        (cloud.code / "adl").unlink()
        write_text(cloud.code / "adl/precious.py", "x = 1")
        cloud.work = cloud.code
    with pytest.raises(AdlError, match="holds adl of its own"):
        cloud.run(Task("synthesize"))
    assert (cloud.work / "adl/precious.py").exists()


def test_two_jobs_do_not_work_in_one_folder(cloud):
    with (
        lock.held(cloud.work),
        pytest.raises(AdlError, match="already in progress"),
    ):
        cloud.run(Task("synthesize"))


def test_architecture_files_of_ones_own_come_along(cloud):
    published = np.load(ROOT / "architectures/small/net_arch.npy")
    (cloud.code / "mine").mkdir()
    np.save(cloud.code / "mine/net.npy", published)
    seen = []
    cloud.stage = lambda: seen.append(np.load("mine/net.npy")) or 0
    assert cloud.run(Task("synthesize"), net_arch="mine/net.npy") == 0
    assert np.array_equal(seen[0], published)
    np.save(cloud.code.parent / "net.npy", published)
    with pytest.raises(AdlError, match=r"\.\./net.npy: must be in the project's folder"):
        cloud.run(Task("synthesize"), net_arch="../net.npy")


def test_weights_to_start_from_come_with_their_sidecar(cloud):
    with_records(cloud)
    write_text(cloud.code / "pretrained/old.ckpt", "weights")
    write_json(cloud.code / "pretrained/old.ckpt.json", {"of": "old"})
    seen = []
    cloud.stage = lambda: seen.append(sorted(p.name for p in Path("pretrained").iterdir())) or 0
    assert cloud.run(Task("train"), ckpt_name="old.ckpt") == 0
    (cloud.code / "pretrained/old.ckpt.json").unlink()
    assert cloud.run(Task("train"), ckpt_name="old.ckpt") == 0
    assert seen == [["old.ckpt", "old.ckpt.json"], ["old.ckpt"]]
    with pytest.raises(AdlError, match=r"ckpt_name: new.ckpt is not in .*, nor in pretrained/"):
        cloud.run(Task("train"), ckpt_name="new.ckpt")


class TestSecondNode:
    """It sees the first one's state only through the bucket."""

    place = Place(nodes=2, node_rank=1)

    @pytest.fixture
    def state(self, cloud, monkeypatch):
        """Where the run's state is in the bucket. The first node publishes it at the second look."""
        with_records(cloud)
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(key, "key_of", lambda *_: {"a": 1})
        monkeypatch.setattr(key, "code_digest", lambda: "this code")
        monkeypatch.setattr(module, "PATIENCE", 0.2)
        return cloud.train / "state" / key.state_of(Path(), {"a": 1}).name

    def test_it_begins_from_what_the_first_one_published_and_leaves_its_logs(
        self, cloud, state, monkeypatch
    ):
        write_text(cloud.work / ".adl/state" / state.name / "position_1.npz", "stale")
        monkeypatch.setattr(
            module.time, "sleep", lambda seconds: write_text(state / "job.json", "{}")
        )
        write_text(state / "position_9.npz", "9")
        seen = []

        def stage():
            folder = Path(".adl/state") / state.name
            seen.append(sorted(path.name for path in folder.iterdir()))
            write_text(folder / "logs/rank_8.log", "hello")
            write_text(folder / "position_10.npz", "not mine to copy")
            return 0

        cloud.stage = stage
        assert cloud.run(Task("train"), self.place) == 0
        assert seen == [["job.json", "position_9.npz"]]
        assert {path.name for path in state.rglob("*") if path.is_file()} == {
            "job.json",
            "position_9.npz",
            "rank_8.log",
        }
        assert not (cloud.train / "copied").exists()

    @pytest.mark.parametrize(("code", "is_done"), [("this code", True), ("other code", False)])
    def test_a_run_that_is_finished_with_this_code_needs_no_second_node(
        self, cloud, state, code, is_done
    ):
        write_text(state / "result/digests.json", "{}")
        write_json(state / "about.json", {"code": code})
        if is_done:
            assert cloud.run(Task("train"), self.place) == 0
        else:
            with pytest.raises(AdlError, match="the first node did not start"):
                cloud.run(Task("train"), self.place)
        assert cloud.commands == []

    def test_other_stages_are_not_its_work(self, cloud):
        assert cloud.run(Task("report"), self.place) == 0
        assert cloud.commands == []
