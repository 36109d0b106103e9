"""A training run on one node or several that share a folder: node 0 leads, the others follow."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from adl import device
from adl.errors import AdlError
from adl.files import read_json, remove, write_json
from adl.launch.launcher import Launcher
from adl.launch.topology import Topology
from adl.training import runs
from adl.training.run import worker
from adl.training.state import State, TrainingJob

NODE_TIMEOUT = 1800.0
"""Seconds that a node waits for node 0: as long as Ascend's ranks wait for each other."""


def worker_command(job: Path) -> list[str]:
    """Of each worker of a run. job: the file that it reads."""
    return [sys.executable, "-m", worker.__name__, str(job)]


def lead(state: State, job: TrainingJob, nodes: Topology) -> None:
    """Node 0: train, unless the run is finished.

    Ends the program with an exit code other than 0 if the run did not finish. Call it with the state's lock held.
    """
    options = job.params.model_dump(include=runs.OPTIONS)
    runs.prepare(state, job.key, runs.code_digest(), options)
    if state.finished:
        print(
            f"this run is already finished: its results are restored from {state.folder}. To train again: "
            f"`adl state drop {state.name}`, then `dvc repro -f -s train`."
        )
        trained = state.about.get("options", options)
        idle = [
            f"{name} {value} (trained with {trained.get(name)})"
            for name, value in options.items()
            if value != trained.get(name)
        ]
        if idle:
            print(f"without effect on a finished run: {', '.join(idle)}")
        return
    nearest = runs.nearest_unfinished(state, job.key)
    if nearest and len(nearest[1]) <= 3 and not state.positions():
        # A person may take that one, which is so much alike, for this one, which begins at its first step.
        other, differing = nearest
        print(
            f"this run begins at step 0. The unfinished one in {other.folder} differs from it in "
            f"{'; '.join(differing)}. Change that back to resume it, or remove it: `adl state drop {other.name}`.",
            flush=True,
        )
    write_json(state.job, job.model_dump(mode="json"))
    try:
        exit_code = _launch(state, job, nodes)
    finally:
        remove(state.job)
    if exit_code or not state.finished:
        sys.exit(exit_code or 1)


def follow(state: State, job: TrainingJob, nodes: Topology) -> None:
    """Another node: wait until node 0 has begun this very run, or has finished it. Writes nothing before."""
    deadline = time.monotonic() + NODE_TIMEOUT
    print("waiting for node 0", flush=True)
    while True:
        with contextlib.suppress(FileNotFoundError):
            if read_json(state.job) == job.model_dump(mode="json"):
                break
        if not state.damaged_result():
            print(f"this run is already finished: {state.folder}. `dvc repro` on node 0 restores its results.")
            return
        if time.monotonic() > deadline:
            raise AdlError(f"node 0 did not start this run, or has other parameters: {state.job} does not describe it.")
        time.sleep(0.5)
    sys.exit(_launch(state, job, nodes))


def _launch(state: State, job: TrainingJob, nodes: Topology) -> int:
    device.check_device_target(job.params.device_target, nodes.devices)
    return Launcher(state.logs).run(worker_command(state.job), nodes)
