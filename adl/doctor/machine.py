"""Devices, cores, memory, disk and network of this machine, against what the parameters need."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dvc.config import Config

from adl import preflight, runtime, workspace
from adl.architecture import Architecture, cost
from adl.artifacts import nearest_existing
from adl.console.text import byte_size, counted
from adl.doctor.finding import Case, Finding, fault, ok, warning
from adl.errors import AdlError
from adl.launch.topology import free_port
from adl.params import NO_GPU

FULL, SCARCE = 0.2e9, 2e9
"""Free bytes. The embedded scenes with their records, models and DVC's copies take 0.3 GB."""
_MEMORY = "proc/meminfo"


def devices(case: Case) -> Finding | None:
    if case.params is None:
        return None
    target, wanted = case.params.device_target, case.params.device_num
    try:
        preflight.check_devices(case.params)
    except AdlError as error:
        text, advice = str(error).split(". ", maxsplit=1)
        return fault("devices", text, advice)
    found = counted(runtime.devices("Ascend") or 0, "Ascend device")
    if target == "CPU":
        text = f"device_target CPU ({counted(wanted, 'process', 'processes')}); {found}"
        gpus = sum(1 for _ in (case.root / "dev").glob("nvidia[0-9]*"))
        if gpus:
            text += f"; {counted(gpus, 'GPU')}. {NO_GPU}"
        return ok("devices", text)
    return ok("devices", f"{found}, {wanted} wanted")


def cores(case: Case) -> Finding | None:
    if case.params is None:
        return None
    found, asked = counted(runtime.cores(), "core"), case.params.workers
    used = runtime.workers(asked)
    if used == asked:
        return ok("cores", f"{found}; workers {asked}")
    return ok("cores", f"{found}; of workers {asked}, {used} are started")


def memory(case: Case) -> Finding | None:
    """Of a CPU, which all training processes share; Ascend devices have their own."""
    if case.params is None:
        return None
    if not (case.root / _MEMORY).exists():
        return ok("memory", f"not known: this system has no /{_MEMORY}")
    total, free = memory_of(case.root)
    has = f"{byte_size(total)} of memory, {byte_size(free)} free"
    p = case.params
    if p.device_target != "CPU":
        return ok("memory", has)
    each = cost.training_memory(
        Architecture.from_params(p), p.crop_size, p.batch_size // p.device_num
    )
    needed = p.device_num * each
    text = f"{has}; training takes about {byte_size(needed)}"
    advice = "Lower crop_size or batch_size."
    if needed > total:
        return fault("memory", text, advice)
    if needed > free:
        return warning("memory", text, f"End other programs. {advice}")
    return ok("memory", text)


def memory_of(root: Path) -> tuple[float, float]:
    """Bytes that there are, and that are free; a container's limit counts as the machine's."""
    lines = (root / _MEMORY).read_text(encoding="utf-8").splitlines()
    stated = {line.split(":")[0]: 1024 * float(line.split()[1]) for line in lines if ":" in line}
    total, free = stated["MemTotal"], stated["MemAvailable"]
    for limit, used in _limits(root):
        total, free = min(total, limit), min(free, limit - used)
    return total, max(0.0, free)


def _limits(root: Path) -> list[tuple[float, float]]:
    """(limit, use) in bytes of every control group that this process is in, of either version."""
    groups = root / "proc/self/cgroup"
    lines = groups.read_text(encoding="utf-8").splitlines() if groups.exists() else []
    paths = {line.split(":", maxsplit=2)[2].strip("/") for line in lines} | {""}
    found: list[tuple[float, float]] = []
    for path in paths:
        for folder, limit, use in (
            ("", "memory.max", "memory.current"),
            ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            place = root / "sys/fs/cgroup" / folder / path
            most = _number(place / limit)
            if most is not None:
                found.append((most, (_number(place / use) or 0.0) - _file_cache(place)))
    return found


def _file_cache(group: Path) -> float:
    """Bytes that count as used, but are given back when a program needs them."""
    path = group / "memory.stat"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    # The first version also counts what is in the groups below, under a name of its own.
    stated = re.findall(r"^(?:total_)?inactive_file (\d+)$", text, re.MULTILINE)
    return max(map(float, stated), default=0.0)


def _number(path: Path) -> float | None:
    """What a file says; None if there is none, or it says `max`."""
    text = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    return float(text) if text.isdecimal() else None


def disk(case: Case) -> Finding:
    """The fullest of the places that a run writes to."""
    folders = (Path(), workspace.state_folder(), dvc_cache())
    free = {folder: shutil.disk_usage(nearest_existing(folder)).free for folder in folders}
    scarcest = min(free, key=lambda folder: free[folder])
    text = f"{byte_size(free[scarcest])} free in {scarcest.absolute()}"
    advice = (
        "Make room: `adl state prune` and `dvc gc --workspace` remove what is no longer needed."
    )
    if free[scarcest] < FULL:
        return fault("disk", f"only {text}", advice)
    if free[scarcest] < SCARCE:
        return warning("disk", f"only {text}", advice)
    return ok("disk", text)


def dvc_cache() -> Path:
    """Where DVC keeps its copies."""
    default = Path(".dvc/cache")
    if not Path(".dvc").is_dir():
        return default
    return Path(Config(".dvc", validate=False)["cache"].get("dir") or default)


def port(case: Case) -> Finding:
    """Several training processes meet at a free port of this machine."""
    try:
        free_port()
    except OSError as error:
        text = f"no port of 127.0.0.1 can be used ({error.strerror or error})"
        advice = (
            "Training on several devices needs one: check the loopback interface and the limits."
        )
        return fault("port", text, advice)
    return ok("port", "a port of 127.0.0.1 is free")
