"""The program around the application: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import itertools
import signal
import socket
from types import FrameType

import psutil
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from adl.errors import AdlError
from adl.predict.serve.queue import Queue

GRACE_SECONDS = 3
"""That the picture at work gets to be finished when the server is asked to end."""
IDLE_SECONDS = 10
"""In which a connection begins its first request, or its next."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a busy port is noticed before a model is loaded. port: 0 takes any that is free.

    Raises AdlError if the address cannot be had.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OverflowError:
        raise AdlError(f"--port: {port} is no port; they go from 0 (any that is free) to 65535.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AdlError(
                f"--port: {port} is in use on {host}. End what uses it, or take another, or 0 for any that is free."
            ) from None
        raise AdlError(
            f"--host {host}, --port {port}: cannot be listened on ({error.strerror}). Name an address of this machine "
            "and a port from 1024 on."
        ) from None


def urls(host: str, listening: socket.socket) -> list[str]:
    """Where a browser finds the page: first on this machine, then on others where every address is bound."""
    own, form = "127.0.0.1", "http://{}:{}"
    if listening.family == socket.AF_INET6:
        own, form = "::1", "http://[{}]:{}"
    bound, port = listening.getsockname()[:2]
    hosts = [host]
    if ipaddress.ip_address(bound).is_unspecified:
        hosts = [own]
        for one in itertools.chain(*psutil.net_if_addrs().values()):
            if one.family == listening.family:
                address = ipaddress.ip_address(one.address)
                if not (address.is_loopback or address.is_link_local):
                    hosts.append(one.address)
    return [form.format(one, port) for one in hosts]


class Connection(H11Protocol):
    """uvicorn's, which has time for each request to begin, but waits for a connection's first one for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """A request stops the clock; in uvicorn any byte of its header does."""
        self.conn.receive_data(data)
        self.handle_events()


class Server(uvicorn.Server):
    """uvicorn that ends within a bounded time, and then returns."""

    def __init__(self, app: ASGIApp, queue: Queue) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                # Of those who do not take their answer.
                timeout_graceful_shutdown=3 * GRACE_SECONDS,
            )
        )
        self.queue = queue

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Until a signal comes: SIGHUP too, unless it is ignored, as under nohup."""
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self.handle_exit)
        super().run(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The second signal does not wait. uvicorn would raise the signal again at its end: exit 143 instead of 0.

        A terminal that is closed may send several SIGHUP.
        """
        self.force_exit |= self.should_exit and sig != signal.SIGHUP
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.queue.close()
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self.queue.abandon)
        await super().shutdown(sockets)
