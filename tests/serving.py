"""`adl serve` as a process of its own, and a client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.conftest import ROOT


class Served:
    """A server that is ready. log: what it printed, which grows."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.log = process, []
        for line in process.stdout:
            self.log.append(line)
            if found := re.search(r"at (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise AssertionError("".join(self.log))
        self.address = urlsplit(self.url).netloc
        threading.Thread(target=lambda: self.log.extend(process.stdout), daemon=True).start()

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
