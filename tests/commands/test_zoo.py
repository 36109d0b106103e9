"""Every command of the 2021 README runs here under its name, with its arguments and a proper exit code."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys

import pytest
from dvc.cli import parse_args
from ruamel.yaml import YAML

from adl import commands
from adl.launch import foreground
from adl.params import Params
from pipeline import checkpoint_arguments, evaluate, infer, modelarts, parser, train
from tests.conftest import ROOT
from tests.data import write_frame
from tests.test_readme import lines as commands_of_the_pages
from tests.workspace import run, set_params, succeeds

TRAIN = ["+ dvc repro mindrecord", "+ python -m pipeline.train {}", "+ dvc repro train"]
SEED = {
    "python build_mindrecord.py --train_path=out --data_path=raw --split=train --modelArts_mode=False": (
        ["+ dvc repro mindrecord@train", *(f"+ copy to out/cityscapes_train.{end}" for end in (
            "mindrecord", "mindrecord.db", "json"))],
        {"data_path": "raw"},
    ),
    "python build_mindrecord.py --train_url=out --data_url=raw --split=val --modelArts_mode=False": (
        ["+ dvc repro mindrecord@val", *(f"+ copy to out/cityscapes_val.{end}" for end in (
            "mindrecord", "mindrecord.db", "json"))],
        {"data_path": "raw"},
    ),
    "python build_mindrecord.py --train_url=obs://b/o --data_url=obs://b/i --split=val --modelArts_mode=True": (
        [
            "+ python -m pipeline.modelarts mindrecord --split val --data_url obs://b/i --train_url obs://b/o"
        ],
        {},
    ),
    "bash scripts/run_train.sh 3 raw 100": (
        [line.format("--device-id 3") for line in TRAIN],
        {"data_path": "raw", "epochs": "100"},
    ),
    "bash scripts/run_distribute_train.sh 4 table.json raw 4000": (
        [line.format("--rank-table-file table.json") for line in TRAIN],
        {"data_path": "raw", "epochs": "4000", "device_num": "4", "device_target": "Ascend"},
    ),
    "bash scripts/run_eval.sh raw old.ckpt out": (
        [
            "+ dvc repro baselines",
            "+ python -m pipeline.evaluate --checkpoint old.ckpt --output out",
        ],
        {"data_path": "raw"},
    ),
    "python export.py --filter_multiplier=20 --parallel=False --ckpt_name=old.ckpt": (
        [
            "+ dvc repro mindrecord",
            "+ python -m pipeline.export --checkpoint old.ckpt --output exported",
        ],
        {"filter_multiplier": "20", "parallel": "false"},
    ),
    "bash run_infer_310.sh a.mindir raw/ 0": (
        [
            "+ python -m pipeline.infer --model a.mindir --data-path raw --device-id 0 --output inferred"
        ],
        {},
    ),
}  # fmt: skip
"""Command of 2021, with shorter names → what runs here, and which parameters change."""


@pytest.fixture
def place(tmp_path):
    for name in ("params.yaml", "architectures", "dvc.yaml", "pipeline"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").unlink()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for name in ("old.ckpt", "a.mindir", "table.json"):
        (tmp_path / name).touch()
    return tmp_path


def in_words_of_2021(command: str) -> list[str]:
    """The arguments of `adl` for a command of 2021."""
    _, script, *arguments = shlex.split(command)
    return ["zoo", re.sub(r".*/|\.(sh|py)$", "", script), *arguments]


@pytest.mark.parametrize("command", SEED)
def test_command_of_2021_has_a_counterpart(place, capsys, command):
    expected, changes = SEED[command]
    before = (place / "params.yaml").read_text()
    commands.main([*in_words_of_2021(command), "--dry-run"])
    printed = capsys.readouterr().out
    shown = [line for line in printed.splitlines() if line.startswith("+ ")]
    assert shown == expected
    rows = [line.split() for line in printed.splitlines()]
    changed = {row[0]: row[2].strip('"') for row in rows if row and row[0] in Params.model_fields}
    assert changed == changes
    assert (place / "params.yaml").read_text() == before


PARSERS = {
    "pipeline.train": lambda: train.command_line().parse_args(),
    "pipeline.evaluate": evaluate.parse,
    "pipeline.export": lambda: checkpoint_arguments(parser("export", None)),
    "pipeline.infer": infer.parse,
    "pipeline.modelarts": modelarts.parse,
}


@pytest.mark.parametrize("command", SEED)
def test_what_is_run_takes_its_arguments(place, capsys, monkeypatch, command):
    for line in SEED[command][0]:
        program, *arguments = shlex.split(line.removeprefix("+ "))
        if program == "dvc":
            assert parse_args(arguments).func
        elif program == "python":
            monkeypatch.setattr(sys, "argv", arguments[1:])
            PARSERS[arguments[1]]()
        else:
            assert program == "copy"


def test_every_command_of_the_old_readme_is_on_the_page_for_its_users():
    page = (ROOT / "docs/tutorials/from-2021.md").read_text()
    for script in {in_words_of_2021(command)[1] for command in SEED}:
        assert re.search(rf"^(cd|python|bash) .*\b{script}\.(py|sh) ", page, re.MULTILINE), script
    assert any(line.startswith("adl zoo") for line in commands_of_the_pages())


def test_what_run_train_set_silently_is_said_and_not_done(place, capsys):
    commands.main(["zoo", "run_train", "0", "raw", "100", "--dry-run"])
    printed = capsys.readouterr().out
    assert "2021 also set batch_size 8, affine False, parallel False" in printed
    assert "Here params.yaml decides: batch_size 4, affine True, parallel True." in printed
    assert not re.search(r"^(batch_size|affine|parallel) ", printed, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run_eval", "raw", "none.ckpt", "out"], "none.ckpt: no such file"),
        (["run_eval", "raw", "old.ckpt", "a.mindir"], "is a file; name a folder"),
        (["run_infer_310", "none.mindir", "raw", "0"], "none.mindir: no such file"),
        (["run_distribute_train", "4", "none.json", "raw", "9"], "none.json: no such file"),
        (
            ["build_mindrecord", "--train_path=a.mindir", "--data_path=raw", "--split=val"],
            "is a file; name a folder",
        ),
        (["run_train", "0", "few", "1"], "warmup_iters is 30, but the whole run has 1 steps"),
        (["run_train", "0", "raw", "0"], "epochs: 0 is out of range"),
        (["run_distribute_train", "3", "table.json", "raw", "9"], "cannot be divided evenly"),
        (["export", "--ckpt_name", "none.ckpt"], "pretrained/none.ckpt: no such file"),
        (["export", "--ckpt_name", "old.ckpt", "--parallel", "maybe"], "not true or false"),
        (["export", "--ckpt_name", "old.ckpt", "--criterion=ce # x"], "'ce # x' is out of range"),
        (["export", "--ckpt_name", "old.ckpt", "--modelArts_mode=maybe"], "neither True nor False"),
        (
            ["export", "--ckpt_name", "old.ckpt", "--modelArts_mode=True"],
            "on ModelArts it is `python -m pipeline.modelarts export`",
        ),
    ],
)  # fmt: skip
def test_fault_is_found_before_anything_is_changed(place, capsys, arguments, message):
    write_frame(place / "few", "train", "a", "a_0_0")
    before = (place / "params.yaml").read_text()
    with pytest.raises(SystemExit, match="2"):
        commands.main(["zoo", *arguments])
    assert message in capsys.readouterr().err
    assert (place / "params.yaml").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        (["run_eval", "raw", "none.ckpt", "a.mindir"], "--checkpoint none.ckpt --output a.mindir"),
        (["run_infer_310", "none.mindir", "raw", "0"], "--model none.mindir --data-path raw"),
        (["run_distribute_train", "4", "none.json", "raw", "9"], "--rank-table-file none.json"),
        (["export", "--ckpt_name", "none.ckpt"], "--checkpoint pretrained/none.ckpt"),
        (["run_train", "0", "few", "1"], "python -m pipeline.train --device-id 0"),
    ],
)
def test_dry_run_prints_its_plan_whether_or_not_files_exist(place, capsys, arguments, plan):
    write_frame(place / "few", "train", "a", "a_0_0")
    commands.main(["zoo", *arguments, "--dry-run"])
    assert f"{plan}" in capsys.readouterr().out


def test_device_of_2021_that_is_none_here_is_told_what_works(place, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(["zoo", "export", "--ckpt_name=old.ckpt", "--device_target=GPU", "--dry-run"])
    assert "MindSpore's wheels have no GPU back end: use CPU" in capsys.readouterr().err
    for command in (["predict", "a.jpg"], ["serve"]):
        with pytest.raises(SystemExit, match="2"):
            commands.main([*command, "--device", "GPU"])
        assert "MindSpore's wheels have no GPU back end: use CPU" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["./local out #1", "a: b", "[x]", "007", "'quoted'", "yes"])
def test_a_value_that_is_text_stays_as_it_was_typed(place, capsys, monkeypatch, text):
    """In params.yaml, and on its way to a job."""
    monkeypatch.setattr(foreground, "run", lambda command: 0)
    commands.main(["zoo", "export", "--ckpt_name=old.ckpt", f"--train_url={text}"])
    assert YAML(typ="safe").load(place / "params.yaml")["train_url"] == text
    folders = [f"--data_url={text}", f"--train_url={text}", "--split=val"]
    commands.main(["zoo", "build_mindrecord", *folders, "--modelArts_mode=True", "--dry-run"])
    (line,) = [
        x for x in capsys.readouterr().out.splitlines() if x.startswith("+ python -m pipeline.m")
    ]
    monkeypatch.setattr(sys, "argv", shlex.split(line)[3:])
    changes = modelarts.task_of(modelarts.parse())[1]
    assert (changes["data_url"], changes["train_url"]) == (text, text)


@pytest.mark.parametrize(
    "command",
    [
        "run_infer_310 a.mindir elsewhere 0",
        "build_mindrecord --data_url=s3://b/in --train_url=s3://b/out --split=val --modelArts_mode=True",
    ],
)
def test_what_neither_trains_nor_runs_dvc_is_not_asked_for_a_warm_up(place, monkeypatch, command):
    set_params(place, warmup_iters=10**6)
    ran = []
    monkeypatch.setattr(foreground, "run", lambda command: ran.append(command) or 0)
    commands.main(["zoo", *command.split()])
    assert len(ran) == 1


def test_exit_code_is_that_of_the_command_that_failed(place, monkeypatch):
    codes = iter([0, 143])
    ran = []

    def run(command):
        ran.append(command)
        return next(codes)

    monkeypatch.setattr(foreground, "run", run)
    with pytest.raises(SystemExit) as ended:
        commands.main(["zoo", "run_train", "0", "raw", "16"])
    assert ended.value.code == 143
    assert len(ran) == 2, "nothing runs after a failure"


@pytest.mark.slow
def test_scripts_really_run(workspace):
    """Train on the embedded scenes, score the checkpoint, keep a record, export and infer, as in 2021."""
    adl = ("python", "-m", "adl.commands", "zoo")
    comment = "# Training"
    output = succeeds(workspace, *adl, "run_train", "0", "data/synthetic", "2")
    assert "+ python -m pipeline.train --device-id 0" in output
    text = (workspace / "params.yaml").read_text()
    assert YAML(typ="safe").load(text)["epochs"] == 2
    assert comment in text
    assert (workspace / "models/autodeeplab.ckpt").exists()
    assert "train" not in run(workspace, "dvc", "status", "train").stdout.split("changed deps")[0]
    model = "models/autodeeplab.ckpt"
    output = succeeds(workspace, *adl, "run_eval", "data/synthetic", model, "scored")
    assert (workspace / "scored/evaluate.json").exists()
    folders = ("--data_path", "data/synthetic", "--train_path", "kept")
    succeeds(workspace, *adl, "build_mindrecord", *folders, "--split", "val")
    assert {path.name for path in (workspace / "kept").iterdir()} == {
        f"cityscapes_val.{end}" for end in ("mindrecord", "mindrecord.db", "json")
    }
    flags = ("--export_formats=[]", "--parallel=False", "--output", "files")
    succeeds(workspace, *adl, "export", "--ckpt_name", model, *flags)
    file = "files/autodeeplab.mindir"
    succeeds(workspace, *adl, "run_infer_310", file, "data/synthetic", "0", "--output", "seen")
    results = [workspace / name for name in ("scored/evaluate.json", "seen/infer.json")]
    scored, inferred = (json.loads(path.read_text())["mIOU"] for path in results)
    assert scored == inferred
    failed = run(workspace, *adl, "run_eval", "nowhere", model, "scored")
    assert failed.returncode != 0
