"""Training in the middle of `dvc repro`: stopped in every way, resumed, locked, adopted; with real processes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from adl import commands
from adl.errors import AdlError
from adl.launch import launcher
from adl.training import runs
from adl.training.run import nodes
from adl.training.state import Saved, seal
from pipeline import train
from tests.workspace import (
    ONE_PROCESS,
    TWO_PROCESSES,
    adl,
    alive,
    compiled_once,
    ran,
    rank_table,
    results,
    run,
    set_params,
    succeeds,
    wait_for,
)

PLAIN = {"save_minutes": None}
LONG = PLAIN | {"epochs": 500, "eval_epochs": 0}
TRAINS = "first step, with compilation"


class Repro:
    """A running `dvc repro`, in a process group of its own."""

    def __init__(self, folder: Path, *command: str, shell: str | None = "/bin/bash", **environment: str) -> None:
        own = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment
        own.pop("SHELL", None)
        if shell:
            own["SHELL"] = shell
        self.log = folder.parent / "repro.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command or ("dvc", "repro", "train"),
                cwd=folder,
                env=own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.seen: list[psutil.Process] = []

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, words: str, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.text():
            assert self.process.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.05)

    def processes(self) -> list[psutil.Process]:
        """All that the run started so far."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.seen += [child for child in children if child not in self.seen]
        return self.seen

    def stage(self) -> psutil.Process:
        commands = {process: process.cmdline() for process in alive(self.processes())}
        return next(p for p, command in commands.items() if "pipeline.train" in command and command[0] != "/bin/sh")

    def worker(self) -> psutil.Process:
        """The first of the processes that train, as far as `processes` has seen them."""
        return next(p for p in alive(self.seen) if "adl.training.run.worker" in p.cmdline())

    def ends(self) -> int:
        """The exit code; nothing of the run may be alive 15 seconds later."""
        deadline = time.monotonic() + 15
        while left := alive(self.seen):
            assert time.monotonic() < deadline, (left, self.text()[-3000:])
            time.sleep(0.05)
        return self.process.wait(timeout=10)


def locked_stages(folder: Path) -> set[str]:
    return set(YAML(typ="safe").load(folder / "dvc.lock")["stages"])


def kill(repro: Repro, target: str, number: signal.Signals) -> None:
    repro.processes()
    if target == "stage":
        repro.stage().send_signal(number)
    elif target == "group":
        os.killpg(repro.process.pid, number)
    else:
        repro.process.send_signal(number)


@pytest.mark.slow
def test_every_way_to_stop_leaves_nothing_behind_and_the_next_run_resumes(converted):
    """By our command or a signal, to each target, while it trains and while it compiles; with a shell or without.

    The shell stands between dvc and the stage: what is sent to the stage does not pass it. A stage takes every signal
    in one way (tests/launch), and dvc's end as one: each target is met by a signal, not by all.
    """
    set_params(converted, **LONG)

    def begun(shell: str | None, *words: str) -> Repro:
        repro = Repro(converted, "dvc", "repro", "--single-item", "train", shell=shell)
        for said in words:
            repro.wait_for(said)
        return repro

    def ended(repro: Repro) -> None:
        assert repro.ends() != 0
        assert "train" not in locked_stages(converted)

    repro = begun("/bin/bash", TRAINS)
    repro.processes()
    adl(converted, "stop")
    ended(repro)
    assert "the state is saved. `dvc repro` resumes from there." in repro.text()
    assert not (converted / "models/autodeeplab.ckpt").exists()

    repro = begun(None, "resuming at step")
    kill(repro, "group", signal.SIGHUP)
    ended(repro)

    repro = begun(None, "resuming at step", TRAINS)
    kill(repro, "dvc", signal.SIGKILL)
    ended(repro)
    assert "the state is saved" in repro.text()

    repro = begun("/bin/bash", "resuming at step")
    kill(repro, "stage", signal.SIGTERM)
    ended(repro)

    adl(converted, "state", "drop", "--all")
    assert not list((converted / ".adl/state").glob("*/about.json"))


@pytest.mark.slow
def test_run_killed_in_mid_epoch_with_a_full_disk_and_adopted_equals_the_uninterrupted_one(converted, one_process):
    set_params(converted, **ONE_PROCESS)
    repro = Repro(converted)
    repro.wait_for(TRAINS)
    wait_for(lambda: any(position(path) % 2 for path in positions(converted)))
    repro.processes()
    repro.stage().kill()
    assert repro.ends() != 0

    leave_those_in_mid_epoch(converted)
    (whole,) = positions(converted)
    truncated = whole.with_name(f"position_{position(whole) + 1:09}.npz")
    truncated.write_bytes(whole.read_bytes()[:-100])
    repro = Repro(converted)
    repro.wait_for(TRAINS)
    assert f"{truncated.name} is damaged" in repro.text()
    assert f"resuming at step {position(whole)} of" in repro.text()
    repro.processes()
    half = whole.stat().st_size // 2
    repro.worker().rlimit(psutil.RLIMIT_FSIZE, (half, half))
    assert repro.ends() != 0
    newest = positions(converted)[-1]
    assert "the state cannot be saved" in repro.text()
    assert f"the last good one is {newest.relative_to(converted)}" in repro.text()
    assert not (converted / "models/autodeeplab.ckpt").exists()

    # The state of an unfinished run is not for other code, unless someone says so.
    with (converted / "adl/training/losses.py").open("a") as file:
        file.write("# edited\n")
    refused = run(converted, "dvc", "repro", "train")
    assert refused.returncode != 0
    assert "the code that it depends on has changed since" in refused.stderr
    name = re.search(r"adl state adopt (\w+)", refused.stderr)[1]
    assert name in adl(converted, "state", "list")
    adl(converted, "state", "adopt", name)

    # It trains to the end, and DVC cannot commit that.
    blocked = converted / "blocked"
    blocked.mkdir()
    (blocked / "files").touch()  # a cache that cannot be written, for root too
    succeeds(converted, "dvc", "config", "--local", "cache.dir", str(blocked))
    failed = run(converted, "dvc", "repro", "--single-item", "train")
    succeeds(converted, "dvc", "config", "--local", "--unset", "cache.dir")
    assert failed.returncode != 0
    assert f"resuming at step {position(newest)} of" in failed.stdout
    assert "is damaged" not in failed.stdout
    # The lock knows nothing of it: the next run removes its outputs, and finds them in the state.
    output = succeeds(converted, "dvc", "repro", "train")
    assert "this run is already finished" in output
    assert TRAINS not in output
    assert results(converted) == results(one_process())


@pytest.fixture
def ready(workspace, evaluation_data) -> Path:
    """A workspace that is ready to train: with records, which DVC did not make."""
    folder = workspace / "data/mindrecord"
    folder.mkdir(parents=True)
    for path in evaluation_data.glob("*.*"):
        shutil.copy(path, folder)
    (workspace / "data/start_weights.txt").write_text("none\n")
    return workspace


def test_dry_run_prints_what_a_node_would_start_and_starts_nothing(ready, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ready)
    monkeypatch.setattr(launcher.Launcher, "run", lambda *_: pytest.fail("was started"))

    def started(*arguments: str) -> list[str]:
        second = ("--nodes", "2", "--node-rank", "1")
        monkeypatch.setattr(sys, "argv", ["train", *second, *arguments])
        train.main()
        return capsys.readouterr().out.splitlines()

    master = ("--dry-run", "--master", "10.0.0.1:8118")
    set_params(ready, **PLAIN | {"device_num": 4, "batch_size": 4})
    lines = started(*master)
    assert [line.split(":")[0] for line in lines] == ["rank 2", "rank 3"], "the scheduler is node 0's"
    assert "MS_SCHED_HOST=10.0.0.1 MS_SCHED_PORT=8118 MS_WORKER_NUM=4" in lines[0]
    assert re.search(r"-m adl\.training\.run\.worker \.adl/state/\w+/job\.json$", lines[0])
    # Other start weights under the same name: another training.
    start_weights = ready / "data/start_weights.txt"
    none = start_weights.read_text()
    start_weights.write_text("0" * 64)
    assert re.search(r"\.adl/state/\w+", started(*master)[0])[0] not in lines[0]
    start_weights.write_text(none)
    table = rank_table(tmp_path / "table.json", [[0, 1], [4, 5]])
    set_params(ready, device_target="Ascend")
    lines = started("--dry-run", "--rank-table-file", str(table))
    assert "RANK_ID=2 DEVICE_ID=4" in lines[0]
    assert "RANK_ID=3 DEVICE_ID=5" in lines[1]
    assert not list(ready.glob(".adl/state/*"))
    monkeypatch.setattr(sys, "argv", ["train"])
    none_here = r"this machine has 0 such devices \(/dev/davinci0 and so on\), 4 are needed"
    with pytest.raises(AdlError, match=none_here):
        train.main()


@pytest.fixture
def begun(monkeypatch):
    """begun(folder): the stage, up to where its processes would be started; whether they would be.

    meanwhile: called in place of what these processes do.
    """

    def begin(folder: Path, *arguments: str, meanwhile: Callable[[], object] = lambda: None) -> bool:
        started: list[object] = []

        def run_nothing(*given: object) -> int:
            started.append(given)
            meanwhile()
            return 1

        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["train", *arguments])
            patch.setattr(launcher.Launcher, "run", run_nothing)
            train.main()
        return bool(started)

    return begin


def test_training_that_begins_anew_says_what_parts_it_from_one_that_waits(ready, begun, capsys):
    assert begun(ready)
    (waiting,) = runs.found(ready / ".adl/state")
    waiting.save(Saved({}, {"position": 1}))
    assert "begins at step 0" not in capsys.readouterr().out
    set_params(ready, eval_epochs=3)
    assert begun(ready)
    assert len(runs.found(ready / ".adl/state")) == 1, "how often a run is watched does not change its weights"
    assert "begins at step 0" not in capsys.readouterr().out
    set_params(ready, device_num=2)
    assert begun(ready)
    told = capsys.readouterr().out
    assert "device_num: 1 there, 2 now" in told
    assert f"adl state drop {waiting.name}" in told
    set_params(ready, epochs=5, seed=7, base_lr=0.01)
    assert begun(ready)
    assert "begins at step 0" not in capsys.readouterr().out, "another training altogether"


@pytest.mark.slow
def test_finished_training_says_how_to_train_anew(finished, begun, monkeypatch, capsys):
    assert not begun(finished)
    name = re.search(r"`adl state drop (\w+)`, then `dvc repro -f -s train`", capsys.readouterr().out)[1]
    monkeypatch.chdir(finished)
    commands.main(["state", "drop", name])
    assert begun(finished)


@pytest.mark.slow
def test_damaged_result_is_not_put_in_place(finished, begun, capsys):
    (model,) = finished.glob(".adl/state/*/result/autodeeplab.ckpt")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert begun(finished)
    assert f"{model.relative_to(finished)} is damaged; training starts over" in capsys.readouterr().out


def test_second_node_does_what_the_first_decided_and_writes_nothing_before(ready, begun, monkeypatch, capsys):
    set_params(ready, **PLAIN | {"device_num": 2})
    first, second = (("--nodes", "2", "--master", "10.0.0.1:8118", "--node-rank", rank) for rank in "01")
    monkeypatch.setattr(nodes, "NODE_TIMEOUT", 0.0)
    undecided = pytest.raises(AdlError, match="node 0 did not start this run, or has other parameters")
    with undecided:
        begun(ready, *second)
    assert not (ready / ".adl").exists()

    def together() -> bool:
        return begun(ready, *first, meanwhile=lambda: followed.append(begun(ready, *second)))

    followed: list[bool] = []
    assert together()
    assert followed == [True]
    with undecided:
        begun(ready, *second)

    (own,) = runs.found(ready / ".adl/state")
    own.result.mkdir()
    (own.result / "autodeeplab.ckpt").write_text("weights")
    seal(own.result)
    assert not begun(ready, *second)
    assert "this run is already finished" in capsys.readouterr().out
    (own.result / "autodeeplab.ckpt").write_text("wrights")
    with undecided:
        begun(ready, *second)
    assert together(), "the first found the result damaged"
    assert followed == [True, True]


# What Python runs when it starts: rank 1's data goes bad in the middle of the training.
BROKEN_RANK = """
import os
if os.environ.get("ADL_RANK") == "1":
    import numpy
    healthy, drawn = numpy.random.default_rng, []
    def default_rng(*seed):
        drawn.append(seed)
        if len(drawn) > 20:
            raise RuntimeError("rank 1 lost its data")
        return healthy(*seed)
    numpy.random.default_rng = default_rng
"""


@pytest.mark.slow
def test_two_processes_stopped_and_failed_by_one_of_them_equal_the_uninterrupted_ones(
    converted, tmp_path, two_processes
):
    set_params(converted, **TWO_PROCESSES)
    graphs = compiled_once(tmp_path / "graphs")
    repro = Repro(converted, **graphs)
    repro.wait_for(TRAINS)
    kill(repro, "group", signal.SIGINT)
    assert repro.ends() != 0
    assert "the state is saved. `dvc repro` resumes from there." in repro.text()

    (tmp_path / "sitecustomize.py").write_text(BROKEN_RANK)
    # What another launcher left in the environment must not confuse ours.
    left = {"MS_ROLE": "MS_WORKER", "MS_SCHED_PORT": "1", "RANK_ID": "7", "MS_WORKER_NUM": "9"}
    repro = Repro(converted, PYTHONPATH=str(tmp_path), **graphs, **left)
    repro.wait_for("resuming at step")
    repro.wait_for(TRAINS)
    repro.processes()
    repro.wait_for("rank 1 failed; the end of its log:", seconds=60)
    assert repro.ends() != 0
    assert "Traceback" in repro.text()
    assert "RuntimeError: rank 1 lost its data" in repro.text()
    assert not (converted / "models/autodeeplab.ckpt").exists()

    leave_those_in_mid_epoch(converted)
    repro = Repro(converted, **graphs)
    assert repro.process.wait(timeout=280) == 0, repro.text()[-3000:]
    assert int(re.search(r"resuming at step (\d+)", repro.text())[1]) % 2 == 1
    assert results(converted) == results(two_processes())


def positions(folder: Path) -> list[Path]:
    return sorted(folder.glob(".adl/state/*/position_*.npz"))


def position(path: Path) -> int:
    return int(path.stem[-9:])


def leave_those_in_mid_epoch(folder: Path) -> None:
    """Of two steps in an epoch, an odd position is in its middle."""
    for path in positions(folder):
        if position(path) % 2 == 0:
            path.unlink()


@pytest.mark.slow
def test_experiment_in_a_copy_that_was_killed_resumes(finished, tmp_path):
    command = (
        "dvc",
        "exp",
        "run",
        "--temp",
        "-S",
        "epochs=400",
        "-S",
        "save_minutes=0.001",
        "train",
    )
    repro = Repro(finished, *command, ADL_STATE_DIR=str(tmp_path / "state"))
    wait_for(lambda: list(tmp_path.glob("state/*/position_*.npz")), seconds=90)
    repro.processes()
    os.killpg(repro.process.pid, signal.SIGKILL)
    assert repro.ends() != 0
    again = Repro(finished, *command, ADL_STATE_DIR=str(tmp_path / "state"))
    again.wait_for("resuming at step")
    again.processes()
    os.killpg(again.process.pid, signal.SIGTERM)
    assert again.ends() != 0


@pytest.mark.slow
def test_repro_under_nohup_survives_a_hangup_and_keeps_a_second_run_out(converted, begun):
    set_params(converted, **PLAIN | {"epochs": 60, "eval_epochs": 0})
    repro = Repro(converted, "nohup", "dvc", "repro", "train")
    repro.wait_for(TRAINS)
    repro.processes()
    worker = repro.worker()
    worker.suspend()  # so that it does not end meanwhile
    with pytest.raises(AdlError, match=f"process {repro.stage().pid} holds"):
        begun(converted)
    os.killpg(repro.process.pid, signal.SIGHUP)
    # To dvc alone: it ignores this one, and nothing changes.
    repro.process.send_signal(signal.SIGINT)
    worker.resume()
    assert repro.process.wait(timeout=120) == 0, repro.text()[-2000:]
    assert ran(repro.text()) == {"check", "train"}
    assert "train" in locked_stages(converted)
