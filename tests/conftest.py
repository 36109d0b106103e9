"""What many tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from adl import runtime
from adl.architecture import Architecture

ROOT = Path(__file__).resolve().parent.parent

# A background job of a shell ignores SIGINT, one under nohup SIGHUP, and so would all that the tests start and signal.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture
def pynative():
    runtime.start("CPU", seed=0, graph=False)


@pytest.fixture
def graph():
    runtime.start("CPU", seed=0, graph=True)
    yield
    runtime.start("CPU", seed=0, graph=False)


@pytest.fixture
def tiny() -> Architecture:
    """The smallest network that has every part: three cells on two levels, few filters, one block."""
    return Architecture(
        net=(0, 1, 1), cell=((0, 6), (1, 4)), filter_multiplier=2, initial_fm=4, num_classes=19, bn_momentum=0.9
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def workspace(tmp_path) -> Path:
    from tests.workspace import make_workspace

    return make_workspace(tmp_path / "workspace")
