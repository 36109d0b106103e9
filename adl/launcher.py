"""Starts, watches and stops the workers of a stage; nobody is left behind, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from adl import runtime
from adl.errors import AdlError
from adl.runtime import Independent

GRACE = 7.0
"""Seconds that a worker has to save its state; one that compiles or computes a long step is ended then."""
STOPPED = 75
"""A worker's exit code after it saved its state because it was asked to stop (EX_TEMPFAIL)."""
TAIL = 40
"""Lines of a failed worker's log that are shown."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL = 0.05


class Launcher:
    """The workers of one stage, each in a process group of its own, so that a terminal's Ctrl-C reaches only us."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.processes: list[subprocess.Popen] = []
        self.tees: list[threading.Thread] = []
        self.signal: int | None = None

    def run(self, command: Sequence[str], group: Independent) -> int:
        """Run `command` as each of this machine's workers; returns 0, or the exit code that the whole should have.

        128 + n after signal n; a worker's own code where one fails, whose log's end is shown.
        """
        previous = {}
        for number in _SIGNALS:
            # What was ignored at the start, as SIGHUP under nohup, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, self._note)
        try:
            if group.scheduler is not None:
                self._start(runtime.scheduler_command(), group.scheduler, "scheduler")
                scheduler = self.processes[-1]
                runtime.wait_for_scheduler(
                    self.logs / "scheduler.log", lambda: self.signal is not None or scheduler.poll() is not None
                )
                if scheduler.poll() is not None:
                    self._show_log("scheduler", "the scheduler ended")
                    return 1
            for rank in group.ranks:
                self._start(command, group.worker(rank), f"rank_{rank}", shown=rank == group.ranks[0])
            return self._watch(dict(zip(group.ranks, self.processes[-len(group.ranks) :], strict=True)))
        finally:
            self._end_all()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number

    def _start(self, command: Sequence[str], own: Mapping[str, str], name: str, *, shown: bool = False) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = (self.logs / f"{name}.log").open("wb")
        process = subprocess.Popen(
            runtime.tied(command),
            env=runtime.child_environment(own, shown=shown),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if shown else log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        if shown:
            assert process.stdout is not None
            self.tees.append(threading.Thread(target=_tee, args=(process.stdout, log), daemon=True))
            self.tees[-1].start()

    def _watch(self, workers: Mapping[int, subprocess.Popen]) -> int:
        told_at: float | None = None
        while True:
            codes = {rank: worker.poll() for rank, worker in workers.items()}
            running = None in codes.values()
            failed = next((rank for rank, code in codes.items() if code not in (None, 0, STOPPED)), None)
            if self.signal is not None:
                if told_at is None:
                    told_at = time.monotonic()
                    print(f"{signal.Signals(self.signal).name}: stopping", file=sys.stderr, flush=True)
                    _signal_all(workers.values(), signal.SIGTERM)
                late = running and time.monotonic() - told_at > GRACE
                if late:
                    print("ended before it could save; what was saved earlier stays", file=sys.stderr, flush=True)
                if late or not running:
                    return 128 + self.signal
            elif failed is not None:
                self._wait_for_others(workers.values())
                return self._report(workers, failed)
            elif not running:
                return max(code or 0 for code in codes.values())
            time.sleep(_POLL)

    def _wait_for_others(self, workers: Collection[subprocess.Popen]) -> None:
        """Give those that fail for the same reason, or stop together, a moment to say so."""
        deadline = time.monotonic() + 2
        while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _report(self, workers: Mapping[int, subprocess.Popen], failed: int) -> int:
        code = workers[failed].returncode
        if failed != next(iter(workers)):
            self._show_log(f"rank_{failed}", f"rank {failed} failed")
        if code < 0:
            name = signal.Signals(-code).name
            print(f"error: rank {failed} was ended by {name}", file=sys.stderr, flush=True)
            return 128 - code
        return code

    def _show_log(self, name: str, what: str) -> None:
        lines = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        print("\n".join([f"{what}; the end of its log:", *lines]), file=sys.stderr, flush=True)

    def _end_all(self) -> None:
        # Also where the worker itself is gone: what it started may not be.
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        for tee in self.tees:
            tee.join(timeout=2)


def group_of(
    device_num: int,
    device_target: str,
    *,
    first_device: int = 0,
    nodes: int = 1,
    node_rank: int = 0,
    master: str | None = None,
    rank_table: Path | None = None,
) -> Independent:
    """This node's part of a training on device_num devices.

    master: HOST:PORT of the scheduler, which node 0 starts. Raises AdlError where the values do not fit together.
    """
    host, _, port = (master or "").rpartition(":")
    faults = [
        (device_num % nodes != 0, f"device_num: {device_num} devices cannot be shared out evenly to --nodes {nodes}."),
        (not 0 <= node_rank < nodes, f"--node-rank: {node_rank} is not one of the nodes 0 to {nodes - 1}."),
        (nodes > 1 and not (master or rank_table), f"--nodes {nodes} needs --master HOST:PORT, or --rank-table-file."),
        (master is not None and not (host and port.isdecimal()), f"--master: {master} is not HOST:PORT."),
        (master is not None and rank_table is not None, "--master and --rank-table-file: give one of the two."),
        (rank_table is not None and device_target != "Ascend", "--rank-table-file needs device_target Ascend."),
        (first_device > 0 and rank_table is not None, "--device-id: the rank table names the devices."),
    ]
    for broken, message in faults:
        if broken:
            raise AdlError(message)
    check_device(first_device, device_target)
    if rank_table is not None:
        return runtime.RankTable(rank_table, device_num, node_rank=node_rank)
    if device_num == 1:
        return Independent(first_device=first_device)
    address = (host, int(port)) if master else None
    return runtime.Cluster(device_num, first_device=first_device, nodes=nodes, node_rank=node_rank, master=address)


def check_device(first_device: int, device_target: str) -> None:
    if first_device > 0 and device_target != "Ascend":
        raise AdlError("--device-id needs device_target Ascend: there is one CPU.")


def plan(command: Sequence[str], group: Independent) -> str:
    """What `Launcher.run` would start here, a line a process: what is added to the environment, and the command."""
    started = [("scheduler", runtime.scheduler_command(), group.scheduler)] if group.scheduler is not None else []
    started += [(f"rank {rank}", list(command), group.worker(rank)) for rank in group.ranks]
    return "\n".join(
        f"{name}: {' '.join(f'{key}={shlex.quote(value)}' for key, value in own.items())} {shlex.join(program)}"
        for name, program, own in started
    )


def _signal_all(processes: Collection[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue


def _tee(source: IO[bytes], log: IO[bytes]) -> None:
    """Copy a worker's output to our own and to its log, as it comes.

    One that can no longer be written (a full disk, a closed terminal) is left out: the worker must not wait for it.
    """
    sinks = [sys.stdout.buffer, log]
    with log:
        while chunk := os.read(source.fileno(), 1 << 16):
            for sink in tuple(sinks):
                try:
                    sink.write(chunk)
                    sink.flush()
                except OSError:
                    sinks.remove(sink)
