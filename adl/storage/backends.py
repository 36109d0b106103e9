"""How files are listed and copied: in a bucket of OBS or of another S3, by moxing, in a folder."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp
from botocore.exceptions import BotoCoreError
from fsspec.asyn import sync_wrapper
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from adl.artifacts import replacing

Tell = Callable[[int], None]
"""Called with the number of bytes that were copied since the last call; it may raise to end the copy."""

CONNECT_TIMEOUT, READ_TIMEOUT = 10, 30
"""Seconds without an answer, and without another byte, after which a request has failed. A slow copy is no failure."""
PART = 2**24
"""Bytes that are sent at a time: a copy that is no longer wanted ends after those."""
_MOST_PARTS = 10_000
REQUESTS = 3
"""How often a request is sent, or a file that broke off goes on where it did, within one attempt."""


class Abandoned(Exception):  # noqa: N818 (not an error)
    """Raised by `tell` to end a copy for good."""


class Entry(NamedTuple):
    """A file in a store. version: changes when the content does; empty if the store has none."""

    bytes: int
    version: str


class Backend(Protocol):
    """How files are listed and copied. Paths are whole: bucket and key, or a URL."""

    transient: tuple[type[Exception], ...]
    """Errors that are worth a retry."""

    def find(self, root: str) -> dict[str, Entry]:
        """Every file at or below `root`; none if it does not exist."""

    def get(self, source: str, target: Path, tell: Tell) -> None: ...

    def put(self, source: Path, target: str, tell: Tell) -> None: ...

    def remove(self, path: str) -> None:
        """Nothing happens if it does not exist."""


class Files:
    """Any file system of fsspec."""

    transient: tuple[type[Exception], ...] = (
        OSError,
        TimeoutError,
        BotoCoreError,
        aiohttp.ClientError,
    )

    def __init__(self, system: Any) -> None:
        self.system = system

    def find(self, root: str) -> dict[str, Entry]:
        return {
            path: Entry(info["size"], str(info.get("ETag") or info.get("mtime") or ""))
            for path, info in self.system.find(root, detail=True).items()
        }

    def get(self, source: str, target: Path, tell: Tell) -> None:
        self.system.get_file(source, str(target), callback=_Callback(tell))

    def put(self, source: Path, target: str, tell: Tell) -> None:
        self.system.put_file(str(source), target, callback=_Callback(tell))

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.system.rm_file(path)


class Folder(Files):
    """A folder of this machine, or one that is mounted here. fsspec tells nothing while it copies there."""

    def __init__(self) -> None:
        super().__init__(LocalFileSystem())

    def get(self, source: str, target: Path, tell: Tell) -> None:
        shutil.copyfile(source, target)
        tell(target.stat().st_size)

    def put(self, source: Path, target: str, tell: Tell) -> None:
        with replacing(Path(target)) as temporary:
            shutil.copyfile(source, temporary)
        tell(source.stat().st_size)


class S3(Files):
    """A bucket. endpoint: None for that of AWS, or the one that botocore's own settings name."""

    def __init__(self, endpoint: str | None) -> None:
        host = urlsplit(endpoint or "").hostname or ""
        system = _System(
            endpoint_url=endpoint,
            client_kwargs={"region_name": region} if (region := region_of(host)) else {},
            config_kwargs={
                # What OBS asks for (deploy/obs.config says where that is documented); other S3 take it as well.
                "signature_version": "s3v4",
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {
                    "addressing_style": "virtual" if host.startswith("obs") else "auto",
                    "payload_signing_enabled": False,
                },
                # s3fs repeats requests, as often as is set below; botocore must not multiply that.
                "retries": {"total_max_attempts": 1},
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": READ_TIMEOUT,
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        system.retries = REQUESTS
        super().__init__(system)

    def get(self, source: str, target: Path, tell: Tell) -> None:
        # One part after the other: s3fs resumes a file that breaks off, but not one that comes in parts at once.
        self.system.get_file(source, str(target), callback=_Callback(tell), max_concurrency=1)

    def put(self, source: Path, target: str, tell: Tell) -> None:
        # s3fs holds every part in memory, and each further connection slows the others on a narrow line.
        part = max(PART, math.ceil(source.stat().st_size / _MOST_PARTS))
        self.system.put_file(
            str(source), target, callback=_Callback(tell), chunksize=part, max_concurrency=1
        )


class _System(S3FileSystem):
    """s3fs without what it does wrong for us."""

    def split_path(self, path: str) -> tuple[str, str, None]:
        """The bucket and the key as they stand; s3fs takes the end of a key that holds ?versionId= for a version."""
        bucket, _, key = path.partition("/")
        return bucket, key, None

    async def set_session(self, **options: Any) -> Any:
        client = await super().set_session(**options)
        client.meta.events.register_last("before-parameter-build.s3", _ask_once, unique_id="adl")
        return client

    connect = sync_wrapper(set_session)


def _ask_once(model: Any, context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from asking for a bucket's region in order to ask for its region, and so on.

    It does so, without an end, where neither a redirection nor the answer to that question names a region.
    """
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


def region_of(host: str) -> str | None:
    """The region that the name of an OBS endpoint states."""
    match = re.fullmatch(r"obs\.([a-z0-9-]+)\.[a-z0-9.-]+", host)
    return match[1] if match else None


class _Callback(Callback):
    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self.tell = tell

    def relative_update(self, inc: int = 1) -> None:
        self.tell(inc)


class Moxing:
    """ModelArts' own library, which knows the job's credentials. It tells no versions; its errors are of any kind."""

    transient: tuple[type[Exception], ...] = (Exception,)

    def __init__(self) -> None:
        self.file = importlib.import_module("moxing").file

    def find(self, root: str) -> dict[str, Entry]:
        if not self.file.exists(root):
            return {}
        if not self.file.is_directory(root):
            return {root: Entry(self.file.get_size(root), "")}
        found = {}
        for folder, _, names in self.file.walk(root):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                found[path] = Entry(self.file.get_size(path), "")
        return found

    def get(self, source: str, target: Path, tell: Tell) -> None:
        self.file.copy(source, str(target))
        tell(target.stat().st_size)

    def put(self, source: Path, target: str, tell: Tell) -> None:
        self.file.copy(str(source), target)
        tell(source.stat().st_size)

    def remove(self, path: str) -> None:
        if self.file.exists(path):
            self.file.remove(path)
