"""Device, environment variables and what differs between them. Nobody else asks."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Before mindspore is imported, because its oneDNN reads the variable once. On a CPU with AVX-512, oneDNN picks a
# reference kernel for plain NCHW convolutions, 45-70 times slower than its AVX2 one. Other devices do not use oneDNN.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


_RANK, _WORLD_SIZE, _TERMINAL = "ADL_RANK", "ADL_WORLD_SIZE", "ADL_TERMINAL"
_CLUSTER_VARIABLES = ("MS_ROLE", "MS_SCHED_", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_", "DEVICE_ID")
_SCHEDULER_IS_READY = b"Finish to Initialize MetaServerNode"


@dataclasses.dataclass(frozen=True)
class World:
    """The processes of a training, one a device."""

    rank: int = 0
    size: int = 1

    def share(self, n: int) -> range:
        """This rank's part of n things, which the size divides."""
        return range(self.rank * n // self.size, (self.rank + 1) * n // self.size)


ALONE = World()


def world() -> World:
    """What the launcher says this process is."""
    return World(int(os.environ.get(_RANK, "0")), int(os.environ.get(_WORLD_SIZE, "1")))


def start(device_target: str, *, seed: int = 0, graph: bool = True, world: World = ALONE) -> None:
    """Choose the device and the execution mode, join the other ranks, and seed MindSpore's weight initialisation.

    device_target: "CPU" or "Ascend". graph: compile whole graphs (the default), or run operation by operation.
    """
    import mindspore as ms
    from mindspore import communication

    ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)
    if world.size > 1:
        ms.set_device(device_target, world.rank)
        communication.init()
        if communication.get_rank() != world.rank:
            raise RuntimeError(f"rank {communication.get_rank()} was given to worker {world.rank}")
    else:
        ms.set_device(device_target)
    ms.set_seed(seed)


def on_ascend() -> bool:
    import mindspore as ms

    return ms.get_context("device_target") == "Ascend"


class Cluster:
    """MindSpore's dynamic cluster on this machine: what its scheduler and its workers are started with."""

    def __init__(self, size: int) -> None:
        self.size = size
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def scheduler_command(self) -> list[str]:
        code = "import mindspore as ms; ms.set_device('CPU'); ms.communication.init()"
        return [sys.executable, "-c", code]

    def scheduler_environment(self) -> dict[str, str]:
        return self._environment("MS_SCHED")

    def worker_environment(self, rank: int) -> dict[str, str]:
        own = {_RANK: str(rank), _WORLD_SIZE: str(self.size)}
        if rank == 0 and on_terminal():
            own |= {_TERMINAL: "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
        if self.size == 1:
            return _clean_environment() | own
        # Ranks drift apart while one compiles, saves or evaluates.
        return self._environment("MS_WORKER") | own | {"MS_NODE_ID": str(rank), "MS_CPU_COMM_OP_TIMEOUT": "600"}

    def _environment(self, role: str) -> dict[str, str]:
        return _clean_environment() | {
            "MS_ROLE": role,
            "MS_SCHED_HOST": "127.0.0.1",
            "MS_SCHED_PORT": str(self.port),
            "MS_WORKER_NUM": str(self.size),
        }

    def wait_for_scheduler(self, log: Path, cancelled: Callable[[], bool], seconds: float = 60) -> None:
        """Workers that start before the scheduler is ready need up to a minute longer to find it."""
        deadline = time.monotonic() + seconds
        while not cancelled() and time.monotonic() < deadline and _SCHEDULER_IS_READY not in log.read_bytes():
            time.sleep(0.05)


def _clean_environment() -> dict[str, str]:
    """Ours, without what another launcher left in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_CLUSTER_VARIABLES)}


def on_terminal() -> bool:
    """Is there a person who sees a bar move? A worker's output goes to the terminal of its launcher."""
    return sys.stderr.isatty() or _TERMINAL in os.environ


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(requested: int) -> int:
    """The number of data workers to start: MindSpore refuses more than there are cores."""
    return max(1, min(requested, cores()))


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to signal this process when the one that started it is gone, however that died."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)


def stop_when_dvc_dies() -> None:
    """DVC is gone at once on SIGTERM and SIGHUP, and its stage would train on beside the next `dvc repro`."""
    if "DVC_STAGE" in os.environ:
        die_with_parent(signal.SIGTERM)
