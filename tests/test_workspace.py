"""dvc.yaml against the code: what a stage reads, and how it is started."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from adl.params import TRAINING, Params
from tests.conftest import ROOT

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


def test_the_onednn_setting_is_made_before_mindspore_can_be_imported():
    code = "import adl, os, sys; assert 'mindspore' not in sys.modules; print(os.environ['ONEDNN_MAX_CPU_ISA'])"
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.stdout.strip() == "AVX2"
