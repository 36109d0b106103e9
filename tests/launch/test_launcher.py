"""The launcher on small programs: exit codes, logs, signals, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from adl.launch import topology
from adl.launch.launcher import LOST, STOP, Launcher
from adl.launch.topology import local
from tests.conftest import ROOT
from tests.workspace import alive, wait_for

LAUNCH = """
import sys
from pathlib import Path
from adl.launch import launcher
from adl.launch.topology import topology
launcher.GRACE = 1.0
nodes = topology(int(sys.argv[2]), "CPU")
sys.exit(launcher.Launcher(Path(sys.argv[1])).run([sys.executable, *sys.argv[3:]], nodes))
"""


@pytest.fixture
def program(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "program.py"
        path.write_text("import os, signal, sys, time\n" + text)
        return str(path)

    return write


def launch(tmp_path, program: str, size: int = 1, before: str = "") -> subprocess.Popen:
    """before: what the launcher's process does first."""
    command = [
        sys.executable,
        "-c",
        f"{before}\n{LAUNCH}",
        str(tmp_path / "logs"),
        str(size),
        program,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("body", "code"), [("", 0), ("sys.exit(2)", 2), ("1/0", 1)])
def test_exit_code_is_the_workers(tmp_path, program, body, code):
    process = launch(tmp_path, program("print('hello', flush=True)\n" + body))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "hello" in out
    assert (tmp_path / "logs/rank_0.log").read_text() == out


def test_killed_worker_is_a_failure_that_says_so(tmp_path, program):
    process = launch(tmp_path, program("os.kill(os.getpid(), signal.SIGKILL)"))
    assert "error: rank 0 was killed by SIGKILL" in process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGKILL


STUBBORN = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal({int(STOP)}, signal.SIG_IGN)
print("ready", child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_worker_that_does_not_listen_is_ended_with_all_that_it_started(tmp_path, program, number):
    process = launch(tmp_path, program(STUBBORN))
    ready = process.stdout.readline().split()
    family = [psutil.Process(int(ready[1])), *psutil.Process(process.pid).children()]
    process.send_signal(number)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number
    assert "killed before it could save; earlier saves are kept" in told
    wait_for(lambda: not alive(family))


def test_worker_is_asked_first_and_may_save(tmp_path, program):
    body = f"""
def save(*_):
    open({str(tmp_path / "saved")!r}, "w").close()
    sys.exit(75)
signal.signal({int(STOP)}, save)
print("ready", flush=True)
time.sleep(600)
"""
    process = launch(tmp_path, program(body))
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()
    assert "killed before it could save" not in told


def test_hangup_that_was_ignored_at_the_start_stays_ignored(tmp_path, program):
    process = launch(
        tmp_path,
        program("print('ready', flush=True)\ntime.sleep(2)\nprint('done', flush=True)"),
        before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert "done" in process.communicate(timeout=20)[0]
    assert process.returncode == 0


def test_killed_launcher_takes_its_workers_along(tmp_path, program):
    process = launch(tmp_path, program("print(os.getpid(), flush=True)\ntime.sleep(600)"))
    worker = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: not alive([worker]))


def test_scheduler_that_ends_is_a_failure_with_its_log(tmp_path, monkeypatch, capfd):
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(0)"]
    monkeypatch.setattr(topology, "scheduler_command", lambda: command)
    assert Launcher(tmp_path / "logs").run(["touch", str(tmp_path / "begun")], topology.topology(2, "CPU")) == 1
    assert "the scheduler exited; the end of its log:\nno such port\n" in capfd.readouterr().err
    assert not (tmp_path / "begun").exists()


LOSES_A_RANK = """
import sys, time
print("Finish to Initialize MetaServerNode", flush=True)
time.sleep(1)
sys.exit("worker 1 is the first one timed out")
"""


def test_scheduler_that_lost_a_rank_ends_the_others_of_its_node(tmp_path, program, monkeypatch, capfd):
    monkeypatch.setattr(topology, "scheduler_command", lambda: [sys.executable, "-c", LOSES_A_RANK])
    waiting = [sys.executable, program("time.sleep(600)")]
    assert Launcher(tmp_path / "logs").run(waiting, topology.topology(2, "CPU")) == 1
    told = capfd.readouterr().err
    assert "worker 1 is the first one timed out" in told
    assert LOST in told


def test_rank_that_mindspore_ended_says_why(tmp_path, program, monkeypatch, capfd):
    monkeypatch.setattr(topology, "scheduler_command", lambda: ["sleep", "600"])
    monkeypatch.setattr(Launcher, "_wait_for_scheduler", lambda *_: None)
    ending = program("if os.environ['ADL_RANK'] == '1': os.kill(os.getpid(), signal.SIGTERM)")
    code = Launcher(tmp_path / "logs").run([sys.executable, ending], topology.topology(2, "CPU"))
    assert code == 128 + signal.SIGTERM
    assert f"rank 1 was killed by SIGTERM\nMindSpore does that when {LOST}" in capfd.readouterr().err


def log(tmp_path, rank: int) -> str:
    path = tmp_path / f"logs/rank_{rank}.log"
    return path.read_text() if path.exists() else ""


def test_one_worker_sees_no_cluster(tmp_path, program, monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    names = program("print(sorted(n for n in os.environ if n.startswith(('MS_', 'RANK_'))), flush=True)")
    assert Launcher(tmp_path / "logs").run([sys.executable, names], local()) == 0
    assert log(tmp_path, 0) == "[]\n"
    assert os.environ["MS_ROLE"] == "MS_WORKER"
