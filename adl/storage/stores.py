"""A folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk."""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from adl.artifacts import replacing
from adl.errors import DISK_FULL, AdlError

T = TypeVar("T")
Told = Callable[[int], None]
"""Called with the number of bytes that were copied since the last call; it may raise to end the copy."""

ATTEMPTS = 5
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
CONNECT_TIMEOUT, READ_TIMEOUT = 10, 60
"""Seconds without an answer, and without another byte, after which an attempt has failed. A slow copy is no failure."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"


_FINAL = (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError)
"""What another attempt would meet again."""


class Abandoned(Exception):  # noqa: N818 (no error)
    """Raised by `told` to end a copy for good."""


class Entry(NamedTuple):
    """A file in a store. version: another one with other content; empty where the store does not tell."""

    bytes: int
    version: str


class Backend(Protocol):
    """How files are listed and copied. Paths are whole: bucket and key, or a URL."""

    transient: tuple[type[Exception], ...]
    """What may be gone at the next attempt."""

    def find(self, root: str) -> dict[str, Entry]:
        """Every file at or below `root`; none if it does not exist."""

    def get(self, source: str, target: Path, told: Told) -> None: ...

    def put(self, source: Path, target: str, told: Told) -> None: ...

    def remove(self, path: str) -> None: ...


class Store:
    """Every method repeats what fails for a passing reason, and raises AdlError once it gives up."""

    def __init__(self, url: str, backend: Backend, root: str) -> None:
        self.url = url.rstrip("/")
        self.backend = backend
        self.root = root.rstrip("/")

    def find(self, name: str = "") -> dict[str, Entry]:
        """The files at or below a name, by their names in this store."""
        place = self._place(name)
        found = self._attempt(name, lambda: self.backend.find(place))
        # A console makes empty objects that stand for folders.
        files = {path: entry for path, entry in found.items() if not path.endswith("/")}
        return {
            path[len(self.root) :].lstrip("/"): entry
            for path, entry in files.items()
            if path == place or path.startswith(f"{place.rstrip('/')}/")
        }

    def get(self, name: str, target: Path, entry: Entry, told: Told) -> None:
        """Copy a file here; it appears whole or not at all."""

        def copy(told: Told) -> None:
            with replacing(target) as temporary:
                self.backend.get(self._place(name), temporary, told)
                copied = temporary.stat().st_size if temporary.exists() else 0
                if copied != entry.bytes:
                    raise ConnectionError(f"{copied} of {entry.bytes} bytes came")

        self._attempt(name, lambda: _taken_back_if_it_fails(copy, told))

    def put(self, source: Path, name: str, told: Told = lambda n: None) -> None:
        """Copy a file there. S3 shows an object only when all of it has come."""

        def copy(told: Told) -> None:
            self.backend.put(source, self._place(name), told)

        self._attempt(name, lambda: _taken_back_if_it_fails(copy, told))

    def remove(self, name: str) -> None:
        self._attempt(name, lambda: self.backend.remove(self._place(name)))

    def _place(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _attempt(self, name: str, action: Callable[[], T]) -> T:
        where = f"{self.url}/{name}" if name else self.url
        for number in range(1, ATTEMPTS + 1):
            try:
                return action()
            except Abandoned:
                raise
            except _FINAL as error:
                raise _refusal(where, error) from None
            except self.backend.transient as error:
                if getattr(error, "errno", None) in DISK_FULL:
                    raise
                reason = str(error) or type(error).__name__
                if number == ATTEMPTS:
                    raise AdlError(
                        f"{where}: given up after {ATTEMPTS} attempts ({reason}). Run the same command again."
                    ) from None
                pause = PAUSE * 2 ** (number - 1)
                print(f"warning: {where}: {reason}; again in {pause:g} s", flush=True)
                time.sleep(pause)
        raise AssertionError("unreachable")


def _taken_back_if_it_fails(copy: Callable[[Told], None], told: Told) -> None:
    """Copy; what was told of a copy that failed is told again with the other sign."""
    so_far = 0

    def count(n: int) -> None:
        nonlocal so_far
        so_far += n
        told(n)

    try:
        copy(count)
    except BaseException:
        told(-so_far)
        raise


def _refusal(where: str, error: Exception) -> AdlError:
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AdlError(f"{where}: {error}. Set {CREDENTIALS}.")
    if isinstance(error, PermissionError):
        return AdlError(f"{where}: access is refused ({error}). Check {CREDENTIALS}.")
    return AdlError(f"{where}: does not exist ({error}). Check the bucket and the path.")


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

    def get(self, source: str, target: Path, told: Told) -> None:
        self.system.get_file(source, str(target), callback=_Telling(told))

    def put(self, source: Path, target: str, told: Told) -> None:
        self.system.makedirs(target.rpartition("/")[0], exist_ok=True)
        self.system.put_file(str(source), target, callback=_Telling(told))

    def remove(self, path: str) -> None:
        self.system.rm_file(path)


class S3(Files):
    """A bucket. endpoint: None for that of AWS, or the one that botocore's own settings name."""

    def __init__(self, endpoint: str | None) -> None:
        host = urlsplit(endpoint or "").hostname or ""
        system = S3FileSystem(
            endpoint_url=endpoint,
            client_kwargs={"region_name": region} if (region := region_of(host)) else {},
            config_kwargs={
                # What Huawei's documentation of OBS asks for; other S3 take it as well.
                "signature_version": "s3v4",
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "virtual" if has_name(host) else "auto"},
                # One layer of attempts is enough.
                "retries": {"total_max_attempts": 1},
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": READ_TIMEOUT,
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        system.retries = 1
        super().__init__(system)

    def put(self, source: Path, target: str, told: Told) -> None:
        # Unlike a folder, a bucket is not made on the way.
        self.system.put_file(str(source), target, callback=_Telling(told))


def has_name(host: str) -> bool:
    """Is it a domain below which each bucket has a name of its own? OBS refuses the other way on its domains."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." in host
    return False


def region_of(host: str) -> str | None:
    """The region that the name of an OBS endpoint states."""
    match = re.fullmatch(r"obs\.([a-z0-9-]+)\.[a-z0-9.-]+", host)
    return match[1] if match else None


class _Telling(Callback):
    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told = told

    def relative_update(self, inc: int = 1) -> None:
        self.told(inc)


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

    def get(self, source: str, target: Path, told: Told) -> None:
        self.file.copy(source, str(target))
        told(target.stat().st_size)

    def put(self, source: Path, target: str, told: Told) -> None:
        self.file.copy(str(source), target)
        told(source.stat().st_size)

    def remove(self, path: str) -> None:
        self.file.remove(path)


def open_store(url: str, endpoint: str | None = None) -> Store:
    """The store that a URL names: obs:// and s3:// a bucket, anything without a scheme a folder of this machine.

    endpoint: URL of the S3 service; with moxing it is not needed. Raises AdlError if the URL cannot be one.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise AdlError(
            f"{parts.scheme}://…@{parts.hostname}: leave the credentials out of the URL, which logs show. Set "
            f"{CREDENTIALS}."
        )
    if parts.scheme in ("obs", "s3") and parts.netloc:
        if importlib.util.find_spec("moxing"):
            return Store(url, Moxing(), f"obs://{parts.netloc}{parts.path}")
        return Store(url, S3(endpoint), f"{parts.netloc}{parts.path}")
    if parts.scheme or not url:
        raise AdlError(
            f"{url or 'an empty URL'}: expected obs://BUCKET/PATH, s3://BUCKET/PATH or a folder."
        )
    return Store(url, Files(LocalFileSystem()), str(Path(url).absolute()))
