from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from adl.console.text import byte_size
from adl.doctor import project
from adl.workspace import RECORDS, record
from tests.data import write_dataset, write_frame
from tests.doctor.conftest import result
from tests.workspace import git


@pytest.fixture
def repository(tmp_path) -> Path:
    git(tmp_path, "init", "-q")
    for setting in ("user.name=t", "user.email=t@example.org"):
        git(tmp_path, "config", *setting.split("="))
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "second")
    return tmp_path


@pytest.fixture
def cityscapes(tmp_path) -> Path:
    root = tmp_path / "raw"
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            write_frame(root, split, "aachen", f"aachen_{i:06}_000019")
    return root


def test_whole_repository_with_an_identity_is_ok(repository, case):
    assert result(project.git, case()).text == "a repository; you are t@example.org"


@pytest.mark.parametrize("name", ["user.name", "user.email"])
def test_lacking_half_of_the_identity_is_named(repository, case, name):
    git(repository, "config", "--unset", name)
    found = result(project.git, case())
    assert found.status == "warning"
    assert f"({name} not set)" in found.text
    assert found.advice.startswith(f"`git config {name} ")


def test_identity_in_the_environment_is_one(repository, case):
    git(repository, "config", "--unset", "user.email")
    environment = {"GIT_COMMITTER_EMAIL": "e@example.org"}
    assert result(project.git, case(environment=environment)).text.endswith("e@example.org")


def test_shallow_clone_is_warned_of(repository, case, monkeypatch):
    git(repository, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    monkeypatch.chdir(repository / "shallow")
    found = result(project.git, case())
    assert (found.status, found.advice) == ("warning", "`git fetch --unshallow`")


def test_no_repository_is_a_problem_in_words_of_git(tmp_path, case, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = result(project.git, case())
    assert found.status == "problem"
    assert "not a git repository" in found.text


def test_no_git_is_a_problem(case, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert result(project.git, case()).text == "git is not installed"


def test_empty_lock_of_dvc_is_a_problem_with_the_command_that_removes_it(case):
    Path(".dvc/tmp").mkdir(parents=True)
    Path(".dvc/tmp/rwlock").write_text("{}")
    assert result(project.dvc, case()).status == "ok"
    Path(".dvc/tmp/rwlock").write_text("")
    found = result(project.dvc, case())
    assert (found.status, found.advice) == ("problem", "`rm .dvc/tmp/rwlock`")


def test_folder_without_dvc_is_a_problem(case):
    assert result(project.dvc, case()).status == "problem"


def test_embedded_scenes_need_not_be_there(case):
    assert result(project.data, case()).text.endswith("not drawn yet; `dvc repro` does it")
    Path("data/synthetic").mkdir(parents=True)
    assert result(project.data, case()).text.endswith(": 480 train images and 60 val images")


def test_data_set_is_counted(case, cityscapes):
    found = result(project.data, case(data_path="raw"))
    assert found.text == "raw: 3 train images and 2 val images"


def test_other_number_than_expected_is_a_problem(case, cityscapes):
    own = write_dataset(Path("own.yaml"), expect={"val": 500})
    found = result(project.data, case(data_path="raw", dataset=own))
    assert found.status == "problem"
    assert found.text == "raw has 2 val images (not 500)"
    assert "take `expect` out of own.yaml" in found.advice


def test_problems_of_the_layout_are_counted_and_the_first_is_shown(case, cityscapes):
    for label in list((cityscapes / "gtFine/train/aachen").iterdir())[:2]:
        label.unlink()
    found = result(project.data, case(data_path="raw"))
    assert found.status == "problem"
    assert "has no label" in found.text
    assert found.advice == "`adl dataset check raw` lists all: 2 problems."


@pytest.mark.parametrize(("share", "status"), [(2.5, "ok"), (1.5, "warning"), (0.5, "problem")])
def test_records_need_room(case, cityscapes, monkeypatch, share, status, capsys):
    """share: free, of what the records take; DVC's copy takes as much again."""
    needed = sum(path.stat().st_size for path in cityscapes.rglob("*.png"))
    free = share * needed
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free))
    found = result(project.records, case(data_path="raw"))
    assert found.status == status, found
    assert bool(found.advice) == (status != "ok")
    assert byte_size(needed) in found.text
    assert capsys.readouterr().out == ""


def test_records_that_are_made_need_none(case, monkeypatch):
    RECORDS.mkdir(parents=True)
    for split in ("train", "val"):
        record(split).touch()
    assert result(project.records, case(data_path="gone")).text == f"{RECORDS}: train and val are made"


def test_training_is_estimated_from_the_images_that_are_there(case, cityscapes):
    def steps(**parameters) -> str:
        text = result(project.training, case(warmup_iters=1, epochs=2, batch_size=2, **parameters)).text
        return text.split("; ")[1].split(" take about ")[0]

    assert steps(data_path="raw") == "4 steps"
    assert steps() == "480 steps"
    assert steps(data_path="gone", dataset="datasets/cityscapes.yaml") == "2,976 steps"
    assert result(project.training, case(data_path="gone")) is None, "`data` says why"


def test_parameters_of_every_sort_of_problem_are_one_line(case):
    present = case()
    Path("params.yaml").unlink()
    found = result(project.parameters, present)
    assert found.text == "params.yaml: cannot be read (No such file or directory)."
    Path("params.yaml").write_text("epochs: 0\nworker: 4\n")
    found = result(project.parameters, present)
    assert found.status == "problem"
    assert "\n" not in found.text
    assert "worker" in found.text


def test_git_is_asked_and_not_guessed(repository, case):
    """A clone that git does not trust has no history for DVC either."""
    done = subprocess.run(["git", "rev-parse"], capture_output=True)
    assert done.returncode == 0
    shutil.rmtree(repository / ".git")
    (repository / ".git").write_text("nonsense\n")
    found = result(project.git, case())
    assert found.status == "problem"
    assert "invalid gitfile" in found.text
