"""Two machines on this one: network namespaces, joined by a switch that a test can unplug.

A namespace lives as long as a process in it. All of them end with the test's process, however that ends: nothing stays.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from adl.parallel.lifetime import tied

ADDRESSES = ("10.77.0.1", "10.77.0.2")
_HOLD = ("sh", "-c", "echo ready; exec sleep infinity")


class Refused(Exception):  # noqa: N818 (no error)
    """This system does not let us make a namespace or a link."""


class Machines:
    """Two machines with the same files and a network of their own each."""

    def __init__(self, switch: Namespace, nodes: Sequence[Namespace]) -> None:
        self.switch, self.nodes = switch, nodes

    def command(self, node: int, command: Sequence[str]) -> list[str]:
        """The command on that machine, tied to this process."""
        return self.nodes[node].command(tied(command))

    def plug(self) -> None:
        self.switch.ip("link", "set", "switch", "up")

    def unplug(self) -> None:
        """Between the two: each has its own end of the cable still, and hears nothing any more."""
        self.switch.ip("link", "set", "switch", "down")


class Namespace:
    """A network namespace. pid: the process that holds it; enter: options with which others enter it."""

    def __init__(self, pid: int, enter: Sequence[str]) -> None:
        self.pid, self.enter = pid, enter

    def command(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "--target", str(self.pid), *self.enter, "--net", *command]

    def ip(self, *arguments: str) -> None:
        _run(self.command(["ip", *arguments]))


@contextlib.contextmanager
def two_machines() -> Iterator[Machines]:
    """Skips the test where the system refuses."""
    with contextlib.ExitStack() as stack:
        try:
            machines = _joined(stack)
        except Refused as refused:
            pytest.skip(f"no network namespaces here: {refused}")
        yield machines


def _joined(stack: contextlib.ExitStack) -> Machines:
    switch = _switch(stack)
    switch.ip("link", "add", "switch", "type", "bridge")
    nodes = []
    for number, address in enumerate(ADDRESSES):
        node = _held(stack, switch.command(["unshare", "--net", *tied(_HOLD)]), switch.enter)
        port = f"port{number}"
        cable = ("link", "add", port, "type", "veth", "peer", "name", "eth0")
        switch.ip(*cable, "netns", str(node.pid))
        switch.ip("link", "set", port, "master", "switch", "up")
        node.ip("link", "set", "lo", "up")
        node.ip("address", "add", f"{address}/24", "dev", "eth0")
        node.ip("link", "set", "eth0", "up")
        nodes.append(node)
    machines = Machines(switch, nodes)
    machines.plug()
    return machines


def _switch(stack: contextlib.ExitStack) -> Namespace:
    """In a user namespace, which needs no rights; where there are none, as root."""
    as_user = ["unshare", "--user", "--map-root-user", "--net", *tied(_HOLD)]
    try:
        return _held(stack, as_user, ("--user", "--preserve-credentials"))
    except Refused as refused:
        try:
            return _held(stack, ["unshare", "--net", *tied(_HOLD)], ())
        except Refused as as_root:
            raise Refused(f"{refused}; {as_root}") from None


def _held(stack: contextlib.ExitStack, command: Sequence[str], enter: Sequence[str]) -> Namespace:
    """The namespace that the command makes and holds."""
    try:
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError as error:
        raise Refused(f"there is no program {error.filename}") from None
    stack.enter_context(holder)  # waits, and closes the pipes
    stack.callback(holder.kill)
    assert holder.stdout is not None
    assert holder.stderr is not None
    if holder.stdout.readline() != "ready\n":
        raise Refused(holder.stderr.read().strip())
    return Namespace(holder.pid, enter)


def _environment() -> dict[str, str]:
    """Ours, with the folder of `ip`, which only root has in the path on some systems."""
    return os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        raise Refused(f"there is no program {error.filename}") from None
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
