"""`adl restore` and `make restore`: earlier results come back from DVC's cache, and nothing that takes time runs."""

from __future__ import annotations

import re
import shutil

import pytest
from dvc.repo import Repo

from adl import commands
from tests.workspace import git

STAGES = """
stages:
  check:
    cmd: echo checked > checked.txt
    always_changed: true
    deps: [params.yaml]
    outs: [{checked.txt: {persist: true}}]
  train:
    cmd: date +%N > model && cp model metrics.json && echo train >> ran.log
    deps: [checked.txt]
    params: [rate]
    outs: [model]
    metrics: [{metrics.json: {cache: false}}]
  infer:
    cmd: cp model labels && echo infer >> ran.log
    deps: [model]
    outs: [labels]
  report:
    cmd: cat labels metrics.json > report.md
    deps: [labels, metrics.json]
    outs: [{report.md: {cache: false}}]
"""
RESULTS = ("model", "metrics.json", "labels", "report.md", "dvc.lock")


@pytest.fixture
def project(tmp_path):
    """A pipeline whose model differs from run to run, run once with `rate: 1`, and all of it committed."""
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text("rate: 1\n")
    git(tmp_path, "init", "-q")
    Repo.init(str(tmp_path))
    repro()
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "a")
    return tmp_path


def repro() -> None:
    with Repo() as repo:
        repo.reproduce()


def experiment(project) -> None:
    (project / "params.yaml").write_text("rate: 2\n")
    repro()


def contents(project) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in RESULTS}


def has_run(project) -> list[str]:
    return (project / "ran.log").read_text().split()


def commit_from_elsewhere(project) -> None:
    """As if another kind of processor had made what is committed: the same inputs, results that no cache here saw."""
    lock = project / "dvc.lock"
    lock.write_text(re.sub(r"(?<=md5: )[0-9a-f]{8}", "00000000", lock.read_text()))
    for name in ("metrics.json", "report.md"):
        (project / name).write_text("elsewhere")


@pytest.mark.parametrize("committed_elsewhere", [False, True])
def test_results_of_earlier_parameters_come_back_without_a_run(project, committed_elsewhere):
    first = contents(project)
    experiment(project)
    assert contents(project)["model"] != first["model"]
    runs = has_run(project)
    git(project, "restore", "params.yaml", "dvc.lock", "metrics.json", "report.md")
    if committed_elsewhere:
        commit_from_elsewhere(project)
    commands.main(["restore"])
    assert contents(project) == first
    repro()
    assert has_run(project) == runs


def test_what_stands_in_a_results_place_is_replaced_from_any_folder_of_the_project(project, monkeypatch):
    first = contents(project)
    (project / "model").write_text("of a stage that was killed")
    (project / "folder").mkdir()
    monkeypatch.chdir(project / "folder")
    commands.main(["restore"])
    assert contents(project) == first


def test_results_that_the_cache_has_without_its_run_come_back_as_the_lock_names_them(project):
    first = contents(project)
    experiment(project)
    shutil.rmtree(project / ".dvc/cache/runs")  # as in a clone that pulled the files alone
    git(project, "restore", "params.yaml", "dvc.lock", "metrics.json", "report.md")
    commands.main(["restore"])
    assert contents(project) == first


def test_what_cannot_be_brought_back_is_named_with_what_makes_it(project, capsys):
    shutil.rmtree(project / ".dvc/cache")
    (project / "model").unlink()
    runs = has_run(project)
    with pytest.raises(SystemExit) as ended:
        commands.main(["restore"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "DVC's cache holds no run of these parameters for train, infer, report" in message
    assert "`make repro` makes them" in message
    assert has_run(project) == runs


def test_folder_without_dvc_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        commands.main(["restore"])
    assert ended.value.code == 2
    assert "this folder is no DVC workspace" in capsys.readouterr().err
