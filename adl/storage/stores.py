"""A folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import NoCredentialsError, PartialCredentialsError

from adl.artifacts import read_json, replacing, write_json
from adl.errors import DISK_FULL, AdlError
from adl.storage.backends import S3, Abandoned, Backend, Entry, Folder, Moxing, Tell
from adl.storage.refusals import CREDENTIALS, refusal

T = TypeVar("T")
ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""
_CREDENTIALS_LACK = (NoCredentialsError, PartialCredentialsError)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NO_NAMES = {"", ".", ".."}


def inner_path(name: str, where: str) -> Path:
    """A name from outside, as a path in a folder of ours: every such name passes here. where: that named it.

    Raises AdlError if it could lead out of the folder.
    """
    if not _is_inner(name):
        raise AdlError(
            f"{where}: {name!r} is no name that can be copied: it has an empty part, . or .., or a backslash. Rename "
            "it there, or remove it."
        )
    return Path(name)


def _is_inner(name: str) -> bool:
    return not (_NO_NAMES & set(name.split("/")) or set("\\\0") & set(name))


class Store:
    """Every method repeats what fails for a passing reason, and raises AdlError once it gives up."""

    def __init__(self, url: str, backend: Backend, root: str) -> None:
        self.url = url.rstrip("/")
        self.backend = backend
        self.root = root.rstrip("/")

    def find(self, name: str = "") -> dict[str, Entry]:
        """The files at or below a name, by their names in this store. Raises AdlError if one leads elsewhere."""
        place = self._path(name)
        found = self._attempt(name, lambda: self.backend.find(place))
        files = {}
        for path, entry in found.items():
            is_wanted = path.startswith(f"{place}/") or (name and path == place)
            # A console makes empty objects that stand for folders; a folder may hold what is only half written.
            if is_wanted and not path.endswith("/") and "/.partial-" not in path:
                inner = path.removeprefix(f"{self.root}/")
                files[inner_path(inner, self.url).as_posix()] = entry
        return files

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
            try:
                return read_json(Path(folder) / "file.json")
            except ValueError as error:
                raise AdlError(
                    f"{self.url}/{name}: is no JSON ({error}). Remove it there."
                ) from None

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
            except (*_CREDENTIALS_LACK, *self.backend.transient) as error:
                is_here = isinstance(error, PermissionError) and error.filename
                if is_here or getattr(error, "errno", None) in DISK_FULL:
                    raise  # of a file or a disk of this machine
                refused = refusal(where, error)
                if refused is not None:
                    raise refused from None
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


def open_store(url: str, endpoint: str | None = None) -> Store:
    """The store that a URL names: obs:// and s3:// a bucket, anything without a scheme a folder of this machine.

    The rest of the URL is taken as it stands: a key may hold ?, # and %. endpoint: URL of the S3 service; with moxing
    it is not needed. Raises AdlError if the URL cannot be one.
    """
    scheme, separator, place = url.partition("://")
    if not separator and url and not re.match("(obs|s3):", url, re.IGNORECASE):
        return Store(url, Folder(), str(Path(url).absolute()))
    bucket, _, key = place.partition("/")
    is_bucket = _BUCKET.fullmatch(bucket)
    if "@" in place and not is_bucket:
        raise AdlError(
            f"{scheme}://…@…: leave the credentials out of the URL, which logs show. Set {CREDENTIALS}."
        )
    if scheme.lower() not in ("obs", "s3") or not is_bucket:
        raise AdlError(
            f"{url or 'an empty URL'}: expected obs://BUCKET/PATH, s3://BUCKET/PATH or a folder."
        )
    key = key.rstrip("/")
    if key and not _is_inner(key):
        raise AdlError(
            f"{url}: expected {scheme}://BUCKET/PATH without empty parts, . or .., or a backslash."
        )
    root = f"{bucket}/{key}" if key else bucket
    if importlib.util.find_spec("moxing"):
        return Store(url, Moxing(), f"obs://{root}")
    return Store(url, S3(endpoint), root)
