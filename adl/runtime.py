"""Device, environment variables and what differs between them. Nobody else asks."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adl.errors import AdlError

# Before mindspore is imported, because its oneDNN reads the variable once. On a CPU with AVX-512, oneDNN picks a
# reference kernel for plain NCHW convolutions, 45-70 times slower than its AVX2 one. Other devices do not use oneDNN.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


_RANK, _WORLD_SIZE, _DEVICE, _TERMINAL = "ADL_RANK", "ADL_WORLD_SIZE", "ADL_DEVICE", "ADL_TERMINAL"
_CLUSTER_VARIABLES = ("MS_ROLE", "MS_SCHED_", "MS_WORKER_NUM", "MS_NODE_ID", "RANK_", "DEVICE_ID")
_PARENT = os.getppid()
"""Whoever started this program: asked for here, because seconds of imports may follow, in which it may die."""
_LIBC = ctypes.CDLL(None)
_TIED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
os.execvp(sys.argv[2], sys.argv[2:])
"""
_SCHEDULER_IS_READY = b"Finish to Initialize MetaServerNode"


@dataclasses.dataclass(frozen=True)
class World:
    """The processes that share a piece of work, one a device. device: number of this one's device on its machine."""

    rank: int = 0
    size: int = 1
    device: int = 0

    def share(self, n: int) -> range:
        """This rank's part of n things, which the size divides."""
        return range(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def apart(self) -> World:
        """Its device, for work without the other ranks."""
        return World(device=self.device)


ALONE = World()


def world() -> World:
    """What the launcher says this process is."""
    return World(
        *(int(os.environ.get(name, default)) for name, default in ((_RANK, 0), (_WORLD_SIZE, 1), (_DEVICE, 0)))
    )


def devices(device_target: str) -> int | None:
    """How many devices of this machine may be used; None: as many processes as are wanted share the CPU."""
    if device_target == "CPU":
        return None
    there = len([path for path in Path("/dev").glob("davinci*") if path.name.removeprefix("davinci").isdecimal()])
    visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
    return there if visible is None else min(there, len(visible.split(",")) if visible else 0)


def check_device_target(device_target: str, wanted: int = 1) -> None:
    """Raises AdlError where this machine lacks the devices."""
    there = devices(device_target)
    if there is not None and there < wanted:
        raise AdlError(
            f"device_target {device_target}: this machine has {there} such devices (/dev/davinci0 and so on), {wanted} "
            "are wanted. Without one, device_target CPU works (`adl recipe cityscapes-cpu`)."
        )


def start(device_target: str, *, seed: int = 0, graph: bool = True, world: World = ALONE) -> None:
    """Choose the device and the execution mode, join the other ranks, and seed MindSpore's weight initialisation.

    device_target: "CPU" or "Ascend". graph: compile whole graphs (the default), or run operation by operation.
    """
    check_device_target(device_target)
    import mindspore as ms
    from mindspore import communication

    ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)
    if not graph and device_target == "CPU":
        # Else threads hand each operation on to one another, and take the cores from it while they wait.
        ms.runtime.launch_blocking()
    try:
        ms.set_device(device_target, world.device)
    except (RuntimeError, ValueError) as error:
        raise AdlError(f"device_target {device_target}: MindSpore cannot use it ({error}).") from None
    if world.size > 1:
        communication.init()
        ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, device_num=world.size)
        if communication.get_rank() != world.rank:
            raise RuntimeError(f"rank {communication.get_rank()} was given to worker {world.rank}")
    ms.set_seed(seed)


def state_folder() -> Path:
    """Where a training keeps what it needs between two attempts."""
    return Path(os.environ.get("ADL_STATE_DIR", ".adl/state"))


def on_ascend() -> bool:
    import mindspore as ms

    return ms.get_context("device_target") == "Ascend"


def machine(device_target: str) -> dict[str, str | int]:
    """What a time was measured on."""
    import mindspore as ms

    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    models = re.findall(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "device": device_target,
        "processor": models[0] if models else platform.machine(),
        "cores": cores(),
        "mindspore": ms.__version__,
    }


def peak_memory() -> int:
    """Bytes: the most that this process took, of the device where it has memory of its own, else of the machine."""
    if on_ascend():
        import mindspore as ms

        return ms.runtime.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Independent:
    """Processes of this machine that do not talk to each other; one is the usual case.

    first_device: the devices are numbered from it on.
    """

    scheduler: Mapping[str, str] | None = None
    """What the scheduler's environment has beside ours; None: there is no scheduler here."""

    def __init__(self, size: int = 1, *, first_device: int = 0) -> None:
        self.size, self.first_device = size, first_device
        self.ranks: Sequence[int] = range(size)

    def worker(self, rank: int) -> dict[str, str]:
        """What a worker's environment has beside ours."""
        device = self.first_device + rank - self.ranks[0]
        return {_RANK: str(rank), _WORLD_SIZE: str(self.size), _DEVICE: str(device)}


class Cluster(Independent):
    """MindSpore's dynamic cluster: its scheduler, on the first node, and this node's share of the workers.

    size: processes on all nodes. master: the scheduler's address; None, on one node: a free port of this machine.
    """

    def __init__(
        self,
        size: int,
        *,
        first_device: int = 0,
        nodes: int = 1,
        node_rank: int = 0,
        master: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(size, first_device=first_device)
        self.ranks = World(node_rank, nodes).share(size)
        host, port = master or ("127.0.0.1", _free_port())
        self.address = {"MS_SCHED_HOST": host, "MS_SCHED_PORT": str(port), "MS_WORKER_NUM": str(size)}
        if node_rank == 0:
            # At another level of logging it does not say that it is ready.
            self.scheduler = {"MS_ROLE": "MS_SCHED", **self.address, "GLOG_v": "2"}

    def worker(self, rank: int) -> dict[str, str]:
        own = {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)}
        return super().worker(rank) | self.address | own | _patience()


class RankTable(Independent):
    """Ascend's rank table: a file that names every device of every node; it needs no scheduler."""

    def __init__(self, path: Path, size: int, *, node_rank: int = 0) -> None:
        super().__init__(size)
        self.path = path
        try:
            servers = json.loads(path.read_text(encoding="utf-8"))["server_list"]
            ranks = sorted(int(device["rank_id"]) for server in servers for device in server["device"])
            here = servers[node_rank]["device"]
            self.devices = {int(device["rank_id"]): str(int(device["device_id"])) for device in here}
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise AdlError(
                f"{path}: not a rank table with a node {node_rank} ({type(error).__name__}: {error}). It is the JSON "
                "that Huawei's hccl_tools.py writes."
            ) from None
        if ranks != list(range(size)):
            raise AdlError(f"{path}: names the ranks {ranks}, but device_num is {size}. Make them equal.")
        self.ranks = sorted(self.devices)

    def worker(self, rank: int) -> dict[str, str]:
        own = {
            "RANK_TABLE_FILE": str(self.path.resolve()),
            "RANK_SIZE": str(self.size),
            "RANK_ID": str(rank),
            "DEVICE_ID": self.devices[rank],
        }
        return super().worker(rank) | own | {_DEVICE: self.devices[rank]} | _patience()


def _patience() -> dict[str, str]:
    """How many seconds a rank waits for the others, which drift apart while one compiles, saves or evaluates."""
    wait = {"MS_CPU_COMM_OP_TIMEOUT": "600", "HCCL_CONNECT_TIMEOUT": "1800", "HCCL_EXEC_TIMEOUT": "1800"}
    return {name: os.environ.get(name, seconds) for name, seconds in wait.items()}


def scheduler_command() -> list[str]:
    return [sys.executable, "-c", "import mindspore as ms; ms.set_device('CPU'); ms.communication.init()"]


def wait_for_scheduler(log: Path, cancelled: Callable[[], bool], seconds: float = 60) -> None:
    """Workers that start before the scheduler is ready need up to a minute longer to find it."""
    deadline = time.monotonic() + seconds
    while not cancelled() and time.monotonic() < deadline and _SCHEDULER_IS_READY not in log.read_bytes():
        time.sleep(0.05)


def child_environment(own: Mapping[str, str], *, shown: bool = False) -> dict[str, str]:
    """Ours without what another launcher left in it, and what a child gets. shown: its output goes to our terminal."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_CLUSTER_VARIABLES)}
    terminal = {_TERMINAL: "1", "COLUMNS": str(shutil.get_terminal_size().columns)} if shown and on_terminal() else {}
    return clean | terminal | dict(own)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def on_terminal() -> bool:
    """Is there a person who sees a bar move? A worker's output goes to the terminal of its launcher."""
    return sys.stderr.isatty() or _TERMINAL in os.environ


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(requested: int) -> int:
    """The number of data workers to start: MindSpore refuses more than there are cores."""
    return max(1, min(requested, cores()))


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask Linux to signal this process when its parent is gone, however that died; at once if it is gone already."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        _LIBC.prctl(set_parent_death_signal, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def tied(command: Sequence[str]) -> list[str]:
    """A command that becomes the given one, and is killed when this process is gone.

    It asks for that itself: code of ours between fork and exec could wait for a lock that another thread held.
    """
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


def stop_when_dvc_dies() -> None:
    """DVC is gone at once on SIGTERM and SIGHUP, and its stage would train on beside the next `dvc repro`."""
    if "DVC_STAGE" in os.environ:
        die_with_parent(_PARENT, signal.SIGTERM)
