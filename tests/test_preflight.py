"""What `check` refuses before DVC removes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from adl import commands
from adl import params
from adl import preflight
from adl import runtime
from adl.training import state
from adl.artifacts import write_json
from adl.errors import AdlError
from tests.conftest import ROOT
from tests.workspace import git


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`check` with some parameters, in a folder with the project's architectures."""
    (tmp_path / "architectures").symlink_to(ROOT / "architectures")
    states = tmp_path / "states"

    def run(**values) -> str:
        p = params.load(ROOT / "params.yaml", **values)
        places = {"pretrained": Path("pretrained"), "synthetic": Path("data/synthetic"), "records": tmp_path / "data"}
        return preflight.check(p, **places, states=states)

    return run


def test_devices_that_this_machine_lacks_are_refused_unless_several_machines_trained(check, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "devices", lambda device_target: 2)
    of_16 = {"device_target": "Ascend", "device_num": 16, "batch_size": 32}
    with pytest.raises(AdlError, match=r"^device_num 16: .*this machine has 2 such devices .*, 16 are wanted.*--help"):
        check(**of_16)
    assert check(device_target="Ascend", device_num=2) == "none"
    monkeypatch.setattr(runtime, "devices", lambda device_target: 0)
    with pytest.raises(AdlError, match=r"^device_num 1: ") as error:
        check(device_target="Ascend")
    assert "--help" not in str(error.value), "several machines would not help"
    monkeypatch.setattr(runtime, "devices", lambda device_target: 2)
    key = {"params": {"device_num": 16}}
    own = state.of_key(tmp_path / "states", key)
    write_json(own.folder / "about.json", {"key": key})
    with pytest.raises(AdlError, match="16 are wanted"):
        check(**of_16)
    own.result.mkdir()
    assert check(**of_16) == "none", "`dvc repro` puts in place what was trained on several machines"


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy as `dvc exp run --temp` makes it, in which we are; returns its workspace."""
    inside = tmp_path / ".dvc/tmp/exps/tmp1"
    inside.mkdir(parents=True)
    (inside / "architectures").symlink_to(ROOT / "architectures")
    monkeypatch.chdir(inside)
    return tmp_path


def test_copy_of_a_workspace_says_what_it_lacks_and_why(check, copy):
    with pytest.raises(AdlError, match=rf"begins in the copy|This is a copy of {copy}.* Write the absolute path"):
        check(data_path="../cs")
    with pytest.raises(AdlError, match=rf"This is a copy of {copy}, .*: `dvc add pretrained/old.ckpt` there first"):
        check(ckpt_name="old.ckpt")
    with pytest.raises(AdlError) as error:
        check(data_path="/no/such/folder")
    assert "copy" not in str(error.value), "an absolute path does not begin in the copy"


def test_copy_of_a_shallow_clone_is_refused_because_dvc_would_lose_the_experiment(check, copy, tmp_path_factory):
    origin = tmp_path_factory.mktemp("origin")
    for command in (("init", "-q"), ("config", "user.name", "t"), ("config", "user.email", "t@example.org")):
        git(origin, *command)
    for message in ("one", "two"):
        git(origin, "commit", "-q", "--allow-empty", "-m", message)
    git(copy, "init", "-q")
    assert check() == "none"
    git(copy, "fetch", "-q", "--depth=1", f"file://{origin}", "HEAD")
    with pytest.raises(AdlError, match=r"is a shallow clone.*`git fetch --unshallow` first"):
        check()


def test_data_path_has_one_way_to_be_written(tmp_path, monkeypatch, capsys):
    for written in ("/x/cs/", "/x//cs", "./cs", "a/../cs"):
        with pytest.raises(AdlError, match=r"data_path: write (/x/)?cs for"):
            params.load(ROOT / "params.yaml", data_path=written)
    for name in ("params.yaml", "pipeline", "architectures"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    commands.main(["recipe", "cityscapes-cpu", "--data-path", "/x/cs/", "--dry-run"])
    assert '"/x/cs"' in capsys.readouterr().out
