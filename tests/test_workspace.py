"""dvc.yaml against the code: what a stage reads, and how it is started."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from adl.params import TRAINING, Params
from tests.conftest import ROOT
from tests.workspace import git, run, succeeds

CANNOT_CHANGE_NUMBERS = {
    "pipeline/__init__.py",
    "adl/__init__.py",
    "adl/artifacts.py",
    "adl/cost.py",
    "adl/curves.py",
    "adl/errors.py",
    "adl/figures.py",
    "adl/params.py",
    "adl/progress.py",
    "adl/summary.py",
}


def stages() -> dict[str, dict]:
    yaml = YAML(typ="safe")
    found = yaml.load(ROOT / "dvc.yaml")["stages"] | yaml.load(ROOT / "pipeline/synthetic/dvc.yaml")["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


def module_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate.relative_to(ROOT)
    return None


def imports(file: Path) -> set[Path]:
    """Files of the project that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        # Importing a.b.c runs the packages a and a.b too.
        names = [".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 2)]
        found |= {path for name in names if name.split(".")[0] in ("adl", "pipeline") and (path := module_file(name))}
    return found


def code_that_counts(stage: str) -> set[str]:
    """Every file of the project whose change can change what the stage computes."""
    todo, seen = [Path(f"pipeline/{stage}.py")], set()
    while todo:
        file = todo.pop()
        if str(file) not in seen and str(file) not in CANNOT_CHANGE_NUMBERS:
            seen.add(str(file))
            todo += imports(file)
    return seen


def test_environment_is_read_in_one_place():
    asking = {
        str(file.relative_to(ROOT))
        for folder in ("adl", "pipeline")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if getattr(node, "attr", getattr(node, "id", "")) in ("environ", "getenv", "environb", "putenv")
    }
    assert asking == {"adl/runtime.py"}


@pytest.mark.parametrize("stage", stages())
def test_stage_depends_on_exactly_the_code_that_it_imports(stage):
    deps = [d for d in stages()[stage]["deps"] if d.startswith(("adl/", "pipeline/"))]
    files = {
        str(p.relative_to(ROOT)) for d in deps for p in ([ROOT / d] if d.endswith(".py") else (ROOT / d).rglob("*.py"))
    }
    assert files == code_that_counts(stage)


@pytest.mark.parametrize("stage", stages())
def test_stage_replaces_the_shell_by_its_module(stage):
    assert stages()[stage]["cmd"].startswith(f"exec python -m pipeline.{stage}")


def test_baselines_follow_from_the_records_alone_and_are_not_fitted_by_evaluate():
    of = stages()
    assert "params" not in of["baselines"]
    made = set(of["mindrecord"]["outs"])
    of_records = {d.replace(split, "${item}") for d in of["baselines"]["deps"] for split in ("train", "val")}
    assert made <= of_records
    assert not [d for d in of["evaluate"]["deps"] if "cityscapes_train.mindrecord" in d]
    assert set(of["baselines"]["outs"]) <= set(of["evaluate"]["deps"])


def test_train_depends_on_every_parameter_that_changes_the_model():
    assert set(stages()["train"]["params"]) == set(TRAINING)


@pytest.mark.parametrize("stage", sorted(stages().keys() - {"check", "train"}))
def test_stage_declares_the_parameters_that_it_reads(stage):
    attributes = {
        node.attr
        for node in ast.walk(ast.parse((ROOT / f"pipeline/{stage}.py").read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "p"
    }
    declared = {
        name.replace("${item}", split) for name in stages()[stage].get("params", []) for split in ("train", "val")
    }
    # A path is declared as the dependency that it names.
    assert (attributes & set(Params.model_fields)) - {"data_path"} == declared - {"data_path"}


def test_what_people_need_without_mindspore_imports_without_it():
    modules = [
        "params",
        "architecture",
        "cityscapes",
        "scoring",
        "artifacts",
        "figures",
        "report",
        "preflight",
        "cost",
        "summary",
        "recipes",
        "runs",
    ]
    code = "import sys; sys.modules['mindspore'] = None\n" + "\n".join(f"import adl.{name}" for name in modules)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.xdist_group("of one")
def test_tests_of_a_group_stay_together(request):
    """Else each process makes again what the group shares; pytest-xdist marks a member by its group's name."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert alone or request.node.nodeid.endswith("@of one")


def test_the_onednn_setting_is_made_before_mindspore_can_be_imported():
    code = "import adl, os, sys; assert 'mindspore' not in sys.modules; print(os.environ['ONEDNN_MAX_CPU_ISA'])"
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "AVX2"


def test_restore_brings_back_contents_that_git_takes_for_unchanged(tmp_path):
    """Rewritten within the same second, to the same size."""
    folder = tmp_path / "clone"
    files = ("params.yaml", "dvc.lock", "pipeline/synthetic/dvc.lock", "metrics/train.json", "reports/miou.md")
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("bn_momentum: 1  # a\n")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", ".venv/complete"):
        (folder / name).touch()
    (folder / ".venv/bin/dvc").write_text("#!/bin/sh\n")
    (folder / ".venv/bin/dvc").chmod(0o755)
    git(folder, "init", "-q")
    # What another file system or another git does by itself: only size and whole seconds are compared.
    for setting in ("core.trustctime=false", "core.checkStat=minimal", "user.name=t", "user.email=t@example.org"):
        git(folder, "config", *setting.split("="))
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    for name in files:
        stat = (folder / name).stat()
        (folder / name).write_text("bn_momentum: 2  # a\n")
        os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(folder / ".git/index", (2e9, 2e9))
    assert run(folder, "git", "status", "--short").stdout == "", "git takes them for unchanged"
    succeeds(folder, "make", "restore")
    for name in files:
        assert (folder / name).read_text() == "bn_momentum: 1  # a\n", name


def test_clone_with_windows_line_ends_is_unchanged(tmp_path):
    shown = [".gitattributes", "params.yaml", "dvc.yaml", "dvc.lock", "adl/runtime.py", "metrics/evaluate.json"]
    origin = tmp_path / "origin"
    for name in shown:
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, origin / name)
    git(origin, "init", "-q")
    for setting in ("user.name=t", "user.email=t@example.org"):
        git(origin, "config", *setting.split("="))
    git(origin, "add", "-A")
    git(origin, "commit", "-q", "-m", "start")
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", "origin", "clone")
    for name in shown:
        assert (tmp_path / "clone" / name).read_bytes() == (ROOT / name).read_bytes(), name
