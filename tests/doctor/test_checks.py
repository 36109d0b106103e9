"""The command in a workspace, on machines of every sort."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adl import commands, device
from adl.doctor import Case, Skipped, checks
from adl.doctor.checks import Result
from adl.errors import AdlError, Caution
from tests.workspace import git, run, set_params

COMMAND = (sys.executable, "-m", "adl.commands", "doctor", "--json")
"""As a process: what its exit code and its output are to a shell."""
LIKE_MINDSPORE = "__version__ = '2.10.0'\n"
"""Its import takes a hundredth of the real one's time."""


@pytest.fixture
def imported_as(tmp_path, monkeypatch):
    """imported_as(code): what `import mindspore` runs in the processes that a test starts."""

    def put(code: str) -> None:
        (tmp_path / "instead/mindspore").mkdir(parents=True, exist_ok=True)
        (tmp_path / "instead/mindspore/__init__.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "instead"))

    return put


@pytest.fixture
def machine(workspace, imported_as, monkeypatch) -> Path:
    """A workspace on a healthy machine, in which we are."""
    imported_as(LIKE_MINDSPORE)
    monkeypatch.chdir(workspace)
    return workspace


@pytest.fixture
def doctor(capsys) -> Callable[..., str]:
    """doctor(*options, returns=0) → what the command prints here; it runs in this process."""

    def execute(*options: str, returns: int = 0) -> str:
        code = 0
        try:
            commands.main(["doctor", *options])
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        assert code == returns, printed
        assert (printed.err == "") == (returns != 2)
        return printed.out

    return execute


@pytest.fixture
def checked(doctor) -> Callable[..., dict[str, Result]]:
    """checked(returns=…) → subject → finding."""
    return lambda returns: findings(doctor("--json", returns=returns))


def findings(printed: str) -> dict[str, Result]:
    """Subject → finding; the summary must count them."""
    said = json.loads(printed)
    found = [Result(**each) for each in said["findings"]]
    statuses = [finding.status for finding in found]
    assert said["summary"] == {name: statuses.count(name) for name in ("ok", "warning", "problem")}
    return {finding.subject: finding for finding in found}


def of_process(folder: Path, *command: str, returns: int) -> dict[str, Result]:
    done = run(folder, *command)
    assert (done.returncode, done.stderr) == (returns, ""), done.stdout
    return findings(done.stdout)


def problems(found: dict[str, Result]) -> set[str]:
    return {subject for subject, finding in found.items() if finding.status == "problem"}


def test_healthy_machine_has_no_problem_and_a_line_for_everything(workspace):
    found = of_process(workspace, *COMMAND, returns=0)
    assert list(found) == [
        "python", "mindspore", "packages", "environment", "oneDNN", "devices", "cores", "memory", "disk", "port", "git",
        "DVC", "parameters", "data", "records", "training",
    ]  # fmt: skip
    assert found["mindspore"] == Result("mindspore", "ok", "MindSpore 2.10.0")
    assert found["git"].text.endswith("t@example.org")
    assert all(finding.advice == "" for finding in found.values() if finding.status == "ok")


def test_without_mindspore_all_else_is_examined_and_the_reason_said(machine, imported_as):
    imported_as("raise ModuleNotFoundError(\"No module named 'mindspore'\")")
    code = "import sys; sys.modules['mindspore'] = None\nfrom adl.commands import main; main(['doctor', '--json'])"
    found = of_process(machine, sys.executable, "-c", code, returns=1)
    assert problems(found) == {"mindspore"}
    assert "No module named 'mindspore'" in found["mindspore"].text
    assert "make environment" in found["mindspore"].advice
    assert "steps take about" in found["training"].text


def test_all_that_ascend_devices_need_is_missed_where_they_are_wanted(machine, checked, monkeypatch):
    monkeypatch.setattr(device, "devices", lambda target: 0)
    set_params(machine, device_target="Ascend")
    assert problems(checked(returns=1)) == {"CANN", "driver", "devices", "export"}


def test_wrong_data_path_is_a_problem_with_the_folder_that_was_meant(machine, checked):
    (machine / "cityscapes").mkdir()
    set_params(machine, data_path="citiscapes")
    found = checked(returns=1)
    assert problems(found) == {"data"}
    assert found["data"].text.startswith("citiscapes: does not exist. ")
    assert found["data"].text.endswith("Did you mean cityscapes?")


def test_full_disk_is_a_problem(machine, checked, monkeypatch):
    full = shutil._ntuple_diskusage(10**12, 10**12, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    found = checked(returns=1)
    assert problems(found) == {"disk"}
    assert found["disk"].text.startswith("only 1 MB free in ")


def test_inherited_role_is_a_problem_with_the_command_that_ends_it(machine, checked, monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    found = checked(returns=1)
    assert problems(found) == {"environment"}
    assert found["environment"].text.startswith("MS_ROLE=MS_SCHED: ")
    assert found["environment"].advice.startswith("`unset MS_ROLE`")


def test_without_an_identity_of_git_experiments_are_warned_of(machine, checked):
    git(machine, "config", "--unset", "user.email")
    found = checked(returns=0)
    assert found["git"].status == "warning"
    assert "dvc exp run" in found["git"].text
    assert "git config user.email" in found["git"].advice


def test_faulty_parameters_are_one_problem_and_the_machine_is_examined_all_the_same(machine, checked):
    set_params(machine, epochs=0)
    found = checked(returns=1)
    assert problems(found) == {"parameters"}
    assert "epochs" in found["parameters"].text
    assert found["disk"].status == "ok"
    assert not {"data", "records", "training"} & set(found)


def test_architecture_that_is_missing_is_said_once(machine, checked):
    set_params(machine, cell_arch="gone.npy")
    found = checked(returns=1)
    assert problems(found) == {"parameters"}
    assert "gone.npy" in found["parameters"].text


def test_text_has_a_line_per_finding_its_advice_below_and_a_summary(machine, doctor):
    (machine / ".dvc/tmp").mkdir(exist_ok=True)
    (machine / ".dvc/tmp/rwlock").touch()
    lines = doctor(returns=1).splitlines()
    [at] = [i for i, line in enumerate(lines) if line.startswith("PROBLEM")]
    assert lines[at].split()[1] == "DVC"
    assert lines[at + 1].strip() == "`rm .dvc/tmp/rwlock`"
    assert lines[-1] == "1 problem, 0 warnings."


def test_what_the_stage_check_would_refuse_is_listed_to_the_end(machine, checked):
    set_params(machine, infer_backends=["lite"], warmup_iters=99, ckpt_name="gone.ckpt")
    found = checked(returns=1)
    assert problems(found) == {"export", "training", "ckpt_name"}
    assert "mindspore_lite is not inst" in found["export"].text
    set_params(machine, infer_backends=[], warmup_iters=1, ckpt_name=None, num_classes=21)
    found = checked(returns=1)
    assert problems(found) == {"parameters"}
    assert "but datasets/synthetic.yaml has 19 classes" in found["parameters"].text


def test_wrong_usage_returns_2(doctor):
    doctor("--fix", returns=2)


def test_in_another_folder_the_reason_is_said(tmp_path, imported_as, checked, monkeypatch):
    imported_as(LIKE_MINDSPORE)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = checked(returns=1)
    assert problems(found) == {"git", "DVC", "parameters"}
    assert str(tmp_path) in found["DVC"].text


def a_check(answer):
    def check(case):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return {"it": check}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (None, []),
        (Skipped(), []),
        ("fine", [Result("it", "ok", "fine")]),
        (AdlError("a\n  b"), [Result("it", "problem", "a b", "Correct what this says.")]),
        (AdlError("b", "Do c.", where="a"), [Result("it", "problem", "a: b", "Do c.")]),
        (Caution("b", "Do c."), [Result("it", "warning", "b", "Do c.")]),
        (
            KeyError("x"),
            [Result("it", "problem", "could not be checked (KeyError: 'x')", "Check it by hand.")],
        ),
    ],
)
def test_check_that_fails_is_a_problem_too(answer, found):
    assert list(checks.run(Case({}), a_check(answer))) == found
