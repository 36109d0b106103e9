"""Which processes a stage starts on this machine, and which variables tell each of them its place."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from adl.errors import AdlError
from adl.launch import address
from adl.parallel import world
from adl.parallel.world import share

_SCHEDULER_IS_READY = b"Finish to Initialize MetaServerNode"


class Topology(Protocol):
    """The workers that this machine starts. Every variable is one that its process has beside ours."""

    @property
    def ranks(self) -> Sequence[int]:
        """Those of this machine, ascending."""

    @property
    def devices(self) -> int:
        """How many devices this machine must have."""

    def worker(self, rank: int) -> dict[str, str]:
        """Variables of one worker."""

    def scheduler(self) -> dict[str, str] | None:
        """Variables of the scheduler; None where this machine starts none."""


@dataclasses.dataclass(frozen=True)
class Local:
    """Processes of this machine that do not talk to each other; one is the usual case.

    first_device: the devices are numbered from it on.
    """

    size: int = 1
    first_device: int = 0

    @property
    def ranks(self) -> range:
        return range(self.size)

    @property
    def devices(self) -> int:
        return self.first_device + self.size

    def worker(self, rank: int) -> dict[str, str]:
        return _place(rank=rank, size=self.size, device=self.first_device + rank)

    def scheduler(self) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Cluster:
    """MindSpore's dynamic cluster: its scheduler, on the first node, and this node's share of the workers.

    size: processes on all nodes. host, port: the scheduler's address.
    """

    size: int
    host: str
    port: int
    first_device: int = 0
    nodes: int = 1
    node_rank: int = 0

    @property
    def ranks(self) -> range:
        return share(self.size, self.node_rank, self.nodes)

    @property
    def devices(self) -> int:
        return self.first_device + len(self.ranks)

    def worker(self, rank: int) -> dict[str, str]:
        place = _place(rank=rank, size=self.size, device=self.first_device + rank - self.ranks[0])
        role = {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)}
        return place | self._address() | role | _patience()

    def scheduler(self) -> dict[str, str] | None:
        if self.node_rank > 0:
            return None
        # At another level of logging it does not say that it is ready.
        return {"MS_ROLE": "MS_SCHED", **self._address(), "GLOG_v": "2"}

    def _address(self) -> dict[str, str]:
        return {
            "MS_SCHED_HOST": self.host,
            "MS_SCHED_PORT": str(self.port),
            "MS_WORKER_NUM": str(self.size),
        }


@dataclasses.dataclass(frozen=True)
class RankTable:
    """Ascend's rank table: a file that names every device of every node; it needs no scheduler.

    device_of: rank → device, of this node.
    """

    path: Path
    size: int
    device_of: Mapping[int, str]

    @classmethod
    def read(cls, path: Path, size: int, *, node_rank: int = 0) -> RankTable:
        """Raises AdlError if the file is no rank table, or names other than `size` devices."""
        try:
            servers = json.loads(path.read_text(encoding="utf-8"))["server_list"]
            ranks: list[int] = []
            for server in servers:
                ranks += [int(device["rank_id"]) for device in server["device"]]
            here = servers[node_rank]["device"]
            device_of = {int(device["rank_id"]): str(int(device["device_id"])) for device in here}
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise AdlError(
                f"{path}: not a rank table with an entry for node {node_rank} ({type(error).__name__}: {error}). "
                "It is the JSON that Huawei's hccl_tools.py writes."
            ) from None
        ranks.sort()
        if ranks != list(range(size)):
            raise AdlError(
                f"{path}: names the ranks {ranks}, but device_num is {size}: they must be equal."
            )
        return cls(path, size, device_of)

    @classmethod
    def assumed(cls, path: Path, size: int, *, nodes: int, node_rank: int) -> RankTable:
        """One that is not written yet: as many devices on each node, ranks in order; ID stands for each device."""
        return cls(path, size, dict.fromkeys(share(size, node_rank, nodes), "ID"))

    @property
    def ranks(self) -> list[int]:
        return sorted(self.device_of)

    @property
    def devices(self) -> int:
        return len(self.device_of)

    def worker(self, rank: int) -> dict[str, str]:
        device = self.device_of[rank]
        table = {
            "RANK_TABLE_FILE": str(self.path.resolve()),
            "RANK_SIZE": str(self.size),
            "RANK_ID": str(rank),
            "DEVICE_ID": device,
        }
        return _place(rank=rank, size=self.size, device=device) | table | _patience()

    def scheduler(self) -> None:
        return None


def topology(
    device_num: int,
    device_target: str,
    *,
    first_device: int = 0,
    nodes: int = 1,
    node_rank: int = 0,
    master: str | None = None,
    loopback: bool = False,
    rank_table: Path | None = None,
    dry: bool = False,
) -> Topology:
    """This node's part of a training run on device_num devices.

    master: HOST:PORT of the scheduler, which node 0 starts; None, on one node: a free port of this machine. loopback:
    all nodes are this machine. dry: nothing will be started, so that the rank table need not exist.
    Raises AdlError if the values do not fit together.
    """
    _check_nodes(device_num, nodes, node_rank, has_address=bool(master or rank_table))
    _check_master(master, device_num, rank_table, loopback=loopback)
    if rank_table and device_target != "Ascend":
        raise AdlError("--rank-table-file needs device_target Ascend.")
    if rank_table and first_device != 0:
        raise AdlError("--device-id: the rank table names the devices.")
    check_first_device(first_device, device_target)
    if rank_table is not None:
        if dry and not rank_table.exists():
            return RankTable.assumed(rank_table, device_num, nodes=nodes, node_rank=node_rank)
        return RankTable.read(rank_table, device_num, node_rank=node_rank)
    if device_num == 1:
        return Local(first_device=first_device)
    if master is None:
        host, port = "127.0.0.1", free_port()
    else:
        host, port = address.scheduler(master, nodes=nodes, on_loopback=loopback)
    return Cluster(
        device_num,
        host=host,
        port=port,
        first_device=first_device,
        nodes=nodes,
        node_rank=node_rank,
    )


def _check_nodes(device_num: int, nodes: int, node_rank: int, *, has_address: bool) -> None:
    if nodes < 1:
        raise AdlError(f"--nodes: {nodes}; at least 1.")
    if device_num % nodes:
        raise AdlError(
            f"device_num: {device_num} devices cannot be divided evenly among --nodes {nodes}."
        )
    if not 0 <= node_rank < nodes:
        raise AdlError(f"--node-rank: {node_rank} is not one of the nodes 0 to {nodes - 1}.")
    if nodes > 1 and not has_address:
        raise AdlError(f"--nodes {nodes} needs --master HOST:PORT, or --rank-table-file.")


def _check_master(
    master: str | None, device_num: int, rank_table: Path | None, *, loopback: bool
) -> None:
    if master is not None and rank_table is not None:
        raise AdlError("--master and --rank-table-file: use only one of the two.")
    if master is not None and device_num == 1:
        raise AdlError("--master: device_num is 1; a process without others meets nobody.")
    if loopback and not master:
        raise AdlError("--loopback: says what --master is; give both.")


def check_first_device(first_device: int, device_target: str) -> None:
    """Raises AdlError if --device-id is no number, or counts devices of a kind of which there is one."""
    if first_device < 0:
        raise AdlError(f"--device-id: {first_device}; they are numbered from 0.")
    if first_device > 0 and device_target != "Ascend":
        raise AdlError("--device-id needs device_target Ascend: there is one CPU.")


def scheduler_command() -> list[str]:
    return [
        sys.executable,
        "-c",
        "import mindspore as ms; ms.set_device('CPU'); ms.communication.init()",
    ]


def wait_for_scheduler(log: Path, cancelled: Callable[[], bool], seconds: float = 60) -> None:
    """Workers that start before the scheduler is ready need up to a minute longer to find it."""
    deadline = time.monotonic() + seconds
    while (
        not cancelled()
        and time.monotonic() < deadline
        and _SCHEDULER_IS_READY not in log.read_bytes()
    ):
        time.sleep(0.05)


def _place(*, rank: int, size: int, device: int | str) -> dict[str, str]:
    """What `world.from_environment` reads."""
    return {world.RANK: str(rank), world.WORLD_SIZE: str(size), world.DEVICE: str(device)}


def _patience() -> dict[str, str]:
    """How many seconds a rank waits for the others, which drift apart while one compiles, saves or evaluates."""
    wait = {
        "MS_CPU_COMM_OP_TIMEOUT": "600",
        "HCCL_CONNECT_TIMEOUT": "1800",
        "HCCL_EXEC_TIMEOUT": "1800",
    }
    return {name: os.environ.get(name, seconds) for name, seconds in wait.items()}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
