"""README, CONTRIBUTING and docs/: every command exists and takes its arguments; links and files exist."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import cv2
import pytest
from cityscapesscripts.download import downloader
from dvc.cli import parse_args
from ruamel.yaml import YAML

import adl
from adl import commands
from adl.commands.dataset import ACTIONS
from adl.commands.explain import REFERENCE, up_to_date
from adl.config.params import Params, schema
from adl.dataset import descriptor
from adl.prepare import guess
from tests.conftest import ROOT
from tests.data import CITYSCAPES
from tests.test_workspace import floor

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
)
STAGES = (
    "check",
    "synthesize",
    "mindrecord",
    "baselines",
    "train",
    "evaluate",
    "export",
    "infer",
    "report",
    "modelarts",
)
COMMANDS = {
    "restore",
    "doctor",
    "dataset",
    "check-data",
    "recipe",
    "report",
    "estimate",
    "explain",
    "predict",
    "serve",
    "submission",
    "state",
    "stop",
    "table",
    "compare",
}


def lines() -> list[str]:
    """Every line of every bash block, without its comment, and every command in running text; each once."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        inline = re.findall(r"`((?:adl|dvc|make|python -m|source) [^`]+)`", text.replace("\n", " "))
        found += [command for command in inline if not re.search(r"[A-Z]{4}|…", command)]
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            commands_of_block = [line.split("  #")[0].strip() for line in block.splitlines()]
            found += [command for command in commands_of_block if command]
    return list(dict.fromkeys(found))


def test_there_are_commands_of_every_kind():
    assert {line.split()[0] for line in lines()} == {
        "make", "dvc", "adl", "python", "source", "csDownload", "unzip", "mkdir", "nohup", "curl",
        "docker", "sbatch", "kubectl", "cd", "bash",
    }  # fmt: skip


@pytest.fixture
def help_of(monkeypatch, capsys, tmp_path):
    """help_of(stage) -> what the stage's --help prints, in a folder in which it writes nothing."""

    def printed(stage: str) -> str:
        monkeypatch.setattr(sys, "argv", [stage, "--help"])
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(f"pipeline.{stage}").main()
        assert [path.name for path in tmp_path.iterdir()] == ["datasets"]
        return capsys.readouterr().out

    return printed


@pytest.mark.parametrize("line", lines())
def test_command_exists_and_takes_these_arguments(line, help_of):
    program, *arguments = shlex.split(line.removeprefix("nohup ").removesuffix(" &"))
    if program == "make":
        done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program == "dvc":
        assert parse_args(arguments).func
    elif program == "adl":
        assert commands.parser().parse_args(arguments).run
    elif program == "python":
        assert arguments[0] == "-m"
        text = help_of(arguments[1].removeprefix("pipeline."))
        for option in (a.partition("=")[0] for a in arguments[2:] if a.startswith("--")):
            assert f"{option} " in text
    elif program == "curl":
        assert arguments[:2] == ["--data-binary", "@photo.jpg"]
        given = commands.parser().parse_args(["serve"])
        assert urlsplit(arguments[2]).netloc == f"{given.host}:{given.port}"
        assert urlsplit(arguments[2]).path == "/api/predict"
    elif program == "source":
        assert arguments == [str(Path(".venv") / "bin" / "activate")]
    elif program == "csDownload":
        packages = arguments[2:]
        assert arguments[0] == "-d"
        assert "'-d', '--destination_path'" in Path(downloader.__file__).read_text()
        assert packages == ["gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip"]
    elif program in ("docker", "sbatch", "kubectl"):
        [file] = [argument for argument in arguments if argument.startswith("deploy/")]
        assert (ROOT / file).is_file()
    elif program == "bash":
        assert (ROOT / "zoo" / arguments[0]).is_file()
    else:
        assert program in ("unzip", "mkdir", "cd")


@pytest.mark.parametrize("stage", STAGES)
def test_help_of_a_stage_says_what_it_reads_writes_and_returns_and_starts_nothing(stage, help_of):
    text = help_of(stage)
    for part in ("reads:", "writes:", "returns 0", f"example: python -m pipeline.{stage}"):
        assert part in text


@pytest.mark.parametrize("name", [*sorted(COMMANDS), *(f"dataset {action}" for action in ACTIONS)])
def test_help_of_a_command_has_an_example_that_parses(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        commands.main([*name.split(), "--help"])
    text = capsys.readouterr().out
    for part in ("reads:", "writes:", "returns 0"):
        assert part in text
    [example] = re.findall("^example: (.*)", text, re.MULTILINE)
    assert commands.parser().parse_args(shlex.split(example)[1:]).run
    assert example.startswith(f"adl {name}")


def parsers(parser):
    """A parser, and those of all its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def test_every_argument_is_explained():
    unexplained = [
        f"{parser.prog} {action.dest}"
        for parser in parsers(commands.parser())
        for action in parser._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert unexplained == []


def test_every_command_is_in_the_help_of_adl_and_on_the_pages(capsys):
    with pytest.raises(SystemExit, match="0"):
        commands.main(["--help"])
    text = capsys.readouterr().out
    assert text.startswith("usage: adl [-h] COMMAND ...\n\nAuto-DeepLab on MindSpore: ")
    listed = re.findall(r"^    ([\w-]+)", text, re.MULTILINE)
    assert set(listed) == COMMANDS
    summaries = re.findall(r"^    [\w-]+\s+(\S.*)", text, re.MULTILINE)
    assert len(summaries) == len(COMMANDS)
    assert not [summary for summary in summaries if "reads:" in summary]
    assert {line.split()[1] for line in lines() if line.startswith("adl ")} == set(listed)


def test_adl_without_a_command_is_wrong_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main([])
    assert "required: COMMAND" in capsys.readouterr().err


def test_what_follows_from_the_parameters_is_up_to_date(monkeypatch):
    """The page of parameters and the lists of dvc.yaml: `adl explain --update` writes them."""
    monkeypatch.chdir(ROOT)
    for path, text in up_to_date().items():
        assert text == path.read_text(), path
    assert REFERENCE.read_text().count("\n| `") == len(Params.model_fields)


def test_changed_parameter_reaches_the_table_and_the_lists(monkeypatch):
    monkeypatch.chdir(ROOT)
    entries = [entry._replace(meaning="new meaning") if entry.name == "seed" else entry for entry in schema()]
    moved = [entry._replace(stages=("export",)) if entry.name == "epochs" else entry for entry in entries]
    monkeypatch.setattr("adl.config.params.schema", lambda: iter(moved))
    texts = {str(path): text for path, text in up_to_date().items()}
    assert re.search(r"\| `seed` .*\| new meaning +\|", texts[str(REFERENCE)])
    stages = YAML(typ="safe").load(texts["dvc.yaml"])["stages"]
    assert "epochs" not in stages["train"]["params"]
    assert "epochs" in stages["export"]["params"]


def programs_of(page: str, language: str = "python") -> list[str]:
    """The blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def test_examples_of_the_page_on_own_data_are_valid_in_every_format():
    """A part of a file is completed by what every data set has."""
    completion = descriptor.yaml_of(guess.SMALLEST.replace("NAME", "mine"), "completion")
    formats = set()
    for text in programs_of("docs/tutorials/own-data.md", "yaml"):
        example = descriptor.yaml_of(text, "example")
        formats.add(descriptor.parse(example if "name" in example else completion | example, text).labels.format)
    assert formats == {*get_args(descriptor.Format)}


def test_page_on_own_data_explains_every_key():
    text = (ROOT / "docs/tutorials/own-data.md").read_text()
    explained = {key.split(".")[-1] for key in re.findall(r"`([\w.\[\]]+)`", text)}
    keys = {field.alias or name for section in descriptor._SECTIONS for name, field in section.model_fields.items()}
    assert keys - explained == set()


def test_pages_name_only_files_that_exist():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for name in re.findall(r"`((?:tests|pipeline|adl|architectures|benchmarks|deploy|docs|zoo)/[\w/.]+)`", text):
            assert (ROOT / name).exists(), name
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)", text):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_map_of_the_house_has_every_room_and_file():
    tree = re.search(r"```text\nadl/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    listed = set(re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE))
    rooms = [path for path in (ROOT / "adl").iterdir() if not path.is_symlink()]
    entries = {path.name for path in rooms if not path.name.startswith("__")}
    assert listed == entries
    for name in re.findall(r"\w+\.py", tree):
        assert list((ROOT / "adl").rglob(name)), name


def test_map_is_in_the_order_of_the_floors():
    """So that "a room imports only what is listed above it" is true, but for the descriptor."""
    tree = re.search(r"```text\nadl/\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    names = [name.removesuffix(".py") for name in re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE)]
    floors = [floor(f"adl.{name}") for name in names]
    assert floors == sorted(floors)


def test_python_of_deploy_runs_the_onnx_file_without_this_project(models, photograph, tmp_path):
    programs = programs_of("docs/tutorials/deploy.md")
    (tmp_path / "models/exported").mkdir(parents=True)
    shutil.copy(models / "m.onnx", tmp_path / "models/exported/autodeeplab.onnx")
    cv2.imwrite(str(tmp_path / "photo.jpg"), photograph(90, 150))
    printed = [
        subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True).stdout
        for code in programs
    ]
    shares = ast.literal_eval(printed[0])
    assert list(shares) == list(CITYSCAPES.class_names)
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert len(printed) == 2
    assert printed[1] == printed[0], "OpenVINO and ONNX Runtime"


def test_python_of_readme_and_of_the_reference_runs_on_a_checkpoint(models, photograph, tmp_path):
    """Together, as they are compiled: the names of one page do not clash."""
    (tmp_path / "models").mkdir()
    for name in ("m.ckpt", "m.ckpt.json"):
        shutil.copy(models / name, tmp_path / "models" / name.replace("m.", "autodeeplab.", 1))
    cv2.imwrite(str(tmp_path / "photo.jpg"), photograph(90, 150))
    code = "\n".join(programs_of("README.md") + programs_of("docs/reference/python.md"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labelled, scored, logits = done.stdout.splitlines()[-3:]
    assert re.fullmatch(r"\(90, 150\) \d+% road", labelled)
    assert scored == "0.5833333333333333 0.5"
    assert logits == "(1, 19, 65, 65)"


def test_readme_fits_on_a_page_and_every_page_is_in_the_navigation():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    navigation = (ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    listed = re.findall(r": ([\w/-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(f"docs/{name}" for name in listed) == list(PAGES[2:])


def test_version_is_said_in_one_place_and_the_changelog_begins_with_it():
    """setuptools reads it from the source, without importing it."""
    project = (ROOT / "pyproject.toml").read_text()
    assert 'version = { attr = "adl.__version__" }' in project
    first = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first[1] == adl.__version__


def test_pages_say_what_a_gpu_is_good_for_and_why_openvino_is_told_its_precision():
    text = " ".join(" ".join((ROOT / page).read_text() for page in PAGES).split())
    for sentence in (
        "since 2.10, which this project needs, MindSpore's wheels have had no GPU back end",
        "the exported ONNX files run on its GPU with any runtime that supports it",
        "without it OpenVINO computes in bf16 on processors that have it, and 98.7 to 99.6 % of the labels equal",
        "In 8 bits each runtime rounds in its own way",
        "two CPU cores with AVX-512 and VNNI",
    ):
        assert sentence in text
    assert '"mindspore>=2.10' in (ROOT / "pyproject.toml").read_text()
