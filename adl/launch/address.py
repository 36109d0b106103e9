"""Where the ranks of several nodes meet: the scheduler's address and port, as a person writes them."""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket

from adl.errors import AdlError


class NoAddressError(AdlError):
    """Of a machine whose name has no address now."""


def port(text: str) -> int:
    """The type of an option that takes a port to which others connect."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; they go from 1 to 65535")
    return number


def scheduler(master: str, *, nodes: int, on_loopback: bool) -> tuple[str, int]:
    """The address as a number, which MindSpore wants, and the port of HOST:PORT. Raises AdlError.

    on_loopback: all nodes are this machine, which must be so if the address cannot be reached from another one.
    """
    form = re.fullmatch(r"(?:\[([^\[\]\s]+)\]|([^\[\]\s:/]+)):([0-9]+)", master)
    if not form:
        raise AdlError(f"--master: {master} is not HOST:PORT, such as 10.0.0.1:8118 or [fd00::1]:8118.")
    try:
        number = port(form[3])
    except argparse.ArgumentTypeError as error:
        raise AdlError(f"--master: {error}.") from None
    host = form[1] or form[2]
    address = resolved(host, "--master")
    shown = host if host == str(address) else f"{host} is {address}, which"
    if address.is_unspecified or address.is_multicast:
        raise AdlError(f"--master: {shown} is no address of a machine; use that of node 0.")
    if address.is_loopback and nodes > 1 and not on_loopback:
        raise AdlError(
            f"--master: {shown} can be reached from this machine only; use an address that the other nodes reach, or "
            "--loopback to try several nodes on one machine."
        )
    if on_loopback and not address.is_loopback:
        raise AdlError(f"--loopback: {shown} is no loopback address; leave it out.")
    return str(address), number


def resolved(host: str, where: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address of a machine. where: what names it. Raises AdlError; NoAddressError if it may have one later."""
    if "%" in host:
        raise AdlError(f"{where}: {host} has a scope, which holds on one machine only; use an address without.")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoAddressError(f"{where}: {host} has no address ({error}); use that of node 0, as a number.") from None
    # IPv4 before IPv6.
    *_, place = min(found, key=lambda address: address[0])
    first = ipaddress.ip_address(place[0])
    if str(first) != host and host.replace(".", "").isdecimal():
        raise AdlError(f"{where}: {host} is no whole address; write it as in 10.0.0.1.")
    return first
