"""`adl serve` as a process of its own, a client for it, and pictures to send."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
from PIL import Image

from adl.predict.serve import server
from adl.predict.serve.app import App
from adl.predict.serve.guard import Guard
from adl.predict.serve.queue import Queue
from adl.predict.serve.segmenter import Segmenter
from tests.conftest import ROOT
from tests.data import CITYSCAPES, huge_png, write_scenes


class Client:
    """Asks a server. address: its host and port."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, method: str, path: str, body=None, **headers: str) -> tuple[int, dict, bytes]:
        """Status, headers and content of an answer. Underscores in names of headers stand for hyphens."""
        connection = http.client.HTTPConnection(self.address, timeout=120)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def get(self, path: str, **headers: str):
        status, _, content = self.ask("GET", path, **headers)
        assert status == 200, content
        return json.loads(content)

    def predict(self, body, path: str = "/api/predict", **headers: str) -> tuple[int, dict]:
        status, _, content = self.ask("POST", path, body, **headers)
        return status, json.loads(content)

    @contextlib.contextmanager
    def connected(self, sent: bytes = b"") -> Iterator[socket.socket]:
        """A connection on which no more than this was sent."""
        with socket.create_connection(tuple(self.address.split(":")), timeout=60) as connection:
            connection.sendall(sent)
            yield connection

    @contextlib.contextmanager
    def sending(self, stated: int, content: bytes = b"", **headers: str) -> Iterator[socket.socket]:
        """A picture on its way: of this length, and no more was sent of it. headers: as in `ask`."""
        lines = {"Host": self.address, "Content-Length": str(stated)} | headers
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
        with self.connected(f"POST /api/predict HTTP/1.1\r\n{head}\r\n".encode() + content) as one:
            yield one


def answer_of(connection: socket.socket) -> tuple[int, dict]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Served(Client):
    """`adl serve` when it is ready. log: what it printed, which grows."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.log = process, []
        for line in process.stdout:
            self.log.append(line)
            if found := re.search(r"at (http://[^\s,]+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError("".join(self.log))
        super().__init__(urlsplit(self.url).netloc)
        threading.Thread(target=lambda: self.log.extend(process.stdout), daemon=True).start()


class Running(Client):
    """A server with everything but a network, in a thread of its own."""

    def __init__(self, predict, **settings) -> None:
        listening = server.listen("127.0.0.1", 0)
        self.server = serving(predict, **settings)
        self.queue = self.server.queue
        self.thread = threading.Thread(target=asyncio.run, args=[self.server.serve([listening])])
        self.thread.start()
        super().__init__(f"127.0.0.1:{listening.getsockname()[1]}")

    def end(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)


def serving(predict, *, most: int = 4, file: Path = Path("m.onnx"), **guard) -> server.Server:
    """predict: in place of a predictor. file: said to be the model's. guard: further arguments of `Guard`."""
    queue = Queue(most)
    app = App(Segmenter(predict, CITYSCAPES), queue, file=file, images={})
    guarded = Guard(app, "127.0.0.1", **{"is_open": False} | guard)
    return server.Server(guarded, queue)


def all_road(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape[:2], np.uint8)


@contextlib.contextmanager
def running(predict=all_road, **settings) -> Iterator[Running]:
    """For as long as the block lasts. settings: of `serving`."""
    one = Running(predict, **settings)
    try:
        yield one
    finally:
        one.end()
        one.thread.join(60)


class Held:
    """A predictor that begins, and then waits to be released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        assert self.released.wait(60)
        return all_road(image)


def start(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "adl.commands", "serve", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def served(model: Path, *arguments: object, cwd: Path, **environment: str) -> Iterator[Served]:
    process = start("--model", model, "--port", 0, *arguments, cwd=cwd, **environment)
    try:
        yield Served(process)
    finally:
        process.kill()
        process.wait()


def serving_folder(folder: Path) -> Path:
    """Two val images, and the params.yaml that names them."""
    write_scenes(folder / "raw", val=2)
    text = (ROOT / "params.yaml").read_text()
    changed = re.sub("^data_path: .*", f"data_path: {folder}/raw", text, flags=re.MULTILINE)
    (folder / "params.yaml").write_text(changed)
    if not (folder / "datasets").exists():
        (folder / "datasets").symlink_to(ROOT / "datasets")
    return folder


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))


def encoded(picture: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(smooth(40, 40, seed)) for seed in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def header_of(width: int, height: int) -> bytes:
    """A PNG that states a size, and has no pixels."""
    content = bytearray(huge_png())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)
