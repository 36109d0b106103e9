"""A folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import NoCredentialsError, PartialCredentialsError

from adl.artifacts import replacing
from adl.errors import DISK_FULL, AdlError
from adl.storage.backends import S3, Abandoned, Backend, Entry, Folder, Moxing, Told

T = TypeVar("T")
ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"


_FINAL = (FileNotFoundError, PermissionError, NoCredentialsError, PartialCredentialsError)
"""What another attempt would meet again."""


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
