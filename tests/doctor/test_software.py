from __future__ import annotations

import os

import pytest
from packaging.specifiers import SpecifierSet

from adl import device
from adl.doctor import software
from tests.doctor.conftest import result


@pytest.fixture
def imported(case, tmp_path):
    """imported(code): what is found if that is MindSpore."""

    def found(code: str):
        (tmp_path / "mindspore.py").write_text(code)
        return result(software.mindspore, case())

    return found


def test_python_that_no_build_exists_for_is_a_problem(case, monkeypatch):
    assert result(software.python, case()).status == "ok"
    monkeypatch.setattr(software.platform, "python_version", lambda: "3.13.1")
    found = result(software.python, case())
    assert found.status == "problem"
    assert found.text.startswith("Python 3.13.1, but ")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            "raise ImportError('libgomp.so.1: cannot open')",
            "cannot be imported: ImportError: libgo",
        ),
        ("import os; os.kill(os.getpid(), 11)", "cannot be imported: it crashes (SIGSEGV)"),
        ("raise SystemExit(7)", "cannot be imported: exit code 7"),
        ("__version__ = '2.3.1'", "2.3.1, but "),
    ],
)
def test_mindspore_that_is_broken_or_old_is_a_problem_with_the_reason(imported, code, text):
    found = imported(code)
    assert found.status == "problem"
    assert found.text.startswith(f"MindSpore {text}")
    assert "make environment" in found.advice


def test_mindspore_that_hangs_is_a_problem(imported, monkeypatch):
    monkeypatch.setattr(software, "LONGEST_IMPORT", 0.3)
    found = imported("import time; time.sleep(60)")
    assert (found.status, found.text.split(": ")[1]) == ("problem", "nothing happened in 0 s")


def test_what_mindspore_prints_besides_is_no_version(imported):
    assert imported("print('[WARNING] x'); __version__ = '2.10.0'").text == "MindSpore 2.10.0"


def test_packages_of_another_version_and_missing_ones_are_named(case, monkeypatch):
    assert result(software.packages, case()).status == "ok"
    needed = {"numpy": "<1", "dvc": ">=2", "no-such-package": ">=2"}
    wanted = {name: SpecifierSet(versions) for name, versions in needed.items()}
    monkeypatch.setattr(software, "requirements", lambda: wanted)
    found = result(software.packages, case())
    assert found.status == "problem"
    numpy = software.version_of("numpy")
    assert found.text == f"numpy {numpy} is not <1, no-such-package is missing"


def test_without_the_project_installed_no_version_is_called_wrong(case, imported, monkeypatch):
    monkeypatch.setattr(software, "PROJECT", "no-such-package")
    assert result(software.packages, case()).status == "warning"
    assert result(software.python, case()).status == "ok"
    assert imported("__version__ = '2.3.1'").text == "MindSpore 2.3.1"


@pytest.mark.parametrize(
    ("flags", "limit", "status"),
    [
        ("avx2 avx512bw", "AVX2", "ok"),
        ("avx2 avx512bw", "DEFAULT", "warning"),
        ("avx2 avx512bw", "avx512_core", "warning"),
        ("avx2", "DEFAULT", "ok"),
    ],
)
def test_slow_convolutions_of_avx512_are_warned_of(case, monkeypatch, flags, limit, status):
    monkeypatch.setattr(device, "_processor", lambda: f"flags\t\t: fpu {flags}\n")
    found = result(software.onednn, case(environment={"ONEDNN_MAX_CPU_ISA": limit}))
    assert found.status == status
    assert ("45 to 70 times" in found.text) == (status == "warning")


@pytest.mark.parametrize(
    ("inherited", "status"),
    [
        ({}, "ok"),
        ({"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "8"}, "problem"),
        ({"RANK_TABLE_FILE": "/hccl.json"}, "warning"),
    ],
)
def test_variables_of_another_launcher_are_named_with_what_removes_them(case, monkeypatch, inherited, status):
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    found = result(software.launcher, case())
    assert found.status == status
    for name, value in inherited.items():
        assert f"{name}={value}" in found.text
    if inherited:
        assert f"`unset {' '.join(inherited)}`" in found.advice


def test_mindspore_is_imported_in_the_environment_of_the_pipeline(case, tmp_path):
    (tmp_path / "mindspore.py").write_text("import os; __version__ = os.environ['SAID']")
    environment = os.environ | {"SAID": "2.10.5"}
    assert result(software.mindspore, case(environment=environment)).text == "MindSpore 2.10.5"
