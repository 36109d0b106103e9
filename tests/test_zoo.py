"""Every command of the 2021 README runs after `cd zoo` as it stands, on the stages of this project."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.cli import parse_args
from ruamel.yaml import YAML

from adl import commands
from adl.config import recipes
from pipeline import checkpoint_arguments, evaluate, infer, mindrecord, modelarts, parser, train
from tests.conftest import ROOT
from tests.data import write_frame
from tests.workspace import run, set_params, succeeds

BOOT_FILES = {
    "Prepare": "build_mindrecord.py",
    "Training": "train.py",
    "Evaluation": "eval.py",
}
"""First word of a heading of the README → the script that ModelArts starts with the flags below it."""
STAND_IN = """#!{python}
import json, os, pathlib, sys
program = [pathlib.Path(sys.argv[0]).stem, *sys.argv[1:]]
with open("ran.txt", "a") as ran:
    print(json.dumps(program), file=ran)
sys.exit(int(os.environ.get("FAILS_" + program[0], 0)))
"""
"""Writes down how it was started."""


def commands_of_2021() -> list[str]:
    """Every command of the README; where it shows the flags of a job, with the script that they are for."""
    text = (ROOT / "tests/commands_2021.md").read_text()
    found = []
    script = ""
    for heading, block in re.findall(r"^#+ \[?(\w+)|^```bash\n(.*?)```", text, re.MULTILINE | re.DOTALL):
        script = BOOT_FILES.get(heading, script)
        if block.lstrip().startswith("--"):
            found.append(f"python {script} {block.strip()}")
        elif block:
            found.append(block.strip())
    return [re.sub(r"\s*\\(\n|$)\s*", " ", command).strip() for command in found]


HERE = {
    "/OBS/PATH/TO/OUTPUT_DIR": "obs://bucket/run",
    "/OBS/PATH/TO/DATASET": "obs://bucket/cityscapes",
    "/PATH/TO/OUTPUT_DIR": "{project}/out",
    "/PATH/TO/MINDRECORD": "obs://bucket/records",
    "/PATH/TO/MINDIR": "{project}/files",
    "/PATH/TO/Auto-DeepLab": "{project}/zoo",
    "/PATH/TO/DATASET": "{project}/raw",
    "[DEVICE_ID]": "3",
    "[RANK_SIZE]": "8",
    "[RANK_TABLE_FILE]": "table.json",
    "[DATASET_PATH]": "../raw",
    "[EPOCHS]": "100",
    "[CHECKPOINT_NAME]": "old.ckpt",
    "[CKPT_FILE]": "../old.ckpt",
    "[CKPT_NAME]": "old.ckpt",
    "[OUTPUT_PATH]": "scored",
}
"""What a person puts in → here."""
JOB = "--modelArts_mode=True"
RUNS = [
    (
        [f"modelarts mindrecord --train_url=obs://bucket/run --data_url=obs://bucket/cityscapes --split=train {JOB}"],
        {},
    ),
    (
        [f"modelarts mindrecord --train_url=obs://bucket/run --data_url=obs://bucket/cityscapes --split=val {JOB}"],
        {},
    ),
    (["mindrecord --split train --output out --name cityscapes_train"], {"data_path": "raw"}),
    (["mindrecord --split val --output out --name cityscapes_val"], {"data_path": "raw"}),
    (
        [
            f"modelarts train --train_url={{project}}/out --data_url=obs://bucket/records {JOB} --epochs=4000 "
            "--batch_size=16 --bn_momentum=0.995 --drop_path_keep_prob=1.0"
        ],
        {},
    ),
    (
        ["dvc repro mindrecord", "train --device-id 3", "dvc repro train"],
        {"data_path": "raw", "epochs": 100, "device_num": 1},
    ),
    (
        ["dvc repro mindrecord", "train --rank-table-file zoo/table.json", "dvc repro train"],
        {"data_path": "raw", "epochs": 100},
    ),
    (
        [
            f"modelarts evaluate --train_url={{project}}/out --data_url=obs://bucket/records {JOB} "
            "--ckpt_name=old.ckpt --batch_size=1 --split=val --parallel=False --ms_infer=False"
        ],
        {},
    ),
    (
        [
            "dvc repro baselines",
            "evaluate --checkpoint old.ckpt --output zoo/scored --split val --eval-batch-size 1",
        ],
        {"data_path": "raw"},
    ),
    (
        ["dvc repro mindrecord", "export --checkpoint pretrained/old.ckpt --output zoo/exported"],
        {"parallel": False},
    ),
    (
        [
            "infer --model {project}/files/Auto-DeepLab-s.mindir --data-path {project}/raw/cityscapes "
            "--output {project}/zoo/scripts/inferred --device-id 0"
        ],
        {},
    ),
]
"""Of each command of the README: what it runs, of DVC or `python -m pipeline.…`, and which parameters it changes."""
PARSERS = {
    "train": lambda: train.command_line().parse_args(),
    "evaluate": evaluate.parse,
    "export": lambda: checkpoint_arguments(parser("export", None)),
    "infer": infer.parse,
    "mindrecord": mindrecord.parse,
    "modelarts": modelarts.parse,
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with the parameters of the published run, and stand-ins for DVC and the stages."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(ROOT / "zoo", folder / "zoo", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("architectures", "datasets"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("old.ckpt", "pretrained/old.ckpt", "a.mindir", "zoo/table.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    stand_in = STAND_IN.format(python=sys.executable)
    for name in ("pipeline/__init__.py", *(f"pipeline/{stage}.py" for stage in PARSERS)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("" if "__init__" in name else stand_in)
    dvc = tmp_path / "bin/dvc"
    dvc.parent.mkdir()
    dvc.write_text(stand_in)
    dvc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{dvc.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(ROOT)
    (folder / "params.yaml").write_text(recipes.text("cityscapes-0.5M", {"data_path": "/cs"}))
    return folder


@pytest.fixture
def script(project, monkeypatch, capfd) -> Callable[..., str]:
    """script(command, returns=0) → what a script of Python prints, from zoo/; it runs in this process."""

    def execute(command: str, returns: int = 0) -> str:
        _, name, *arguments = shlex.split(command)
        monkeypatch.chdir(project / "zoo")
        monkeypatch.syspath_prepend(project / "zoo")
        monkeypatch.delitem(sys.modules, "common", raising=False)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        code = 0
        try:
            runpy.run_path(name, run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
        said = capfd.readouterr()
        assert code == returns, said
        return said.out + said.err

    return execute


def in_zoo(project: Path, command: str, returns: int = 0) -> str:
    """What a command prints, from zoo/."""
    done = subprocess.run(["bash", "-c", command], cwd=project / "zoo", capture_output=True, text=True, timeout=120)
    assert done.returncode == returns, done.stdout + done.stderr
    return done.stdout + done.stderr


def parameters(project: Path) -> dict:
    return YAML(typ="safe").load(project / "params.yaml")


def ran(project: Path) -> list[str]:
    """What the stand-ins were started with."""
    path = project / "ran.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [shlex.join(json.loads(line)) for line in lines]


def test_readme_has_a_command_for_each_script():
    named = " ".join(commands_of_2021())
    assert len(commands_of_2021()) == len(RUNS)
    scripts = {path.name for path in (ROOT / "zoo").rglob("*.*") if path.suffix in (".py", ".sh")}
    assert {name for name in scripts if name in named} == scripts - {"common.py"}


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_command_of_2021_is_accepted_as_it_stands(project, script, monkeypatch, number):
    command = commands_of_2021()[number]
    for placeholder, value in HERE.items():
        command = command.replace(placeholder, value.format(project=project))
    before = parameters(project)
    if command.startswith("python "):
        script(command)
    else:
        in_zoo(project, command)
    expected, changes = RUNS[number]
    assert ran(project) == [line.format(project=project) for line in expected]
    after = parameters(project)
    assert {name: after[name] for name in after if after[name] != before[name]} == changes
    for line in ran(project):
        program, *arguments = shlex.split(line)
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        if program == "dvc":
            assert parse_args(arguments).func
        else:
            PARSERS[program]()


@pytest.mark.parametrize(
    "command",
    [
        "python build_mindrecord.py --train_path=../out --data_path=/cs --split=train",
        "python train.py --data_path=/cs --epochs=100 --device_num=8 --rank_table_file=table.json",
        "python eval.py --data_path=/cs --ckpt_name=old.ckpt",
        "python export.py --filter_multiplier=20 --ckpt_name=old.ckpt",
        "python build_mindrecord.py --train_url=obs://b/o --data_url=obs://b/i --split=val --modelArts_mode=True",
        "python train.py --train_url=obs://b/o --modelArts_mode=True",
    ],
)
def test_parameters_of_the_embedded_scenes_stop_a_script_with_the_recipe_to_run(project, script, monkeypatch, command):
    text = recipes.shipped_text()
    (project / "params.yaml").write_text(text)
    said = script(command, returns=2)
    [recipe] = re.findall(r"`(adl recipe \S+ .*?)`", said)
    assert f"First run, in {project}, " in said
    assert (ran(project), (project / "params.yaml").read_text()) == ([], text)
    (project / "pipeline/recipes").symlink_to(ROOT / "pipeline/recipes")
    monkeypatch.chdir(project)
    commands.main(shlex.split(recipe.replace("PATH", "/cs"))[1:])
    script(command)
    assert ran(project)


def test_what_run_train_set_silently_is_said_and_not_done(project):
    set_params(project, batch_size=24)
    said = in_zoo(project, "bash scripts/run_train.sh 0 /cs 100")
    assert "The 2021 run_train.sh also set batch_size 8, affine False, parallel False." in said
    for line in ("batch_size: 24 ", "affine: true ", "parallel: true "):
        assert re.search(f"^{line}", said, re.MULTILINE)
    assert not re.search(r"^(batch_size|affine|parallel) ", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("eval.py --data_path=/cs --ckpt_name=none.ckpt", "none.ckpt: no such file"),
        ("eval.py --ckpt_name=old.ckpt --output=../a.mindir", "is a file; name a folder"),
        ("train.py --rank_table_file=none.json", "none.json: no such file"),
        (
            "build_mindrecord.py --train_path=../a.mindir --data_path=/cs --split=val",
            "is a file; name a folder",
        ),
        (
            "train.py --data_path=../few --epochs=1",
            "warmup_iters is 1000, but the whole run has 1 steps",
        ),
        ("train.py --epochs=0", "epochs: 0 is not accepted"),
        ("train.py --data_path=", "data_path: "),
        ("train.py --device_id=zero", "invalid int value: 'zero'"),
        ("train.py --device_num=3", "cannot be divided evenly"),
        (
            "export.py --ckpt_name none.ckpt",
            "none.ckpt: no such file, neither here nor in pretrained/",
        ),
        ("export.py", "the following arguments are required: --ckpt_name"),
        ("export.py --ckpt_name=old.ckpt --parallel maybe", "expected: true, false"),
        ("export.py --ckpt_name=old.ckpt --criterion='ce # x'", "'ce # x' is not accepted"),
        (
            "export.py --ckpt_name=old.ckpt --bn_moment=0.9",
            "unrecognized arguments: --bn_moment=0.9",
        ),
        ("export.py --ckpt_name=old.ckpt --modelArts_mode=maybe", "neither True nor False"),
        (
            "export.py --ckpt_name=old.ckpt --device_target=GPU",
            "MindSpore's wheels have had no GPU back end: use CPU",
        ),
    ],
)
def test_fault_is_found_before_anything_is_changed(project, script, command, message):
    write_frame(project / "few", "train", "a", "a_0_0")
    before = (project / "params.yaml").read_text()
    assert message in script(f"python {command}", returns=2)
    assert (ran(project), (project / "params.yaml").read_text()) == ([], before)


def test_shell_script_that_lacks_an_argument_says_how_it_is_used(project):
    said = in_zoo(project, "bash scripts/run_train.sh 0 /cs", returns=2)
    assert said.startswith("usage: bash scripts/run_train.sh DEVICE_ID DATASET_PATH EPOCHS")


@pytest.mark.parametrize("text", ["./local out #1", "a: b", "[x]", "007", "'quoted'", "yes"])
def test_a_value_that_is_text_stays_as_it_was_typed(project, script, monkeypatch, text):
    """In params.yaml, and on its way to a job."""
    option = shlex.quote(f"--train_url={text}")
    script(f"python export.py --ckpt_name=old.ckpt {option}")
    assert parameters(project)["train_url"] == text
    (project / "ran.txt").unlink()
    script(f"python train.py {option} --modelArts_mode=True")
    monkeypatch.setattr(sys, "argv", shlex.split(ran(project)[0]))
    monkeypatch.chdir(ROOT)
    assert modelarts.stage_of(modelarts.parse())[1]["train_url"] == text


@pytest.mark.parametrize("content", [b"seed: [\n", b"<<<<<<< HEAD\n", b"seed: 0  # f\xfcr\n", None])
def test_parameters_that_cannot_be_read_are_said_and_left_alone(project, script, content):
    (project / "params.yaml").unlink()
    if content is not None:
        (project / "params.yaml").write_bytes(content)
    said = script("python train.py --epochs=9", returns=2)
    assert said.startswith("error: params.yaml: ")
    assert content is None or (project / "params.yaml").read_bytes() == content


@pytest.mark.parametrize(
    "command",
    [
        "cd scripts && bash run_infer_310.sh ../../a.mindir elsewhere 0",
        "python build_mindrecord.py --data_url=s3://b/in --train_url=s3://b/out --split=val --modelArts_mode=True",
    ],
)
def test_what_neither_trains_nor_runs_dvc_is_not_asked_for_a_warm_up(project, command):
    set_params(project, warmup_iters=10**9)
    in_zoo(project, command)
    assert len(ran(project)) == 1


def test_paths_are_meant_from_where_the_person_is_and_a_tilde_is_the_home_folder(project, script, monkeypatch):
    monkeypatch.setenv("HOME", str(project.parent))
    (project.parent / "old.ckpt").touch()
    command = "--ckpt_name=~/old.ckpt --net_arch=~/n.npy --data_path=../../cs/ --output=~/o"
    script(f"python export.py {command}")
    home = project.parent
    assert ran(project)[-1] == f"export --checkpoint {home}/old.ckpt --output {home}/o"
    after = parameters(project)
    assert (after["data_path"], after["net_arch"]) == (f"{home}/cs", f"{home}/n.npy")
    in_zoo(
        project,
        "cd scripts && python ../eval.py --ckpt_name=../../old.ckpt --data_path=../../data/synthetic",
    )
    assert "--checkpoint old.ckpt --output zoo/scripts/evaluated" in ran(project)[-1]
    assert parameters(project)["data_path"] == "data/synthetic"
    assert not list(project.rglob("~"))


def test_script_is_started_from_anywhere_as_modelarts_starts_its_boot_file(project, tmp_path):
    run_url = "--train_url=obs://b/o --modelArts_mode=True"
    succeeds(tmp_path, "python", "project/zoo/train.py", *run_url.split())
    assert ran(project) == [f"modelarts train {run_url}"]


def test_exit_code_is_that_of_the_command_that_failed(project, monkeypatch):
    monkeypatch.setenv("FAILS_train", "143")
    in_zoo(project, "bash scripts/run_train.sh 0 /cs 100", returns=143)
    assert len(ran(project)) == 2, "nothing runs after a failure"


def test_script_under_nohup_outlives_its_terminal(project):
    (project / "pipeline/train.py").write_text(
        "import time; print('ready', flush=True); time.sleep(1); open('done', 'w')"
    )
    process = subprocess.Popen(
        ["nohup", "bash", "scripts/run_train.sh", "0", "/cs", "100"],
        cwd=project / "zoo",
        stdout=subprocess.PIPE,
        text=True,
    )
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert (project / "done").exists()


def test_signal_reaches_the_stage_and_ends_the_script(project):
    (project / "pipeline/train.py").write_text(
        "import time; print('ready', flush=True); time.sleep(60); open('done', 'w')"
    )
    process = subprocess.Popen(
        ["bash", "scripts/run_train.sh", "0", "/cs", "100"],
        cwd=project / "zoo",
        stdout=subprocess.PIPE,
        text=True,
    )
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - started < 30
    assert not (project / "done").exists()


@pytest.mark.slow
def test_scripts_really_run(converted):
    """Train on the embedded scenes, score the checkpoint, keep a record, export and infer, as in 2021."""
    zoo = converted / "zoo"
    data = "../data/synthetic"
    output = succeeds(zoo, "bash", "scripts/run_train.sh", "0", data, "2")
    assert "-m pipeline.train --device-id 0" in output
    text = (converted / "params.yaml").read_text()
    assert YAML(typ="safe").load(text)["epochs"] == 2
    assert "# Training" in text
    assert (converted / "models/autodeeplab.ckpt").exists()
    assert "train" not in run(converted, "dvc", "status", "train").stdout.split("changed deps")[0]
    model = "../models/autodeeplab.ckpt"
    succeeds(zoo, "bash", "scripts/run_eval.sh", data, model, "../scored")
    assert (converted / "scored/evaluate.json").exists()
    folders = ("--data_path", data, "--train_path", "../kept")
    succeeds(zoo, "python", "build_mindrecord.py", *folders, "--split", "val")
    assert {path.name for path in (converted / "kept").iterdir()} == {
        f"cityscapes_val.{end}" for end in ("mindrecord", "mindrecord.db", "json")
    }
    flags = ("--export_formats=[]", "--parallel=False", "--output", "../files")
    succeeds(zoo, "python", "export.py", "--ckpt_name", model, *flags)
    file = "../../files/autodeeplab.mindir"
    succeeds(zoo / "scripts", "bash", "run_infer_310.sh", file, f"../{data}", "0")
    results = ("scored/evaluate.json", "zoo/scripts/inferred/infer.json")
    scored, inferred = (json.loads((converted / name).read_text())["mIOU"] for name in results)
    assert scored == inferred
    failed = run(zoo, "bash", "scripts/run_eval.sh", "nowhere", model, "../scored")
    assert failed.returncode != 0
