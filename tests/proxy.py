"""A bad line: a TCP proxy that cuts, slows or swallows what a server answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

CHUNK = 1 << 16


class Line:
    """cut_after: bytes of an answer after which the connection is cut. cuts: how many connections, then none is.

    pause: seconds before each chunk of an answer; pause_there: of a request. silent: answers never come.
    answered: bytes of all answers so far.
    """

    def __init__(self, endpoint: str) -> None:
        server = urlsplit(endpoint)
        self.address = (server.hostname, server.port)
        self.cut_after, self.cuts, self.pause, self.silent = 0, 0, 0.0, False
        self.pause_there = 0.0
        self.connections = self.answered = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed: the test is over
                return
            self.connections += 1
            server = socket.create_connection(self.address)
            for target in (
                lambda c=client, s=server: self._pass(c, s, self._is_never_cut),
                lambda c=client, s=server: self._pass(s, c, self._is_cut),
            ):
                threading.Thread(target=target, daemon=True).start()

    def _is_never_cut(self, new: int, so_far: int) -> bool:
        time.sleep(self.pause_there)
        return False

    def _is_cut(self, new: int, so_far: int) -> bool:
        """Asked before the next chunk of an answer is passed on."""
        self.answered += new
        while self.silent:
            time.sleep(0.05)
        time.sleep(self.pause)
        if self.cuts and so_far > self.cut_after:
            self.cuts -= 1
            return True
        return False

    def _pass(self, source: socket.socket, target: socket.socket, is_cut: Callable[[int, int], bool]) -> None:
        so_far = 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK):
                so_far += len(chunk)
                if is_cut(len(chunk), so_far):
                    break
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def line_to(endpoint: str) -> Iterator[Line]:
    line = Line(endpoint)
    threading.Thread(target=line.serve, daemon=True).start()
    try:
        yield line
    finally:
        line.silent = False
        line.listener.close()
