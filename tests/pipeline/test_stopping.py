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
from adl.files import digest
from adl.launch import launcher
from adl.training import runs
from adl.training.run import nodes
from adl.training.state import Saved, seal
from pipeline import train
from tests.workspace import (
    TWO_PROCESSES,
    alive,
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


class Repro:
    """A running `dvc repro`, in a process group of its own."""

    def __init__(
        self, folder: Path, *command: str, shell: str | None = "/bin/bash", **environment: str
    ) -> None:
        own = (
            os.environ
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            | environment
        )
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
        return next(
            p
            for p, command in commands.items()
            if "pipeline.train" in command and command[0] != "/bin/sh"
        )

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
# The shell stands between dvc and the stage: what is sent to the stage does not pass it. A stage takes every signal in
# one way (tests/launch) and hands it on to its processes in one way: each target is met by a signal or two, not by all.
@pytest.mark.parametrize(
    ("processes", "shell", "ways"),
    [
        (
            1,
            "/bin/bash",
            [
                ("stage", signal.SIGINT),
                ("group", signal.SIGHUP),
                ("dvc", signal.SIGKILL),
                ("dvc", signal.SIGTERM),
            ],
        ),
        (1, None, [("group", signal.SIGINT), ("dvc", signal.SIGKILL)]),
        (2, "/bin/bash", [("group", signal.SIGINT), ("dvc", signal.SIGKILL)]),
    ],
)
def test_every_way_to_stop_leaves_nothing_behind_and_the_next_run_resumes(
    converted, processes, shell, ways
):
    set_params(converted, **LONG | {"device_num": processes})
    for turn, (target, number) in enumerate(ways):
        repro = Repro(converted, "dvc", "repro", "--single-item", "train", shell=shell)
        if turn:
            repro.wait_for("resuming at step")
        # In turn while it trains, and while it compiles.
        if turn % 2 == 0:
            repro.wait_for("first step, with compilation")
        kill(repro, target, number)
        assert repro.ends() != 0, (target, number)
        assert "train" not in locked_stages(converted), (target, number)


@pytest.mark.slow
def test_run_killed_in_mid_epoch_stopped_and_adopted_equals_the_uninterrupted_one(converted):
    set_params(converted, **PLAIN | IN_MID_EPOCH)
    repro = Repro(converted)
    repro.wait_for("first step, with compilation")
    wait_for(lambda: any(position(path) % 2 for path in positions(converted)))
    repro.processes()
    repro.stage().kill()
    assert repro.ends() != 0

    leave_those_in_mid_epoch(converted)
    repro = Repro(converted)
    repro.wait_for("first step, with compilation")
    kill(repro, "stage", signal.SIGTERM)
    assert repro.ends() != 0
    assert int(re.search(r"resuming at step (\d+)", repro.text())[1]) % 2 == 1
    assert "the state is saved. `dvc repro` resumes from there." in repro.text()
    assert not (converted / "models/autodeeplab.ckpt").exists()

    # The state of an unfinished run is not for other code, unless someone says so.
    (converted / "adl/training/losses.py").write_text(
        (converted / "adl/training/losses.py").read_text() + "# edited\n"
    )
    refused = run(converted, "dvc", "repro", "train")
    assert refused.returncode != 0
    assert "the code that it depends on has changed since" in refused.stderr
    name = re.search(r"adl state adopt (\w+)", refused.stderr)[1]
    assert name in succeeds(converted, "adl", "state", "list")
    succeeds(converted, "adl", "state", "adopt", name)

    assert "resuming at step" in succeeds(converted, "dvc", "repro", "train")
    resumed = results(converted)

    # Finished under other code: from step 0. DVC's commit fails after the training.
    (converted / "adl/training/losses.py").write_text(
        (converted / "adl/training/losses.py").read_text() + "# again\n"
    )
    blocked = converted / "blocked"
    blocked.mkdir()
    (blocked / "files").touch()  # a cache that cannot be written, for root too
    succeeds(converted, "dvc", "config", "--local", "cache.dir", str(blocked))
    failed = run(converted, "dvc", "repro", "--single-item", "train")
    succeeds(converted, "dvc", "config", "--local", "--unset", "cache.dir")
    assert failed.returncode != 0
    assert "resuming" not in failed.stdout
    assert "first step" in failed.stdout
    # The lock knows nothing of it: the next run removes its outputs, and finds them in the state.
    output = succeeds(converted, "dvc", "repro", "train")
    assert "this run is already finished" in output
    assert "first step" not in output
    assert results(converted) == resumed, "which went straight through"


@pytest.mark.slow
def test_second_run_on_one_key_is_refused_with_the_holder(converted):
    set_params(converted, **LONG)
    repro = Repro(converted)
    repro.wait_for("first step, with compilation")
    second = run(converted, "python", "-m", "pipeline.train")
    assert second.returncode == 2
    assert f"process {repro.stage().pid} holds" in second.stderr
    succeeds(converted, "adl", "stop")
    repro.wait_for("the state is saved")
    assert repro.ends() != 0
    assert ran(repro.text()) == {"check", "train"}
    succeeds(converted, "adl", "state", "drop", "--all")
    assert not list((converted / ".adl/state").glob("*/about.json"))


@pytest.fixture
def ready(workspace, evaluation_data) -> Path:
    """A workspace that is ready to train: with records, which DVC did not make."""
    folder = workspace / "data/mindrecord"
    folder.mkdir(parents=True)
    for path in evaluation_data.glob("cityscapes_*"):
        shutil.copy(path, folder)
    (workspace / "data/start_weights.txt").write_text("none\n")
    return workspace


def test_dry_run_prints_what_a_node_would_start_and_starts_nothing(
    ready, tmp_path, monkeypatch, capsys
):
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
    assert [line.split(":")[0] for line in lines] == ["rank 2", "rank 3"], (
        "the scheduler is node 0's"
    )
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

    def begin(
        folder: Path, *arguments: str, meanwhile: Callable[[], object] = lambda: None
    ) -> bool:
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
    assert len(runs.found(ready / ".adl/state")) == 1, (
        "how often a run is watched does not change its weights"
    )
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
def test_finished_training_says_how_to_train_anew(trained, begun, monkeypatch, capsys):
    assert not begun(trained)
    name = re.search(
        r"`adl state drop (\w+)`, then `dvc repro -f -s train`", capsys.readouterr().out
    )[1]
    monkeypatch.chdir(trained)
    commands.main(["state", "drop", name])
    assert begun(trained)


@pytest.mark.slow
def test_damaged_result_is_not_put_in_place(trained, begun, capsys):
    (model,) = trained.glob(".adl/state/*/result/autodeeplab.ckpt")
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert begun(trained)
    assert (
        f"{model.relative_to(trained)} is damaged; training starts over" in capsys.readouterr().out
    )


def test_second_node_does_what_the_first_decided_and_writes_nothing_before(
    ready, begun, monkeypatch, capsys
):
    set_params(ready, **PLAIN | {"device_num": 2})
    first, second = (
        ("--nodes", "2", "--master", "10.0.0.1:8118", "--node-rank", rank) for rank in "01"
    )
    monkeypatch.setattr(nodes, "NODE_TIMEOUT", 0.0)
    undecided = pytest.raises(
        AdlError, match="node 0 did not start this run, or has other parameters"
    )
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
def test_rank_that_raises_fails_the_stage_with_its_traceback_and_the_resumed_run_equals(
    converted, tmp_path, two_processes
):
    set_params(converted, **TWO_PROCESSES)
    (tmp_path / "sitecustomize.py").write_text(BROKEN_RANK)
    repro = Repro(converted, PYTHONPATH=str(tmp_path))
    repro.wait_for("first step, with compilation")
    repro.processes()
    repro.wait_for("rank 1 failed; the end of its log:", seconds=60)
    assert repro.ends() != 0
    assert "Traceback" in repro.text()
    assert "RuntimeError: rank 1 lost its data" in repro.text()
    assert not (converted / "models/autodeeplab.ckpt").exists()

    leave_those_in_mid_epoch(converted)
    output = succeeds(converted, "dvc", "repro", "train")
    assert int(re.search(r"resuming at step (\d+)", output)[1]) % 2 == 1
    assert results(converted) == results(two_processes())


IN_MID_EPOCH = {"epochs": 15, "save_minutes": 1e-9, "drop_path_keep_prob": 0.7}


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
def test_repro_under_nohup_survives_a_hangup(converted):
    set_params(converted, **PLAIN | {"epochs": 60})
    repro = Repro(converted, "nohup", "dvc", "repro", "train")
    repro.wait_for("first step, with compilation")
    os.killpg(repro.process.pid, signal.SIGHUP)
    # To dvc alone: it ignores this one, and nothing changes.
    repro.process.send_signal(signal.SIGINT)
    assert repro.process.wait(timeout=120) == 0, repro.text()[-2000:]
    assert "train" in locked_stages(converted)


@pytest.mark.slow
def test_full_disk_and_a_truncated_state_cost_only_what_was_not_saved(converted):
    # A state of two megabytes: the limit below is not for DVC's databases.
    set_params(converted, **LONG | {"save_minutes": 1e-9, "head_channels": 128})

    repro = Repro(converted)
    wait_for(lambda: len(positions(converted)) == 2, seconds=120)
    kill(repro, "stage", signal.SIGTERM)
    assert repro.ends() != 0
    before = {path: digest(path) for path in positions(converted)}
    blocks = (
        positions(converted)[-1].stat().st_size // 2048
    )  # half of a state, in units of 1024 bytes
    limited = run(converted, "bash", "-c", f"ulimit -f {blocks}; exec python -m pipeline.train")
    assert limited.returncode == 2
    assert "the state cannot be saved" in limited.stdout + limited.stderr
    assert (
        f"the last good one is {positions(converted)[-1].relative_to(converted)}"
        in limited.stdout + limited.stderr
    )
    assert {path: digest(path) for path in positions(converted)} == before

    older, newest = positions(converted)
    newest.write_bytes(newest.read_bytes()[:-100])
    again = Repro(converted)
    again.wait_for("resuming at step")
    again.processes()
    assert f"{newest.name} is damaged" in again.text()
    assert f"resuming at step {position(older)} of" in again.text()
    os.killpg(again.process.pid, signal.SIGTERM)
    assert again.ends() != 0
