"""Cases of a machine whose own files are in the test's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adl.config.recipes import edited, shipped_text
from adl.doctor import Case, checks, machine, software
from adl.workspace import PARAMS
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def own_machine(tmp_path, monkeypatch):
    """The machine's own files are in the test's folder."""
    root = tmp_path / "machine"
    for module in (machine, software):
        monkeypatch.setattr(module, "DEVICES", root / "dev")
    monkeypatch.setattr(software, "ASCEND", root / "usr/local/Ascend")
    monkeypatch.setattr(machine, "GROUPS", root / "sys/fs/cgroup")
    monkeypatch.setattr(machine, "OWN_GROUPS", root / "proc/self/cgroup")


@pytest.fixture
def write(tmp_path) -> Callable[[str, str], Path]:
    """write(name, text): a file of the machine."""

    def put(name: str, text: str) -> Path:
        path = tmp_path / "machine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return put


@pytest.fixture
def case() -> Callable[..., Case]:
    """case(environment=…, parameter=…, …): a folder with the shipped parameters, but for these."""

    def make(*, environment=None, **parameters) -> Case:
        files = {name: str(ROOT / f"architectures/small/{name}.npy") for name in ("net_arch", "cell_arch")}
        PARAMS.write_text(edited(shipped_text(), files | parameters))
        return Case(dict(os.environ) if environment is None else environment)

    return make


def result(check, case: Case) -> checks.Result | None:
    """What is printed of a check; None: nothing."""
    return next(checks.run(case, {"it": check}), None)
