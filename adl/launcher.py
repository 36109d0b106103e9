"""Starts, watches and stops the workers of a training; nobody is left behind, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from adl import runtime

GRACE = 7.0
"""Seconds that a worker has to save its state; one that compiles or computes a long step is ended then."""
STOPPED = 75
"""A worker's exit code after it saved its state because it was asked to stop (EX_TEMPFAIL)."""
TAIL = 40
"""Lines of a failed worker's log that are shown."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL = 0.05


class Launcher:
    """The workers of one training, each in a process group of its own, so that a terminal's Ctrl-C reaches only us."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.processes: list[subprocess.Popen] = []
        self.tees: list[threading.Thread] = []
        self.signal: int | None = None

    def run(self, command: Sequence[str], *, world_size: int) -> int:
        """Run `command` as each worker of the world; returns 0, or the exit code that the whole should have.

        128 + n after signal n; a worker's own code where one fails, whose log's end is shown.
        """
        previous = {}
        for number in _SIGNALS:
            # What was ignored at the start, as SIGHUP under nohup, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, self._note)
        try:
            cluster = runtime.Cluster(world_size)
            if world_size > 1:
                self._start(cluster.scheduler_command(), cluster.scheduler_environment(), "scheduler")
                cluster.wait_for_scheduler(self.logs / "scheduler.log", lambda: self.signal is not None)
            for rank in range(world_size):
                self._start(command, cluster.worker_environment(rank), f"rank_{rank}", shown=rank == 0)
            return self._watch(self.processes[-world_size:])
        finally:
            self._end_all()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number

    def _start(self, command: Sequence[str], environment: Mapping[str, str], name: str, *, shown: bool = False) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = (self.logs / f"{name}.log").open("wb")
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if shown else log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=runtime.die_with_parent,
        )
        self.processes.append(process)
        if shown:
            assert process.stdout is not None
            self.tees.append(threading.Thread(target=_tee, args=(process.stdout, log), daemon=True))
            self.tees[-1].start()

    def _watch(self, workers: list[subprocess.Popen]) -> int:
        told_at: float | None = None
        while True:
            codes = [worker.poll() for worker in workers]
            if self.signal is not None and told_at is None:
                told_at = time.monotonic()
                print(f"{signal.Signals(self.signal).name}: saving the state", file=sys.stderr, flush=True)
                _signal_all(workers, signal.SIGTERM)
            if self.signal is not None and (None not in codes or time.monotonic() - (told_at or 0) > GRACE):
                return 128 + self.signal
            failed = next((rank for rank, code in enumerate(codes) if code not in (None, 0)), None)
            if failed is not None and self.signal is None:
                self._wait_for_others(workers)
                return self._report(workers, failed)
            if all(code == 0 for code in codes):
                return 0
            time.sleep(_POLL)

    def _wait_for_others(self, workers: list[subprocess.Popen]) -> None:
        """Give those that fail for the same reason, or stop together, a moment to say so."""
        deadline = time.monotonic() + 2
        while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _report(self, workers: list[subprocess.Popen], failed: int) -> int:
        code = workers[failed].returncode
        if failed != 0:
            lines = (self.logs / f"rank_{failed}.log").read_text(errors="replace").splitlines()[-TAIL:]
            print("\n".join([f"rank {failed} failed; the end of its log:", *lines]), file=sys.stderr, flush=True)
        if code < 0:
            name = signal.Signals(-code).name
            print(f"error: rank {failed} was ended by {name}", file=sys.stderr, flush=True)
            return 128 - code
        return code

    def _end_all(self) -> None:
        _signal_all(self.processes, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        for tee in self.tees:
            tee.join(timeout=2)


def _signal_all(processes: list[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue


def _tee(source: IO[bytes], log: IO[bytes]) -> None:
    """Copy a worker's output to our own and to its log, as it comes."""
    with log:
        while chunk := os.read(source.fileno(), 1 << 16):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            log.write(chunk)
            log.flush()
