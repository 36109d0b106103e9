"""A folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk.

A file is copied whole or not at all. What fails for a passing reason is tried again; what no new attempt cures is
reported at once, with what to do about it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import importlib.util
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp
from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError
from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from adl.errors import DISK_FULL, AdlError
from adl.files import digest, replacing
from adl.storage.filesystems import S3, Folder, Moxing

T = TypeVar("T")
PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the second attempt, the third and the fourth, which is the last."""
PASSING = (OSError, BotoCoreError, aiohttp.ClientError)
"""Errors that may be worth another attempt."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"
_OF_THIS_MACHINE = (*DISK_FULL, errno.EACCES, errno.EROFS, errno.ENOENT)
"""Numbers of errors of this machine's files: those of a bucket have others, or none."""
_BUCKET_URL = re.compile(r"(obs|s3)://[a-z0-9][a-z0-9._-]*(/.*)?", re.IGNORECASE | re.DOTALL)
_FORBIDDEN = 403

_CHECK_KEY = f"Check {CREDENTIALS}."

REMEDIES = {
    "RequestTimeTooSkewed": "This machine's clock differs too much from the storage's. Set it right.",
    "ExpiredToken InvalidToken TokenRefreshRequired": (
        "The session token is no longer valid, or never was. Get new temporary credentials, and set AWS_SESSION_TOKEN "
        "with the two keys that belong to it; with permanent keys, leave it unset."
    ),
    "AccessDenied AccessForbidden AllAccessDisabled": (
        "The key is known, but may not do this. Check the policies of the bucket and of the key's owner: a job lists, "
        "reads, writes and deletes below train_url, and lists and reads below data_url."
    ),
    "InArrearOrInsufficientBalance AccountProblem NotSignedUp Unauthorized DeregisterUserId FrozenUserId": (
        "The account may not use the storage: arrears, or not registered. Settle that with the provider."
    ),
    "VirtualHostDomainRequired SecondLevelDomainForbidden": (
        "This storage wants the bucket in the host name. Name an endpoint whose host begins with obs, as in "
        "https://obs.REGION.myhuaweicloud.com: AWS_ENDPOINT_URL."
    ),
    "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException": (
        "The bucket is in another region. Name the endpoint of its region: AWS_ENDPOINT_URL, and for AWS itself "
        "AWS_DEFAULT_REGION."
    ),
    "InvalidObjectState": "This object is archived. Restore it first.",
    "InsufficientStorageSpace": (
        "The bucket has reached its quota. Raise that, or delete what is not needed."
    ),
    "InvalidAccessKeyId SignatureDoesNotMatch TooManyWrongSignature": _CHECK_KEY,
}
"""Error codes of S3 and of OBS → what is wrong and what to do."""


class Abandoned(Exception):  # noqa: N818 (not an error)
    """Raised by a progress callback to end a copy that is no longer wanted."""


class RemoteFile(NamedTuple):
    """A file of a store. version: changes when the content does; empty if the store has none. sha256: if known."""

    store: Store
    name: str
    bytes: int
    version: str = ""
    sha256: str | None = None

    @property
    def url(self) -> str:
        return f"{self.store.url}/{self.name}"

    @property
    def date(self) -> int:
        """What its copies here bear as their date, in nanoseconds since 1970, so that the next job knows them.

        It follows from where the file is, and in which version. What a stage has written here since bears another date.
        """
        sha = hashlib.sha256(f"{self.url} {self.version}".encode())
        return int.from_bytes(sha.digest()[:5], "big")

    def download(self, target: Path, progress: Callback = DEFAULT_CALLBACK) -> None:
        """Copy it here; it appears whole or not at all. Raises AdlError if it is not what its sender wrote."""

        def copy() -> None:
            progress.absolute_update(0)
            with replacing(target) as temporary:
                self.store.system.get_file(
                    self.store.path(self.name), str(temporary), callback=progress
                )
                size = temporary.stat().st_size
                if size != self.bytes:
                    raise ConnectionError(f"received {size} of {self.bytes} bytes")
                if self.sha256 and digest(temporary) != self.sha256:
                    raise AdlError(
                        f"{self.url}: its content differs from what the stage wrote there. Run that stage again."
                    )
                os.utime(temporary, ns=(self.date, self.date))
            progress.absolute_update(size)

        self.store.attempt(self.name, copy)


@dataclasses.dataclass(eq=False)
class Store:
    """A folder of a file system. Names are relative to it.

    passing: errors of the file system that may be worth another attempt.
    """

    url: str
    system: AbstractFileSystem
    root: str
    passing: tuple[type[Exception], ...] = PASSING

    def find(self, name: str = "") -> dict[str, RemoteFile]:
        """The files at or below a name, by their names in this store. Raises AdlError if one leads elsewhere."""
        place = self.path(name)
        found = self.attempt(name, lambda: self.system.find(place, detail=True))
        files = {}
        for path, info in found.items():
            # A console makes empty objects that stand for folders; a folder may hold what is only half written.
            is_file = not path.endswith("/") and "/.partial-" not in path
            if is_file and f"{path}/".startswith(f"{place}/"):
                inner = path.removeprefix(f"{self.root}/")
                check_name(inner, self.url)
                version = info.get("ETag", info.get("mtime", ""))
                files[inner] = RemoteFile(self, inner, info["size"], str(version))
        return files

    def upload(self, source: Path, name: str, progress: Callback = DEFAULT_CALLBACK) -> None:
        """Copy a file there. S3 shows an object only when all of it has arrived."""

        def copy() -> None:
            progress.absolute_update(0)
            self.system.put_file(str(source), self.path(name), callback=progress)
            # Not every file system reports progress while it copies.
            progress.absolute_update(source.stat().st_size)

        self.attempt(name, copy)

    def remove(self, name: str) -> None:
        """Nothing happens if it does not exist."""

        def delete() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.system.rm_file(self.path(name))

        self.attempt(name, delete)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}".rstrip("/")

    def attempt(self, name: str, action: Callable[[], T]) -> T:
        """Do it, again if it fails for a passing reason. Raises AdlError if it fails for good."""
        where = f"{self.url}/{name}".rstrip("/")
        pauses = iter(PAUSES)
        while True:
            try:
                return action()
            except (Abandoned, AdlError):
                raise
            except self.passing as error:
                if getattr(error, "errno", None) in _OF_THIS_MACHINE:
                    raise
                _check_passing(where, error)
                reason = str(error) or type(error).__name__
            pause = next(pauses, None)
            if pause is None:
                raise AdlError(
                    f"{where}: gave up after {len(PAUSES) + 1} attempts ({reason}). Run the same command again."
                )
            print(f"warning: {where}: {reason}; retrying in {pause:g} s", flush=True)
            time.sleep(pause)


def _check_passing(where: str, error: Exception) -> None:
    """Raises AdlError if another attempt would meet the same error."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        raise AdlError(f"{where}: {error}. Set {CREDENTIALS}.")
    # s3fs' error has botocore's as its cause, which names the code; moxing's has the code in its text alone.
    words = re.findall(r"\w+", f"{error.__cause__} {error}")
    for codes, remedy in REMEDIES.items():
        for code in set(codes.split()).intersection(words):
            raise AdlError(f"{where}: access is refused ({code}: {error}). {remedy}")
    answer = getattr(error.__cause__, "response", {}).get("ResponseMetadata", {})
    if isinstance(error, PermissionError) or answer.get("HTTPStatusCode") == _FORBIDDEN:
        raise AdlError(f"{where}: access is refused ({error}). {_CHECK_KEY}")
    if isinstance(error, FileNotFoundError):
        raise AdlError(f"{where}: does not exist ({error}). Check the bucket and the path.")


def check_name(name: str, where: str) -> None:
    """Raises AdlError if a name from outside, as a path below a folder, could lead out of it. where: that named it."""
    if not _is_inner(name):
        raise AdlError(
            f"{where}: {name!r} is no name that can be copied: it has an empty part, . or .., or a backslash. Rename "
            "it there, or remove it."
        )


def _is_inner(name: str) -> bool:
    return {"", ".", ".."}.isdisjoint(name.split("/")) and {"\\", "\0"}.isdisjoint(name)


def open_store(url: str, endpoint: str | None = None) -> Store:
    """The store that a URL names: obs:// and s3:// a bucket, anything without a scheme a folder of this machine.

    The rest of the URL is taken as it stands: a key may hold ?, # and %. endpoint: URL of the S3 service; with moxing
    it is not needed. Raises AdlError if the URL cannot be one.
    """
    scheme, separator, place = url.partition("://")
    if url and not separator and not re.match("(obs|s3):", url, re.IGNORECASE):
        return Store(url.rstrip("/"), Folder(), str(Path(url).absolute()).rstrip("/"))
    if not _BUCKET_URL.fullmatch(url):
        if "@" in place:
            raise AdlError(
                f"{scheme}://…@…: leave the credentials out of the URL, which logs show. Set {CREDENTIALS}."
            )
        raise AdlError(
            f"{url or 'an empty URL'}: expected obs://BUCKET/PATH, s3://BUCKET/PATH or a folder."
        )
    root = place.rstrip("/")
    if not _is_inner(root):
        raise AdlError(
            f"{url}: expected {scheme}://BUCKET/PATH without empty parts, . or .., or a backslash."
        )
    url = f"{scheme}://{root}"
    if importlib.util.find_spec("moxing"):
        # Its errors are of any kind.
        return Store(url, Moxing(), f"obs://{root}", passing=(Exception,))
    return Store(url, S3(endpoint), root)
