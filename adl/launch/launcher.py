"""Starts, watches and stops the workers of a stage; no process is left behind, whatever ends it."""

from __future__ import annotations

import contextlib
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

import psutil

from adl.errors import STOPPED
from adl.launch import topology
from adl.launch.environment import child_environment
from adl.launch.signals import taken
from adl.launch.topology import Topology
from adl.parallel.lifetime import tied

GRACE = 7.0
"""Seconds that a worker has to save its state; one that compiles or computes a long step is ended then."""
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
        self.processes: list[psutil.Popen] = []
        self.tee: threading.Thread | None = None
        self.signal = 0

    def run(self, command: Sequence[str], chosen: Topology) -> int:
        """Run `command` as each of this machine's workers; returns 0, or the exit code that the stage should have.

        128 + n after signal n; a worker's own code if one fails, and the end of its log is shown.
        """
        with taken(self._note):
            try:
                return self._run(command, chosen)
            finally:
                # Even if the worker itself is gone: what it started may not be.
                for process in self.processes:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                for process in self.processes:
                    process.wait()
                if self.tee:
                    self.tee.join(timeout=2)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number

    def _run(self, command: Sequence[str], chosen: Topology) -> int:
        scheduler = None
        if chosen.scheduler:
            scheduler = self._start(topology.scheduler_command(), chosen.scheduler, "scheduler")
            self._wait_for_scheduler(scheduler)
            if scheduler.poll() is not None:
                self._show_log("scheduler", "the scheduler exited")
                return 1
        workers: dict[int, psutil.Popen] = {}
        for rank, variables in chosen.workers.items():
            workers[rank] = self._start(command, variables, f"rank_{rank}", shown=not workers)
        while not self.signal:
            codes = {rank: worker.poll() for rank, worker in workers.items()}
            for rank, code in codes.items():
                if code not in (None, 0, STOPPED):
                    # Those that fail for the same reason, or stop together, have a moment to say so.
                    psutil.wait_procs(workers.values(), timeout=2)
                    return self._report(rank, code, chosen)
            if None not in codes.values():
                return max(codes.values())
            if scheduler and scheduler.poll():
                self._show_log("scheduler", "the scheduler failed")
                print(f"error: {LOST}", file=sys.stderr)
                return 1
            time.sleep(_POLL)
        print(f"{signal.Signals(self.signal).name}: stopping", file=sys.stderr)
        for worker in workers.values():
            if worker.poll() is None:
                os.killpg(worker.pid, STOP)
        _, working = psutil.wait_procs(workers.values(), timeout=GRACE)
        if working:
            print("killed before it could save; earlier saves are kept", file=sys.stderr)
        return 128 + self.signal

    def _start(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        name: str,
        *,
        shown: bool = False,
    ) -> psutil.Popen:
        self.logs.mkdir(parents=True, exist_ok=True)
        log = (self.logs / f"{name}.log").open("wb")
        process = psutil.Popen(
            tied(command),
            env=child_environment(variables, shown=shown),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if shown else log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        if shown:
            self.tee = threading.Thread(target=_tee, args=(process.stdout, log), daemon=True)
            self.tee.start()
        return process

    def _wait_for_scheduler(self, scheduler: psutil.Popen) -> None:
        """Workers that start before the scheduler's log says that it is ready need up to a minute longer to find it."""
        for _ in range(round(60 / _POLL)):
            log = (self.logs / "scheduler.log").read_bytes()
            is_ready = b"Finish to Initialize MetaServerNode" in log
            if is_ready or self.signal or scheduler.poll() is not None:
                return
            time.sleep(_POLL)

    def _report(self, rank: int, code: int, chosen: Topology) -> int:
        """Say how a rank failed, and return the stage's exit code; what the first rank said was shown as it came."""
        if rank != min(chosen.workers):
            self._show_log(f"rank_{rank}", f"rank {rank} failed")
        if code > 0:
            return code
        print(f"error: rank {rank} was killed by {signal.Signals(-code).name}", file=sys.stderr)
        if code == -signal.SIGTERM and "MS_ROLE" in chosen.workers[rank]:
            print(f"MindSpore does that when {LOST}", file=sys.stderr)
        return 128 - code

    def _show_log(self, name: str, what: str) -> None:
        text = (self.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        print(f"{what}; the end of its log:", *text.splitlines()[-40:], sep="\n", file=sys.stderr)


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
