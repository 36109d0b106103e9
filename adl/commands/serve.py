"""a web page, on this machine, that segments the photographs dropped on it

reads:  a checkpoint or an exported file with its sidecar, its score; the val images of data_path, if there are any
writes: nothing: pictures stay in memory until they are answered

POST /api/predict answers in JSON; /openapi.json describes it. One picture is segmented at a time, the others wait.
Only this machine can reach it, unless --host names an address that others can reach: there is no password.

example: adl serve --model models/autodeeplab.mindir --port 8080
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from adl.commands.predict import (
    add_model_arguments,
    add_size_arguments,
    choose_model,
    load_predictor,
)
from adl.config import params
from adl.errors import AdlError
from adl.workspace import PARAMS

if TYPE_CHECKING:
    from adl.predict.serve.segmenter import Segmenter

RETURNS = "returns 0 when it is stopped (Ctrl-C), 2 for an error that you can fix (one message names it)"


def add(command: argparse.ArgumentParser) -> None:
    add_model_arguments(command)
    add_size_arguments(command)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    command.add_argument("--port", type=int, default=8000, help="0: any that is free; default: %(default)s")
    command.add_argument(
        "--public-name",
        type=public_name,
        action="append",
        default=[],
        metavar="NAME",
        help="name under which browsers reach it through a reverse proxy, with its port if the address bar shows one "
        "(segment.example.org, example.org:8443); may be given several times",
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.predict.serve import server
    from adl.predict.serve.queue import Queue

    choose_model(arguments)
    with server.listen(arguments.host, arguments.port) as listening:
        is_open = not ipaddress.ip_address(listening.getsockname()[0]).is_loopback
        if is_open:
            print(
                f"warning: --host {arguments.host}: whoever can reach this machine can use the page; there is no "
                "password.",
                file=sys.stderr,
            )
        # At most 32 pictures, of at most 20 MB each, wait or are at work; as many bytes more may be on their way.
        queue = Queue(32)
        segmenter = queue.submit(load, arguments).result()

        from adl.predict.serve.app import App
        from adl.predict.serve.guard import Guard

        guarded = Guard(
            App(segmenter, queue, file=arguments.model, images=images()),
            arguments.host,
            is_open=is_open,
            public_names=arguments.public_name,
        )
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO)
        print(
            f"serving {arguments.model} at {', '.join(server.urls(arguments.host, listening))} (Ctrl-C ends it)",
            flush=True,
        )
        server.Server(guarded, queue).run([listening])
    if queue.running:
        # Python would wait for the thread, and the thread for the network.
        sys.stdout.flush()
        os._exit(0)


def public_name(text: str) -> str:
    """The type of --public-name: a host, and perhaps its port."""
    found = re.fullmatch(r"([\w.-]+|\[(?P<ipv6>[\da-fA-F:.]+)\])(:\d+)?", text)
    with contextlib.suppress(ValueError):
        if found and ipaddress.IPv6Address(found["ipv6"] or "::"):
            return text
    raise AdlError(
        f"--public-name: {text!r} is no name; write what stands between // and the next / in the address bar, such as "
        "segment.example.org or example.org:8443."
    )


def load(arguments: argparse.Namespace) -> Segmenter:
    """The model. To be run in the thread that uses it."""
    import numpy as np

    from adl.predict.serve.segmenter import Segmenter

    predictor = load_predictor(arguments)
    # The first visitor should not wait for what is done once, such as compilation.
    predictor(np.zeros((params.SMALLEST_SIDE, params.SMALLEST_SIDE, 3), np.uint8))
    return Segmenter(predictor, predictor.dataset)


def images() -> dict[str, Path]:
    """Name → file of each val image, which the page offers; none without params.yaml, or where its data are missing."""
    if not PARAMS.exists():
        return {}
    from adl.prepare import layout

    p = params.load()

    return layout.Split(Path(p.data_path), "val", p.descriptor).images
