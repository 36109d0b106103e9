"""Devices, cores, memory, disk and network of this machine, against what the parameters need."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psutil
from dvc.config import Config

from adl import device, preflight, workspace
from adl.architecture import Architecture, cost
from adl.config.params import NO_GPU
from adl.console.text import byte_size, counted
from adl.doctor import DEVICES, Case, text_of
from adl.errors import AdlError, Caution
from adl.files import nearest_existing
from adl.launch.topology import free_port

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""The control groups of this machine, and the names of those that this process is in."""


def devices(case: Case) -> str:
    p = case.params
    preflight.check_devices(p)
    text = f"device_target {p.device_target}, device_num {p.device_num}; "
    text += counted(device.devices("Ascend") or 0, "Ascend device")
    gpus = len(list(DEVICES.glob("nvidia[0-9]*")))
    return f"{text}; {counted(gpus, 'GPU')}. {NO_GPU}" if gpus else text


def cores(case: Case) -> str:
    asked = case.params.workers
    return f"{counted(device.cores(), 'core')}; of workers {asked}, {device.workers(asked)} are started"


def memory(case: Case) -> str:
    """Of a CPU, which all training processes share; Ascend devices have their own."""
    p = case.params
    total, free = total_and_free()
    text = f"{byte_size(total)} of memory, {byte_size(free)} free"
    if p.device_target != "CPU":
        return text
    needed = p.device_num * cost.training_memory(Architecture.from_params(p), p.crop_size, p.batch_size // p.device_num)
    text += f"; training takes about {byte_size(needed)}"
    if needed > free:
        error = AdlError if needed > total else Caution
        raise error(text, "End other programs, or lower crop_size or batch_size.")
    return text


def total_and_free() -> tuple[float, float]:
    """Bytes of memory; the limit of a control group that this process is in, such as a container's, counts too.

    Not in use are files that were read: their memory is given back when a program needs it.
    """
    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    own = re.findall(r"(?m)^\d+:[^:]*:(.*)$", text_of(OWN_GROUPS))
    for name in {"/", *own}:
        for folder, limit, use in (
            (GROUPS, "memory.max", "memory.current"),
            (GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            group = folder / name.strip("/")
            most = text_of(group / limit)
            if most.isdecimal():
                # The first version also counts what is in the groups below, under a name of its own.
                statistics = text_of(group / "memory.stat")
                files = re.findall(r"(?m)^(?:total_)?inactive_file (\d+)$", statistics)
                used = int(text_of(group / use) or 0) - max(map(int, files), default=0)
                total = min(total, int(most))
                free = min(free, int(most) - used)
    return total, max(0, free)


def disk(case: Case) -> str:
    """The fullest of the places that a run writes to."""
    free, folder = min(
        (shutil.disk_usage(nearest_existing(path)).free, path)
        for path in (Path(), workspace.state_folder(), dvc_cache())
    )
    text = f"{byte_size(free)} free in {folder.absolute()}"
    # The embedded scenes with their records, models and DVC's copies take 0.3 GB.
    if free < 2e9:
        error = AdlError if free < 0.2e9 else Caution
        raise error(
            f"only {text}",
            "Make room: `adl state prune` and `dvc gc --workspace` remove what is no longer needed.",
        )
    return text


def dvc_cache() -> Path:
    """Where DVC keeps its copies."""
    return Path(Config(".dvc", validate=False)["cache"].get("dir") or ".dvc/cache")


def port(case: Case) -> str:
    """Several training processes meet at a free port of this machine."""
    try:
        free_port()
    except OSError as error:
        raise AdlError(
            f"no port of 127.0.0.1 can be used ({error.strerror or error})",
            "Training on several devices needs one: check the loopback interface and the limits.",
        ) from None
    return "a port of 127.0.0.1 is free"
