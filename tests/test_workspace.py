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

from adl.config import params as schema
from adl.config.params import Params
from adl.predict.submission import CODE
from tests.conftest import ROOT
from tests.workspace import git, run, succeeds

FLOORS = (
    {"adl.errors"},
    {"adl.workspace", "adl.dataset.descriptor", "adl.parallel"},
    {"adl.files", "adl.device"},
    {"adl.config"},
    {"adl.architecture", "adl.metrics"},
    {"adl.console"},
    {"adl.network", "adl.dataset", "adl.report"},
    {"adl.prepare", "adl.synthetic", "adl.launch"},
    {"adl.evaluation"},
    {"adl.training", "adl.export"},
    {"adl.predict", "adl.preflight"},
    {"adl.doctor", "adl.storage"},
    {"adl.commands"},
    {"pipeline"},
)
"""From the bottom up: a room imports what is below it, or itself."""
ROOMS_WITHOUT_NUMBERS = (
    "adl/launch/",
    "adl/training/run/",
    "adl/console/",
    "adl/report/",
    "adl/doctor/",
    "adl/storage/",
    "adl/commands/",
)
CANNOT_CHANGE_NUMBERS = {
    "pipeline/__init__.py",
    "adl/__init__.py",
    "adl/files.py",
    "adl/errors.py",
    "adl/config/__init__.py",
    "adl/config/params.py",
    "adl/workspace.py",
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


def imported_modules(file: Path) -> set[str]:
    """Names of the project's modules that a file imports when it runs; those for annotations alone are left out."""
    tree = ast.parse((ROOT / file).read_text())
    for_annotations = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for_annotations |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in for_annotations:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name for name in names if name.split(".")[0] in ("adl", "pipeline")}
    return found


def imports(file: Path) -> set[Path]:
    """Files of the project that a file imports, at its top or inside a function."""
    # Importing a.b.c runs the packages a and a.b too.
    names = {".".join(name.split(".")[:i]) for name in imported_modules(file) for i in range(1, name.count(".") + 2)}
    return {path for name in names if (path := module_file(name))}


def is_a_docstring(file: Path) -> bool:
    return all(isinstance(node, ast.Expr) for node in ast.parse((ROOT / file).read_text()).body)


def code_that_counts(stage: str, *files: str) -> set[str]:
    """Every file of the project whose change can change what the stage, or these files, compute."""
    todo, seen = [Path(file) for file in files or (f"pipeline/{stage}.py",)], set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            # What a package offers to Python programs, such as adl.load, no stage calls.
            todo += imports(file) if file.name != "__init__.py" or len(file.parts) > 2 else {Path("adl/device.py")}
    counting = {str(file) for file in seen if not is_a_docstring(file)} - CANNOT_CHANGE_NUMBERS
    if stage == "report":
        # What it shows is what it makes; what runs beforehand is known by its metrics.
        shown = ("adl/report/", "adl/console/text.py")
        return {file for file in counting if file.startswith(shown) or not file.startswith(ROOMS_WITHOUT_NUMBERS)}
    return {file for file in counting if not file.startswith(ROOMS_WITHOUT_NUMBERS)}


def floor(module: str) -> int:
    """The floor of a module, which may have a place of its own in its room."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for number, rooms in enumerate(FLOORS):
            if name in rooms:
                return number
    raise AssertionError(f"{module} is on no floor")


def modules() -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in ("adl", "pipeline") for path in (ROOT / folder).rglob("*.py"))


def test_no_room_imports_from_above_or_from_its_own_floor():
    upwards = []
    for file in modules():
        here = str(file.with_suffix("")).replace("/", ".").removesuffix(".__init__")
        if here == "adl":
            continue  # it makes the oneDNN setting before anything else
        room = next(name for rooms in FLOORS for name in rooms if here == name or here.startswith(f"{name}."))
        for module in imported_modules(file) - {"adl"}:
            is_own = module == room or module.startswith(f"{room}.")
            is_top_level_name = module_file(module) is None and module.count(".") == 1 and module.startswith("adl.")
            if not is_own and not is_top_level_name and floor(module) >= floor(here):
                upwards.append(f"{here} imports {module}")
    assert upwards == []


def test_functions_are_short_enough_to_read_at_once():
    for file in modules():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{file}: {node.name}"


def test_what_holds_for_cityscapes_alone_is_in_few_places():
    """Its benchmark, what was published on it, and files of a time when there was no other data set."""
    naming = set()
    for file in modules():
        nodes = list(ast.walk(ast.parse((ROOT / file).read_text())))
        docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
        constants = [node.value for node in nodes if isinstance(node, ast.Constant) and node not in docstrings]
        if any("cityscapes" in str(constant).lower() for constant in constants):
            naming.add(str(file))
    assert naming == {
        "adl/commands/dataset_check.py",  # --official
        "adl/commands/submission.py",
        "adl/config/params.py",  # meanings of parameters
        "adl/prepare/guess.py",  # a layout that it recognises
        "adl/config/recipes.py",
        "adl/dataset/descriptor.py",
        "adl/device.py",  # names a recipe
        "adl/prepare/polygon_files.py",  # the format of its polygons
        "adl/prepare/guess.py",  # recognises its layout
        "adl/report/history.py",
        "adl/report/quoted.py",
        "adl/report/report.py",  # names what is quoted
        "adl/workspace.py",
        "pipeline/check.py",  # the package of the official scripts
    }


def test_every_room_has_a_folder_of_tests():
    for path in (ROOT / "adl").iterdir():
        if path.is_dir() and not path.is_symlink() and path.name != "__pycache__":
            assert list((ROOT / "tests" / path.name).glob("test_*.py")), path.name


def test_environment_is_read_in_few_places():
    asking = {
        str(file.relative_to(ROOT))
        for folder in ("adl", "pipeline")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if getattr(node, "attr", getattr(node, "id", "")) in ("environ", "getenv", "environb", "putenv")
    }
    assert asking == {
        "adl/parallel/lifetime.py",  # DVC's
        "adl/parallel/world.py",  # the launcher's
        "adl/launch/environment.py",  # what children get
        "adl/launch/topology.py",  # how long a person wants ranks to wait
        "adl/device.py",
        "adl/storage/environment.py",  # ModelArts'
        "adl/workspace.py",  # ADL_STATE_DIR
    }


@pytest.mark.parametrize("stage", sorted(stages().keys() - {"check"}))
def test_stage_depends_on_all_code_that_it_imports_and_on_nothing_idle(stage):
    needed = code_that_counts(stage)
    listed = {}
    for dep in stages()[stage]["deps"]:
        if dep.startswith(("adl/", "pipeline/")) and dep != "pipeline/recipes":
            paths = [ROOT / dep] if dep.endswith(".py") else (ROOT / dep).rglob("*.py")
            listed[dep] = {str(path.relative_to(ROOT)) for path in paths}
    assert needed <= set().union(*listed.values())
    assert [dep for dep, files in listed.items() if not files & needed] == []


def test_kept_label_maps_of_a_submission_know_all_the_code_that_they_follow_from():
    needed = code_that_counts("", "adl/predict/predictor.py", "adl/predict/photographs.py")
    listed = {f"adl/{name}": {f for f in needed if f.startswith(f"adl/{name}")} for name in CODE}
    assert needed == set().union(*listed.values())
    assert all(listed.values())


def test_check_runs_always_and_needs_no_list_of_code():
    assert stages()["check"]["always_changed"]
    assert [dep for dep in stages()["check"]["deps"] if dep.startswith("adl/")] == []


def test_every_stage_that_works_waits_for_the_check():
    waiting = {name for name, stage in stages().items() if "data/checked.txt" in stage["deps"]}
    assert waiting == stages().keys() - {"check", "report"}


def test_what_a_stage_needs_of_another_is_what_that_one_leaves():
    left = {
        entry if isinstance(entry, str) else next(iter(entry))
        for stage in stages().values()
        for kind in ("outs", "metrics")
        for entry in stage.get(kind, [])
    }
    splits = ("train", "val")
    both = {path.replace("${item}", split) for path in left for split in splits}
    needed = {dep.replace("${item}", split) for stage in stages().values() for dep in stage["deps"] for split in splits}
    of_stages = {dep for dep in needed if dep.startswith(("data/", "models/", "metrics/"))}
    assert of_stages <= both


def test_metrics_are_kept_in_git():
    for stage in stages().values():
        for metric in stage.get("metrics", []):
            assert list(metric.values()) == [{"cache": False}]


@pytest.mark.parametrize("stage", stages())
def test_record_is_a_dependency_together_with_its_index(stage):
    deps = stages()[stage]["deps"]
    records = {dep.removesuffix(".db") for dep in deps if ".mindrecord" in dep}
    assert records <= set(deps)
    assert {f"{record}.db" for record in records} <= set(deps)


@pytest.mark.parametrize("stage", ["train", "evaluate", "export", "infer"])
def test_what_cannot_change_a_number_is_no_dependency(stage):
    assert [dep for dep in stages()[stage]["deps"] if f"{dep}/".startswith(ROOMS_WITHOUT_NUMBERS)] == []


@pytest.mark.parametrize("stage", stages())
def test_stage_replaces_the_shell_by_its_module(stage):
    assert stages()[stage]["cmd"].startswith(f"exec python -m pipeline.{stage}")


def test_baselines_follow_from_the_records_alone_and_are_not_fitted_by_evaluate():
    of = stages()
    assert "params" not in of["baselines"]
    made = set(of["mindrecord"]["outs"])
    of_records = {d.replace(split, "${item}") for d in of["baselines"]["deps"] for split in ("train", "val")}
    assert made <= of_records
    assert not [d for d in of["evaluate"]["deps"] if "train.mindrecord" in d]
    assert set(of["baselines"]["outs"]) <= set(of["evaluate"]["deps"])


def test_train_depends_on_every_parameter_that_changes_the_model():
    assert tuple(stages()["train"]["params"]) == schema.of_stage("train")


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
    paths = {"data_path", "dataset"}
    assert (attributes & set(Params.model_fields)) - paths == declared - paths


def test_what_people_need_without_mindspore_imports_without_it():
    modules = [
        "config", "architecture.cost", "dataset.descriptor", "dataset.order", "dataset.records", "metrics.baselines",
        "metrics.bootstrap", "files", "preflight", "config.recipes", "prepare.convert", "prepare.check",
        "prepare.guess",
        "console.reporter", "console.summary", "report.figures", "report.report", "report.history",
        "report.curves", "training.runs", "training.schedules", "training.plan", "training.run.worker",
        "predict.photographs", "predict.overlays", "launch.topology", "launch.launcher",
        "console.scaling", "console.estimate", "commands.estimate", "doctor.checks", "commands.doctor",
    ]  # fmt: skip
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
    files = (
        "params.yaml",
        "dvc.lock",
        "pipeline/synthetic/dvc.lock",
        "metrics/train.json",
        "reports/miou.md",
    )
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("bn_momentum: 1  # a\n")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", ".venv/complete"):
        (folder / name).touch()
    (folder / ".venv/bin/adl").write_text("#!/bin/sh\n")
    (folder / ".venv/bin/adl").chmod(0o755)
    git(folder, "init", "-q")
    # What another file system or another git does by itself: only size and whole seconds are compared.
    for setting in (
        "core.trustctime=false",
        "core.checkStat=minimal",
        "user.name=t",
        "user.email=t@example.org",
    ):
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
    shown = [
        ".gitattributes",
        "params.yaml",
        "dvc.yaml",
        "dvc.lock",
        "adl/device.py",
        "metrics/evaluate.json",
    ]
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
