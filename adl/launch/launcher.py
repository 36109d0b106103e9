"""Starts, watches and stops the workers of a stage; no process is left behind, whatever ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from adl.errors import STOPPED
from adl.launch import topology
from adl.launch.environment import child_environment
from adl.launch.signals import taken
from adl.launch.topology import Cluster, Topology
from adl.parallel.lifetime import tied

GRACE = 7.0
"""Seconds that a worker has to save its state; one that compiles or computes a long step is ended then."""
TAIL = 40
"""Lines of a failed worker's log that are shown."""
STOP = signal.SIGUSR1
"""Asks a worker to save and end. SIGTERM is MindSpore's: with it, a rank that lost the others ends itself."""
LOST = (
    "the ranks no longer hear each other: a rank, a node or the link between nodes failed. Start again, on all nodes, "
    "and training resumes from the last save; scheduler.log names the rank that is missing."
)
_POLL = 0.05


class Launcher:
    """The workers of one stage, each in a process group of its own, so that a terminal's Ctrl-C reaches only us."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.processes: list[subprocess.Popen] = []
        self.tees: list[threading.Thread] = []
        self.is_cluster = False
        self.scheduler: subprocess.Popen | None = None
        self.signal: int | None = None

    def run(self, command: Sequence[str], chosen: Topology) -> int:
        """Run `command` as each of this machine's workers; returns 0, or the exit code that the stage should have.

        128 + n after signal n; a worker's own code if one fails, and the end of its log is shown.
        """
        self.is_cluster = isinstance(chosen, Cluster)
        with taken(self._note):
            try:
                return self._run(command, chosen)
            finally:
                self._end_all()

    def _run(self, command: Sequence[str], chosen: Topology) -> int:
        scheduler = chosen.scheduler()
        if scheduler is not None and not self._start_scheduler(scheduler):
            return 1
        workers = {}
        for rank in chosen.ranks:
            shown = rank == chosen.ranks[0]
            workers[rank] = self._start(command, chosen.worker(rank), f"rank_{rank}", shown=shown)
        return self._watch(workers)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number

    def _start_scheduler(self, variables: Mapping[str, str]) -> bool:
        """Start it and wait until it is ready. False if it ended instead."""
        scheduler = self._start(topology.scheduler_command(), variables, "scheduler")
        log = self.logs / "scheduler.log"
        topology.wait_for_scheduler(
            log, lambda: self.signal is not None or scheduler.poll() is not None
        )
        if scheduler.poll() is None:
            self.scheduler = scheduler
            return True
        self._show_log("scheduler", "the scheduler exited")
        return False

    def _start(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        name: str,
        *,
        shown: bool = False,
    ) -> subprocess.Popen:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = (self.logs / f"{name}.log").open("wb")
        process = subprocess.Popen(
            tied(command),
            env=child_environment(variables, shown=shown),
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
        return process

    def _watch(self, workers: Mapping[int, subprocess.Popen]) -> int:
        asked_at: float | None = None
        while True:
            codes = {rank: worker.poll() for rank, worker in workers.items()}
            running = None in codes.values()
            failed = next(
                (rank for rank, code in codes.items() if code not in (None, 0, STOPPED)), None
            )
            if self.signal is not None:
                if asked_at is None:
                    asked_at = time.monotonic()
                    print(
                        f"{signal.Signals(self.signal).name}: stopping", file=sys.stderr, flush=True
                    )
                    _signal_all(workers.values(), STOP)
                late = running and time.monotonic() - asked_at > GRACE
                if late:
                    print(
                        "killed before it could save; earlier saves are kept",
                        file=sys.stderr,
                        flush=True,
                    )
                if late or not running:
                    return 128 + self.signal
            elif failed is not None:
                self._wait_for_others(workers.values())
                return self._report(workers, failed)
            elif running and self.scheduler is not None and self.scheduler.poll():
                self._show_log("scheduler", "the scheduler failed")
                print(f"error: {LOST}", file=sys.stderr, flush=True)
                return 1
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
            print(f"error: rank {failed} was killed by {name}", file=sys.stderr, flush=True)
            if -code == signal.SIGTERM and self.is_cluster:
                print(f"MindSpore does that when {LOST}", file=sys.stderr, flush=True)
            return 128 - code
        return code

    def _show_log(self, name: str, what: str) -> None:
        text = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        lines = [f"{what}; the end of its log:", *text.splitlines()[-TAIL:]]
        print("\n".join(lines), file=sys.stderr, flush=True)

    def _end_all(self) -> None:
        # Even if the worker itself is gone: what it started may not be.
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        for tee in self.tees:
            tee.join(timeout=2)


def _signal_all(processes: Collection[subprocess.Popen], number: int) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


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
