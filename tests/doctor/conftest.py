"""Cases of a machine whose own files are in the test's folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adl.dataset.descriptor import CITYSCAPES
from adl.doctor.finding import Case
from adl.params import Params, parse
from adl.recipes import shipped_text
from tests.conftest import ROOT


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
def case(tmp_path) -> Callable[..., Case]:
    """case(environment=…, inherited=…, parameter=…, …): the shipped parameters, but for these."""

    def make(*, environment=None, inherited=None, **parameters) -> Case:
        return Case(
            params=shipped(**parameters),
            dataset=CITYSCAPES,
            environment=dict(os.environ) if environment is None else environment,
            inherited=inherited or {},
            root=tmp_path / "machine",
        )

    return make


def shipped(**parameters) -> Params:
    files = {
        name: str(ROOT / f"architectures/small/{name}.npy") for name in ("net_arch", "cell_arch")
    }
    return parse(shipped_text(), "shipped", **{**files, **parameters})
