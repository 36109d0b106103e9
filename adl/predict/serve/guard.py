"""Who may ask: only this server's own page, and programs that are no browser."""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: nothing is loaded from elsewhere, shown inside another page, or kept by the browser."""


class Guard:
    """An application behind the checks.

    A web page elsewhere could otherwise use the visitor's browser to reach a server that only the visitor can reach:
    directly, with an Origin that is not ours, or by giving a name of its own to our address (DNS rebinding).

    host: what the server is bound to. is_open: other machines reach it too. Then any IP address will do as a name: the
    server does not know all of its own, and rebinding needs a name that can be bound anew. public_names: by which
    others reach it through a reverse proxy, with a port where their browsers show one.
    """

    def __init__(self, app: ASGIApp, host: str, *, is_open: bool, public_names: Iterable[str] = ()) -> None:
        self.app, self.is_open = app, is_open
        self.public_origins = {name.lower() for name in public_names}
        self.names = {
            "localhost",
            "127.0.0.1",
            "::1",
            host.lower(),
            *map(_name, self.public_origins),
        }
        if is_open:
            machine = socket.gethostname().lower()
            self.names |= {machine, f"{machine}.local", socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                if scope["path"] == "/api/predict":  # one short line, and nothing of its owner's
                    logging.info(
                        "predict: %d after %.0f ms",
                        message["status"],
                        1000 * (time.perf_counter() - began),
                    )
            await send(message)

        app = self.app
        if reason := self._refusal(scope["method"], Headers(scope=scope)):
            app = JSONResponse({"detail": reason}, 403)
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is not answered; None: it is."""
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            return (
                "The server does not answer to this name. Use an address that it printed when it started; behind a "
                "reverse proxy, start it with --public-name and this name."
            )
        origin = headers.get("origin", f"http://{host}").lower()
        is_own_origin = origin.partition("://")[2] in {host, *self.public_origins}
        # A link on another page may lead here.
        may_be_linked = method in ("GET", "HEAD")
        is_own_page = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        if is_own_origin and (may_be_linked or is_own_page):
            return None
        return (
            "Requests from other web pages are refused. Open this server's own page, or use a program. Behind a "
            "reverse proxy, start the server with --public-name and the name in the page's address."
        )

    def _is_own(self, host: str) -> bool:
        try:
            name = _name(host)
            return name in self.names or (self.is_open and bool(ipaddress.ip_address(name)))
        except ValueError:
            return False


def _name(host: str) -> str:
    """A host without its port. Raises ValueError if it is none."""
    return urlsplit(f"//{host}").hostname or ""
