"""A `~` that the shell left alone, as in `--output=~/x`: no folder of that name appears."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from adl import commands, workspace
from adl.commands.parameters import given_parameters
from adl.config import params
from adl.errors import AdlError
from pipeline import evaluate, infer, modelarts, train
from tests.conftest import ROOT


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The person's folder; we are in another one, with the project's parameters."""
    place = tmp_path / "project"
    place.mkdir()
    for name in ("architectures", "datasets", "pipeline", "dvc.yaml"):
        (place / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    assert not Path("~").exists()


def test_every_option_that_is_a_path_has_the_type_that_expands_it():
    for folder in ("adl/commands", "pipeline", "zoo"):
        for file in (ROOT / folder).glob("*.py"):
            text = file.read_text()
            assert not re.search(r"type=Path|\"type\": Path", text), file


def parsed(monkeypatch, module, parse, *arguments: str):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    return parse()


def test_paths_of_the_stages_are_expanded(home, monkeypatch):
    given = parsed(monkeypatch, evaluate, evaluate.parse, "--checkpoint=~/a.ckpt", "--output=~/scores")
    assert (given.checkpoint, given.output) == (home / "a.ckpt", home / "scores")
    files = ("--model=~/a.mindir", "--output=~/seen", "--data-path=~/cs")
    given = parsed(monkeypatch, infer, infer.parse, *files)
    assert (given.model, given.output) == (home / "a.mindir", home / "seen")
    assert given.data_path == home / "cs"
    given = train.command_line().parse_args(["--rank-table-file=~/table.json"])
    assert given.rank_table == home / "table.json"


def test_folders_of_a_modelarts_job_are_expanded_and_its_urls_left_alone(home, monkeypatch):
    folders = ("--train_url=~/o", "--cell_arch=~/c.npy", "--work=~/w", "--data_url=obs://b/~/x")
    given = parsed(monkeypatch, modelarts, modelarts.parse, "train", *folders)
    assert given.work == home / "w"
    assert given_parameters(given) == {
        "train_url": str(home / "o"),
        "cell_arch": str(home / "c.npy"),
        "data_url": "obs://b/~/x",
    }


def test_commands_look_in_the_person_s_folder(home, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(["submission", "~/cs", "--predictions=~/maps", "--output=~/s.zip"])
    assert f"{home}/cs" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        commands.main(["check-data", "~/cs"])
    assert f"{home}/cs: does not exist" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        commands.main(["predict", "~/photo.jpg"])
    assert f"{home}/photo.jpg: no such" in capsys.readouterr().err


def test_recipe_writes_the_whole_path(home):
    commands.main(["recipe", "cityscapes-cpu", "--data-path=~/cs"])
    assert params.load().data_path == f"{home}/cs"


def test_state_is_kept_in_the_person_s_folder(home, monkeypatch):
    monkeypatch.setenv("ADL_STATE_DIR", "~/states")
    assert workspace.state_folder() == home / "states"


@pytest.mark.parametrize("name", ["dataset", "data_path", "net_arch", "cell_arch", "data_url", "train_url"])
def test_file_of_parameters_which_dvc_reads_too_must_name_the_whole_path(home, name):
    with pytest.raises(AdlError) as refused:
        params.load(**{name: "~/x"})
    assert f"{name}: write {home}/x instead of ~/x." in str(refused.value)


def test_user_who_does_not_exist_is_a_name_like_any_other(home):
    assert commands.parser().parse_args(["check-data", "~nobody-here/x"]).path == Path("~nobody-here/x")
