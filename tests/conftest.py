"""What many tests share: an environment of their own, and what is costly to make, made once a session."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from adl import device
from adl.architecture import Architecture

pytest_plugins = ["tests.fixtures"]

ROOT = Path(__file__).resolve().parent.parent

# A background job of a shell ignores SIGINT, one under nohup SIGHUP, and so would all that the tests start and signal.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# Neither the person's settings nor what a launcher or DVC left in the environment reaches a test, or what it starts.
for _name in [
    name
    for name in os.environ
    if name.startswith(("ADL_", "AWS_", "DVC_", "GIT_", "MA_", "MS_", "RANK_", "DEVICE_ID", "S3_", "VC_"))
]:
    del os.environ[_name]
os.environ |= {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
if "PYTEST_XDIST_WORKER" in os.environ:
    # As many tests run as there are cores: threads would only wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist then reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(1200))
        elif "s3" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("s3"))  # one server for all of them
    # Begun first, so that no core waits for it at the end.
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory):
    """DVC's settings and its database of digests are this process's own, and so is its device.

    MindSpore chooses a device by itself once anything is computed, and then refuses another choice.
    """
    device.start("CPU", graph=False)
    folder = tmp_path_factory.mktemp("dvc")
    for kind in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE"):
        os.environ[f"DVC_{kind}_DIR"] = str(folder / kind)


@pytest.fixture(autouse=True)
def isolated(own_settings, tmp_path, monkeypatch):
    """Each test works in a folder of its own with the data sets' files; nothing that it started or set outlives it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    before, running = dict(os.environ), set(psutil.Process().children())
    yield
    for child in set(psutil.Process().children()) - running:
        for process in [*child.children(recursive=True), child]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    # Only what differs: MindSpore's threads read the environment while it is written.
    for name in [name for name in os.environ if name not in before]:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@pytest.fixture
def pynative():
    device.start("CPU", seed=0, graph=False)


@pytest.fixture
def graph():
    device.start("CPU", seed=0, graph=True)
    yield
    device.start("CPU", seed=0, graph=False)


@pytest.fixture
def tiny() -> Architecture:
    """The smallest network that has every part: three cells on two levels, few channels, one block."""
    return TINY


TINY = Architecture(
    net=(0, 1, 1),
    cell=((0, 6), (1, 4)),
    filter_multiplier=2,
    initial_fm=4,
    head_channels=8,
    num_classes=19,
    bn_momentum=0.9,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """once(name, make) -> a folder that make(folder) fills, once for all processes of the session.

    Tests read it, or change a copy.
    """
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder below the session's.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(shared / f"{name}.lock"):
            if not (shared / name).exists():
                half = shared / f"{name}.half"
                shutil.rmtree(half, ignore_errors=True)  # of a process that failed
                half.mkdir()
                make(half)
                half.rename(shared / name)
        return shared / name

    return folder


@pytest.fixture
def workspace(once, tmp_path) -> Path:
    """The project with parameters for a tiny run, nothing run yet."""
    from tests.workspace import make_workspace

    return shutil.copytree(once("workspace", make_workspace), tmp_path / "workspace", symlinks=True)


@pytest.fixture
def converted(once, tmp_path) -> Path:
    """A workspace whose records are made."""
    return reproduced(once, tmp_path, "mindrecord")


def reproduced(once, tmp_path: Path, stage: str) -> Path:
    """A workspace in which a stage ran, with those that it needs."""
    from tests.workspace import make_workspace, succeeds

    def make(folder: Path) -> None:
        shutil.copytree(once("workspace", make_workspace), folder, symlinks=True, dirs_exist_ok=True)
        succeeds(folder, "dvc", "repro", stage)

    return shutil.copytree(once(f"workspace-{stage}", make), tmp_path / "workspace", symlinks=True)


@pytest.fixture
def finished(once, tmp_path) -> Path:
    """A workspace in which `dvc repro` ran from nothing, committed; what it printed is in repro.log beside it."""
    from tests.workspace import git, make_workspace, succeeds

    def make(folder: Path) -> None:
        inside = folder / "workspace"
        shutil.copytree(once("workspace", make_workspace), inside, symlinks=True)
        (folder / "repro.log").write_text(succeeds(inside, "dvc", "repro"))
        git(inside, "add", "-A")
        git(inside, "commit", "-q", "-m", "first run")

    shutil.copytree(once("finished", make), tmp_path, symlinks=True, dirs_exist_ok=True)
    return tmp_path / "workspace"
