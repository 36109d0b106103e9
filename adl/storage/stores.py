"""A folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError, PartialCredentialsError

from adl.artifacts import read_json, replacing, write_json
from adl.errors import DISK_FULL, AdlError
from adl.storage.backends import S3, Abandoned, Backend, Entry, Folder, Moxing, Tell

T = TypeVar("T")
ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"


_NOT_WORTH_A_RETRY = (
    FileNotFoundError,
    PermissionError,
    NoCredentialsError,
    PartialCredentialsError,
)
"""What another attempt would meet again."""


class Store:
    """Every method repeats what fails for a passing reason, and raises AdlError once it gives up."""

    def __init__(self, url: str, backend: Backend, root: str) -> None:
        self.url = url.rstrip("/")
        self.backend = backend
        self.root = root.rstrip("/")

    def find(self, name: str = "") -> dict[str, Entry]:
        """The files at or below a name, by their names in this store."""
        place = self._path(name)
        found = self._attempt(name, lambda: self.backend.find(place))
        # A console makes empty objects that stand for folders; a folder may hold what is only half written.
        files = {
            path: entry
            for path, entry in found.items()
            if not path.endswith("/") and "/.partial-" not in path
        }
        return {
            path[len(self.root) :].lstrip("/"): entry
            for path, entry in files.items()
            if path == place or path.startswith(f"{place.rstrip('/')}/")
        }

    def get(self, name: str, target: Path, entry: Entry, tell: Tell) -> None:
        """Copy a file here; it appears whole or not at all."""

        def copy(tell: Tell) -> None:
            tell(0)  # may say that the copy is no longer wanted
            with replacing(target) as temporary:
                self.backend.get(self._path(name), temporary, tell)
                copied = temporary.stat().st_size if temporary.exists() else 0
                if copied != entry.bytes:
                    raise ConnectionError(f"received {copied} of {entry.bytes} bytes")

        self._attempt(name, lambda: _uncounted_on_failure(copy, tell))

    def put(self, source: Path, name: str, tell: Tell = lambda n: None) -> None:
        """Copy a file there. S3 shows an object only when all of it has come."""

        def copy(tell: Tell) -> None:
            tell(0)
            self.backend.put(source, self._path(name), tell)

        self._attempt(name, lambda: _uncounted_on_failure(copy, tell))

    def read_json(self, name: str) -> Any | None:
        """What a small file holds; None if there is no such file."""
        entry = self.find(name).get(name)
        if entry is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            self.get(name, Path(folder) / "file.json", entry, lambda n: None)
            return read_json(Path(folder) / "file.json")

    def write_json(self, name: str, content: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / "file.json", content)
            self.put(Path(folder) / "file.json", name)

    def remove(self, name: str) -> None:
        """Nothing happens if it does not exist."""
        self._attempt(name, lambda: self.backend.remove(self._path(name)))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _attempt(self, name: str, action: Callable[[], T]) -> T:
        where = f"{self.url}/{name}" if name else self.url
        for number in range(1, ATTEMPTS + 1):
            try:
                return action()
            except Abandoned:
                raise
            except _NOT_WORTH_A_RETRY as error:
                if isinstance(error, PermissionError) and error.filename:
                    raise  # of a file here
                raise _refusal(where, error) from None
            except self.backend.transient as error:
                if getattr(error, "errno", None) in DISK_FULL:
                    raise
                reason = str(error) or type(error).__name__
                if number == ATTEMPTS:
                    raise AdlError(
                        f"{where}: gave up after {ATTEMPTS} attempts ({reason}). Run the same command again."
                    ) from None
                pause = PAUSE * 2 ** (number - 1)
                print(f"warning: {where}: {reason}; retrying in {pause:g} s", flush=True)
                time.sleep(pause)
        raise AssertionError("unreachable")


def _uncounted_on_failure(copy: Callable[[Tell], None], tell: Tell) -> None:
    """Copy; what was told of a copy that failed is told again with the other sign."""
    so_far = 0

    def count(n: int) -> None:
        nonlocal so_far
        so_far += n
        tell(n)

    try:
        copy(count)
    except BaseException:
        tell(-so_far)
        raise


def _refusal(where: str, error: Exception) -> AdlError:
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return AdlError(f"{where}: {error}. Set {CREDENTIALS}.")
    if isinstance(error, PermissionError):
        return AdlError(f"{where}: access is refused ({error}). Check {CREDENTIALS}.")
    return AdlError(f"{where}: does not exist ({error}). Check the bucket and the path.")


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
    return Store(url, Folder(), str(Path(url).absolute()))
