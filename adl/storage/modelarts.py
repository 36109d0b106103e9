"""What ModelArts tells a training job in its environment: its nodes, its place among them, and where OBS is.

Names and meanings are those of Huawei Cloud's "Managing Environment Variables of a Training Container".
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from adl.errors import AdlError, check
from adl.launch import address

PORT = 8118
"""Port of MindSpore's scheduler on the first node; fixed, because every job has its own network address."""
PATIENCE = 600.0
"""Seconds that a node waits for the name of the first one, and for a complete rank table."""
UNKNOWN = -1
"""Number of a node that no variable gives."""
_POLL = 1.0


@dataclasses.dataclass(frozen=True)
class Place:
    """This node's place in the job.

    devices: on each node; 0 where there is no accelerator. first: name of the first node, if there are several. port:
    of MindSpore's scheduler there. rank_table: names all devices, if ModelArts wrote one that MindSpore can read.
    """

    nodes: int = 1
    node_rank: int = 0
    devices: int = 0
    first: str | None = None
    port: int = PORT
    rank_table: Path | None = None

    def device_num(self, params_value: int) -> int:
        """Devices of the whole job; without accelerators, what params.yaml says."""
        return self.nodes * self.devices if self.devices else params_value

    def arguments(self) -> list[str]:
        """What the stage `train` is told. Waits until the first node's name has an address."""
        nodes = ["--nodes", str(self.nodes), "--node-rank", str(self.node_rank)]
        if self.rank_table is not None:
            return [*nodes, "--rank-table-file", str(self.rank_table)]
        if self.first is None:
            return []
        found = _address_of(self.first)
        host = f"[{found}]" if found.version == 6 else str(found)
        # Written as a number, it is meant: a name that leads to loopback is a mistake.
        loopback = ["--loopback"] if found.is_loopback and str(found) == self.first else []
        return [*nodes, "--master", f"{host}:{self.port}", *loopback]


def _address_of(host: str) -> IPv4Address | IPv6Address:
    """MindSpore wants a number. A node may start before the names of the others are known."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return address.resolved(host, "VC_WORKER_HOSTS")
        except address.NoAddressError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL)


def endpoint() -> str | None:
    """URL of the object storage; None if no variable names one."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT")
    url = next((os.environ[name] for name in names if os.environ.get(name)), None)
    return url if url is None or "://" in url else f"https://{url}"


def place(environment: Mapping[str, str] = os.environ, *, port: int = PORT) -> Place:
    """Raises AdlError if the variables contradict each other."""
    nodes = _number(environment, "MA_NUM_HOSTS", _number(environment, "VC_WORKER_NUM", 1))
    index = _number(environment, "VC_TASK_INDEX", UNKNOWN) if nodes > 1 else 0
    hosts = [host for host in environment.get("VC_WORKER_HOSTS", "").split(",") if host]
    devices = _number(environment, "MA_NUM_GPUS", 0)
    check(
        (nodes >= 1, f"MA_NUM_HOSTS: {nodes} nodes; at least 1."),
        (
            len(hosts) == nodes or (nodes == 1 and not hosts),
            f"VC_WORKER_HOSTS: names {len(hosts)} hosts, but the job has {nodes} nodes (MA_NUM_HOSTS).",
        ),
    )
    table = Path(environment.get("RANK_TABLE_FILE", ""))
    found = _server_of(table, environment, index) if devices and table.is_file() else None
    node_rank = index if found is None else found
    check(
        (
            node_rank != UNKNOWN,
            f"VC_TASK_INDEX: not set, but the job has {nodes} nodes (MA_NUM_HOSTS), each of which would take itself "
            "for the first. Set it to the node's number, from 0.",
        ),
        (node_rank < nodes, f"VC_TASK_INDEX: {node_rank} is none of the {nodes} nodes."),
    )
    return Place(
        nodes=nodes,
        node_rank=node_rank,
        devices=devices,
        first=hosts[0] if nodes > 1 else None,
        port=port,
        rank_table=None if found is None else table,
    )


def _server_of(table: Path, environment: Mapping[str, str], index: int) -> int | None:
    """This node's entry in the rank table; None if the table is of the older form, without a list of servers."""
    deadline = time.monotonic() + PATIENCE
    while (content := _rank_table(table)).get("status", "completed") != "completed":
        if time.monotonic() > deadline:
            raise AdlError(
                f"RANK_TABLE_FILE: {table} did not become complete: {content['status']}."
            )
        time.sleep(_POLL)
    servers = content.get("server_list")
    if not servers:
        return None
    ours = {environment.get(name) for name in ("MA_CURRENT_IP", "MA_CURRENT_HOST_IP")} - {None}
    for number, server in enumerate(servers):
        if ours & {server.get("server_id"), server.get("container_ip"), server.get("host_ip")}:
            return number
    return index


def _rank_table(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdlError(f"RANK_TABLE_FILE: {path} is no JSON ({error}).") from None


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise AdlError(f"{name}: {text} is not a whole number.")
    return int(text)
