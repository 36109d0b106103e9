"""The program around the application: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from adl.deploy.serve.queue import Queue
from adl.errors import AdlError

GRACE_SECONDS = 3
"""That the picture at work gets to be finished when the server is asked to end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a busy port is noticed before a model is loaded. port: 0 takes any that is free.

    Raises AdlError if the address cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise AdlError(f"--port: {port} is no port; they go from 0 (any that is free) to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AdlError(
                f"--port: {port} is in use on {host}. End what uses it, or take another, or 0 for any that is free."
            ) from None
        raise AdlError(
            f"--host {host}, --port {port}: cannot be listened on ({error.strerror}). Name an address of this machine "
            "and a port from 1024 on."
        ) from None


def is_loopback(listening: socket.socket) -> bool:
    """Can only this machine reach it?"""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def url(host: str, listening: socket.socket) -> str:
    """Where a browser finds the page."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


class Server(uvicorn.Server):
    """uvicorn that says when it is ready, ends within a bounded time, and then returns.

    ready: called once connections are answered.
    """

    def __init__(self, app: ASGIApp, queue: Queue, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS + 2,
            )
        )
        self.queue, self.ready = queue, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The second signal does not wait. uvicorn would raise the signal again at its end: exit 143 instead of 0."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.queue.close()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self.queue.abandon)
        await super().shutdown(sockets)
