"""What ModelArts says in a training job's environment: its nodes, which of them this is, and where OBS is.

Names and meanings are those of Huawei Cloud's "Managing Environment Variables of a Training Container".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from adl.errors import AdlError
from adl.files import read_json
from adl.launch import address

PORT = 8118
"""Port of MindSpore's scheduler on the first node; fixed, because every job has its own network address."""
LONGEST_WAIT = 600.0
"""Seconds that a node waits for the name of the first one, and for a complete rank table."""


class Node(NamedTuple):
    """This node of the job.

    nodes: how many there are. rank: the number of this one. devices: on each; 0 where there is no accelerator. hosts:
    the names of the nodes. port: of MindSpore's scheduler on the first one. rank_table: names all devices, if ModelArts
    wrote one that MindSpore can read.
    """

    nodes: int = 1
    rank: int = 0
    devices: int = 0
    hosts: Sequence[str] = ()
    port: int = PORT
    rank_table: Path | None = None

    def arguments(self) -> list[str]:
        """Those of the stage `train`. Waits until the first node's name has an address."""
        arguments = ["--nodes", str(self.nodes), "--node-rank", str(self.rank)]
        if self.rank_table is not None:
            return [*arguments, "--rank-table-file", str(self.rank_table)]
        if self.nodes == 1:
            return []
        first = self.hosts[0]
        # MindSpore wants a number. A node may start before the names of the others are known.
        found = awaited(partial(address.resolved, first, "VC_WORKER_HOSTS"), LONGEST_WAIT)
        host = f"[{found}]" if found.version == 6 else str(found)
        arguments += ["--master", f"{host}:{self.port}"]
        # Written as a number, it is meant: a name that leads to loopback is a mistake.
        if found.is_loopback and str(found) == first:
            arguments.append("--loopback")
        return arguments


class NotYetError(AdlError):
    """Of what another node, or ModelArts itself, may still do."""


def awaited(ask: Callable[[], Any], timeout: float) -> Any:
    """What `ask` returns. It is asked again and again until it raises no NotYetError. timeout: seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return ask()
        except (NotYetError, address.NoAddressError):
            if time.monotonic() > deadline:
                raise
        time.sleep(2)


def endpoint() -> str | None:
    """URL of the object storage; None if no variable names one."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT"):
        url = os.environ.get(name)
        if url:
            return url if "://" in url else f"https://{url}"
    return None


def this_node(environment: Mapping[str, str] = os.environ, *, port: int = PORT) -> Node:
    """Raises AdlError if the variables contradict each other."""

    def number(name: str, default: int) -> int:
        text = environment.get(name) or str(default)
        if not text.isdecimal():
            raise AdlError(f"{name}: {text} is not a whole number.")
        return int(text)

    nodes = number("MA_NUM_HOSTS", number("VC_WORKER_NUM", 1))
    devices = number("MA_NUM_GPUS", 0)
    hosts = environment.get("VC_WORKER_HOSTS", "").replace(",", " ").split()
    if nodes != max(len(hosts), 1):  # a single node may go without a name
        raise AdlError(f"VC_WORKER_HOSTS: names {len(hosts)} hosts, but the job has {nodes} nodes (MA_NUM_HOSTS).")
    table = Path(environment.get("RANK_TABLE_FILE", ""))
    servers = []
    if devices and table.is_file():
        servers = awaited(partial(_servers, table), LONGEST_WAIT)
    rank = number("VC_TASK_INDEX", nodes) if nodes > 1 else 0
    ours = {environment.get("MA_CURRENT_IP", ""), environment.get("MA_CURRENT_HOST_IP", "")}
    for position, server in enumerate(servers):
        if ours.intersection(map(server.get, ("server_id", "container_ip", "host_ip"))):
            rank = position
            break
    if rank >= nodes:
        raise AdlError(
            f"VC_TASK_INDEX: {environment.get('VC_TASK_INDEX') or 'not set'}, but the job has {nodes} nodes "
            "(MA_NUM_HOSTS). Set it to this node's number, from 0: without one, each would take itself for the first."
        )
    return Node(
        nodes=nodes,
        rank=rank,
        devices=devices,
        hosts=hosts,
        port=port,
        rank_table=table if servers else None,
    )


def _servers(table: Path) -> list[dict[str, Any]]:
    """The servers of a complete rank table; none if it is of the older form, which has no list of them."""
    try:
        content = read_json(table)
    except (OSError, ValueError) as error:
        raise AdlError(f"RANK_TABLE_FILE: {table} is no JSON ({error}).") from None
    status = content.get("status", "completed")
    if status != "completed":
        raise NotYetError(f"RANK_TABLE_FILE: {table} did not become complete: {status}.")
    return content.get("server_list") or []
