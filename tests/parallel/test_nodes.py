"""Two nodes, each with a network of its own: they train as one, notice when they lose each other, and resume."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from adl.launch.launcher import LOST
from tests.machines import ADDRESSES, Machines, two_machines
from tests.workspace import TWO_PROCESSES, alive, compiled_once, results, set_params, wait_for

SOON = {"MS_NODE_TIMEOUT": "15"}
"""Seconds after which MindSpore gives up a node of which it hears nothing: half of what it would wait by itself."""
BOUND = 240
"""Seconds in which a node must end that has lost the other: many times what MindSpore needs."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("two nodes")]


class Node:
    """Training on one of two machines."""

    def __init__(self, machines: Machines, number: int, folder: Path) -> None:
        options = ["--nodes", "2", "--node-rank", str(number), "--master", f"{ADDRESSES[0]}:8118"]
        self.log = folder.with_name(f"{folder.name}-{number}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                machines.command(number, [sys.executable, "-m", "pipeline.train", *options]),
                cwd=folder,
                env=os.environ | SOON | compiled_once(folder.parent / "graphs"),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.seen: list[psutil.Process] = []

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def look(self) -> None:
        """Remember all processes that it has started so far."""
        launcher = psutil.Process(self.process.pid)
        self.seen = [launcher, *launcher.children(recursive=True)]

    def is_killed(self) -> None:
        for process in self.seen:
            # Tied to the one before, it may be gone already.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def ends(self) -> int:
        """The exit code, once it has ended and nothing of it is left."""
        deadline = time.monotonic() + BOUND
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.1)
        wait_for(lambda: not alive(self.seen), seconds=15)
        return self.process.returncode


@pytest.fixture
def machines():
    with two_machines() as machines:
        yield machines


@pytest.fixture
def start(machines):
    """start(folder) -> both nodes, which begin to train there."""
    started: list[Node] = []

    def both(folder: Path) -> list[Node]:
        nodes = [Node(machines, number, folder) for number in (0, 1)]
        started.extend(nodes)
        return nodes

    yield both
    for node in started:
        if node.process.poll() is None:
            os.killpg(node.process.pid, signal.SIGKILL)
            node.process.wait()


@pytest.fixture
def folder(converted) -> Path:
    """The workspace that both nodes see."""
    set_params(converted, **TWO_PROCESSES)
    return converted


def saved(folder: Path) -> list[Path]:
    return list(folder.glob(".adl/state/*/position_*.npz"))


def begin(start, folder: Path) -> list[Node]:
    """Both nodes, in the middle of training: this attempt has saved a state."""
    earlier = set(saved(folder))
    nodes = start(folder)
    leading = nodes[0].process
    wait_for(lambda: set(saved(folder)) - earlier or leading.poll() is not None, seconds=BOUND)
    assert leading.poll() is None, nodes[0].text()[-3000:]
    for node in nodes:
        node.look()
    return nodes


def finish(nodes: list[Node]) -> str:
    """What the first one printed, once both have trained to the end."""
    for node in nodes:
        assert node.ends() == 0, node.text()[-3000:]
    return nodes[0].text()


def test_nodes_that_lose_each_other_end_and_resume_and_their_result_is_that_of_one_node(
    machines, start, folder, two_processes
):
    first, second = begin(start, folder)
    second.is_killed()
    expected = results(two_processes())  # meanwhile
    assert second.ends() == -signal.SIGKILL
    assert first.ends() != 0
    assert LOST in first.text()

    nodes = begin(start, folder)
    assert "resuming at step" in nodes[0].text()
    machines.unplug()
    for node in nodes:
        assert node.ends() != 0
        assert LOST in node.text()
    assert not (folder / "models/autodeeplab.ckpt").exists()

    machines.plug()
    assert "resuming at step" in finish(start(folder))
    assert results(folder) == expected


def test_system_that_refuses_namespaces_is_told_and_skipped(monkeypatch):
    monkeypatch.setenv("PATH", "")
    skipped = pytest.raises(pytest.skip.Exception, match="there is no program unshare")
    with skipped, two_machines():
        pass
