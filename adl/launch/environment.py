"""What a process that we start finds in its environment, and how that is printed before it starts."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence

from adl.device import ISA, TERMINAL, on_terminal
from adl.launch.topology import Topology, scheduler_command

_CLUSTER_VARIABLES = ("MS_ROLE", "MS_SCHED_", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_", "DEVICE_ID")


def inherited() -> dict[str, str]:
    """What another launcher left in our environment."""
    return {key: value for key, value in os.environ.items() if key.startswith(_CLUSTER_VARIABLES)}


def child_environment(variables: Mapping[str, str], *, shown: bool = False) -> dict[str, str]:
    """Ours, without what another launcher left in it, and with what `assigned` says."""
    left_behind = inherited()
    ours = {key: value for key, value in os.environ.items() if key not in left_behind}
    return ours | assigned(variables, shown=shown)


def assigned(variables: Mapping[str, str], *, shown: bool) -> dict[str, str]:
    """Every variable that this project sets for a process, `variables` among them.

    shown: the process's output goes to our terminal.
    """
    settings = {ISA: os.environ[ISA]}
    if shown and on_terminal():
        settings |= {TERMINAL: "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    return {**settings, **variables}


def plan(command: Sequence[str], chosen: Topology) -> str:
    """What the launcher would start here, one line per process: a command for a shell, with all that we set.

    The process has the rest of our environment too. What another launcher left in that is taken out by `env -u`.
    """
    lines = []
    if chosen.scheduler:
        lines.append(_line("scheduler", scheduler_command(), chosen.scheduler))
    for rank, own in chosen.workers.items():
        lines.append(_line(f"rank {rank}", command, own, shown=rank == min(chosen.workers)))
    return "\n".join(lines)


def _line(name: str, command: Sequence[str], own: Mapping[str, str], *, shown: bool = False) -> str:
    variables = assigned(own, shown=shown)
    words = [f"{name}:"]
    removed = sorted(inherited().keys() - variables.keys())
    if removed:
        words.append("env")
    words += [f"-u {variable}" for variable in removed]
    words += [f"{variable}={shlex.quote(value)}" for variable, value in variables.items()]
    return " ".join([*words, shlex.join(command)])
