"""Which processes a stage starts on this machine, and which variables tell each of them its place."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from adl.errors import AdlError
from adl.launch import address
from adl.parallel import world
from adl.parallel.world import share


class Topology(NamedTuple):
    """The processes that this machine starts.

    workers: rank → the variables that this worker has beside ours, by ascending rank. devices: how many this machine
    must have. scheduler: the variables of the scheduler; None where this machine starts none.
    """

    workers: Mapping[int, Mapping[str, str]]
    devices: int
    scheduler: Mapping[str, str] | None = None


def local(size: int = 1, first_device: int = 0) -> Topology:
    """Processes of this machine that do not talk to each other; one is the usual case.

    first_device: the devices are numbered from it on.
    """
    return Topology(
        workers={rank: _place(rank, size, first_device + rank) for rank in range(size)},
        devices=first_device + size,
    )


def _cluster(size: int, host: str, port: int, ranks: range, first_device: int) -> Topology:
    """MindSpore's dynamic cluster: its scheduler, on the first node, and this node's share of the workers.

    size: processes on all nodes. host, port: the scheduler's address. ranks: of this node.
    """
    meeting = {
        "MS_SCHED_HOST": host,
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_NUM": str(size),
    }
    workers = {}
    for device, rank in enumerate(ranks, start=first_device):
        workers[rank] = {
            **_place(rank, size, device),
            **meeting,
            "MS_ROLE": "MS_WORKER",
            "MS_NODE_ID": str(rank),
            **_timeouts(),
        }
    scheduler = None
    if 0 in ranks:
        # At another level of logging it does not say that it is ready.
        scheduler = {"MS_ROLE": "MS_SCHED", **meeting, "GLOG_v": "2"}
    return Topology(workers, first_device + len(workers), scheduler)


def _from_rank_table(path: Path, size: int, device_of: Mapping[int, str]) -> Topology:
    """By Ascend's rank table: a file that names every device of every node; it needs no scheduler.

    device_of: rank → device, of this node.
    """
    workers = {}
    for rank, device in sorted(device_of.items()):
        workers[rank] = {
            **_place(rank, size, device),
            "RANK_TABLE_FILE": str(path.resolve()),
            "RANK_SIZE": str(size),
            "RANK_ID": str(rank),
            "DEVICE_ID": device,
            **_timeouts(),
        }
    return Topology(workers, len(workers))


def _read_rank_table(path: Path, size: int, node_rank: int) -> dict[int, str]:
    """Rank → device, of a node. Raises AdlError if the file is no rank table, or names other than `size` devices."""
    try:
        servers = json.loads(path.read_bytes())["server_list"]
        ranks = sorted(int(device["rank_id"]) for server in servers for device in server["device"])
        device_of = {int(device["rank_id"]): str(int(device["device_id"])) for device in servers[node_rank]["device"]}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise AdlError(
            f"{path}: not a rank table with an entry for node {node_rank} ({type(error).__name__}: {error}). "
            "It is the JSON that Huawei's hccl_tools.py writes."
        ) from None
    if ranks != list(range(size)):
        raise AdlError(f"{path}: names the ranks {ranks}, but device_num is {size}: they must be equal.")
    return device_of


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
    if nodes < 1:
        raise AdlError(f"--nodes: {nodes}; at least 1.")
    if device_num % nodes:
        raise AdlError(f"device_num: {device_num} devices cannot be divided evenly among --nodes {nodes}.")
    if not 0 <= node_rank < nodes:
        raise AdlError(f"--node-rank: {node_rank} is not one of the nodes 0 to {nodes - 1}.")
    if nodes > 1 and not (master or rank_table):
        raise AdlError(f"--nodes {nodes} needs --master HOST:PORT, or --rank-table-file.")
    if master is not None and rank_table:
        raise AdlError("--master and --rank-table-file: use only one of the two.")
    if master is not None and device_num == 1:
        raise AdlError("--master: device_num is 1; a process without others meets nobody.")
    if loopback and not master:
        raise AdlError("--loopback: says what --master is; give both.")
    if rank_table and device_target != "Ascend":
        raise AdlError("--rank-table-file needs device_target Ascend.")
    if rank_table and first_device:
        raise AdlError("--device-id: the rank table names the devices.")
    check_first_device(first_device, device_target)
    ranks = share(device_num, node_rank, nodes)
    if rank_table:
        # As many devices on each node, ranks in order; ID stands for each device.
        device_of = dict.fromkeys(ranks, "ID")
        if rank_table.exists() or not dry:
            device_of = _read_rank_table(rank_table, device_num, node_rank)
        return _from_rank_table(rank_table, device_num, device_of)
    if device_num == 1:
        return local(first_device=first_device)
    host, port = "127.0.0.1", free_port()
    if master is not None:
        host, port = address.scheduler(master, nodes=nodes, on_loopback=loopback)
    return _cluster(device_num, host, port, ranks, first_device)


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


def _place(rank: int, size: int, device: int | str) -> dict[str, str]:
    """What `world.from_environment` reads."""
    return {world.RANK: str(rank), world.WORLD_SIZE: str(size), world.DEVICE: str(device)}


def _timeouts() -> dict[str, str]:
    """How many seconds a rank waits for the others, which drift apart while one compiles, saves or evaluates."""
    wait = {
        "MS_CPU_COMM_OP_TIMEOUT": "600",
        "HCCL_CONNECT_TIMEOUT": "1800",
        "HCCL_EXEC_TIMEOUT": "1800",
    }
    return {name: os.environ.get(name, seconds) for name, seconds in wait.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
