"""A file or folder that is elsewhere: in a bucket of OBS or of another S3, or on another disk.

A file is copied whole or not at all. What fails for a passing reason is tried again; what no new attempt cures is
reported at once, with what to do about it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import time
import zlib
from collections.abc import Callable
from errno import EACCES, ENOENT, EROFS
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from adl.errors import DISK_FULL, AdlError
from adl.files import digest, replacing
from adl.storage.filesystems import S3, Folder, Moxing

PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the second attempt, the third and the fourth, which is the last."""
CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (of OBS: its AK and SK)"

REMEDIES = {
    "NoCredentialsError|PartialCredentialsError": f"access is refused. Set {CREDENTIALS}.",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the storage's. Set it right.",
    "ExpiredToken|InvalidToken|TokenRefreshRequired": (
        "the session token is no longer valid, or never was. Get new temporary credentials, and set AWS_SESSION_TOKEN "
        "with the two keys that belong to it; with permanent keys, leave it unset."
    ),
    "AccessDenied|AccessForbidden|AllAccessDisabled": (
        "the key is known, but may not do this. Check the policies of the bucket and of the key's owner: a job lists, "
        "reads, writes and deletes below train_url, and lists and reads below data_url."
    ),
    "InArrearOrInsufficientBalance|AccountProblem|NotSignedUp|Unauthorized|DeregisterUserId|FrozenUserId": (
        "the account may not use the storage: arrears, or not registered. Settle that with the provider."
    ),
    "VirtualHostDomainRequired|SecondLevelDomainForbidden": (
        "this storage wants the bucket in the host name. Name an endpoint whose host begins with obs, as in "
        "https://obs.REGION.myhuaweicloud.com: AWS_ENDPOINT_URL."
    ),
    "PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraintException": (
        "the bucket is in another region. Name the endpoint of its region: AWS_ENDPOINT_URL, and for AWS itself "
        "AWS_DEFAULT_REGION."
    ),
    "InvalidObjectState": "this object is archived. Restore it first.",
    "InsufficientStorageSpace": ("the bucket has reached its quota. Raise that, or delete what is not needed."),
    "InvalidAccessKeyId|SignatureDoesNotMatch|TooManyWrongSignature|PermissionError|HTTP403": (
        f"access is refused. Check {CREDENTIALS}."
    ),
    "FileNotFoundError": "does not exist. Check the bucket and the path.",
}
"""Pattern of an error's kind, code or HTTP status → what is wrong and what to do; the first that matches counts."""


class Abandoned(Exception):  # noqa: N818 (not an error)
    """Raised by a progress callback to end a copy that is no longer wanted."""


class Place(NamedTuple):
    """A file, or a folder with all that is below it.

    system, path: where it is. url: what people call that. bytes, version, sha256: of a file that was found. The version
    changes when the content does; it is empty if the file system has none. The digest is None if it is not known.
    """

    system: S3 | Moxing | Folder
    path: str
    url: str
    bytes: int = 0
    version: str = ""
    sha256: str | None = None

    def __truediv__(self, name: str | Path) -> Place:
        below = f"/{name}".rstrip("/")
        return self._replace(path=self.path + below, url=self.url + below)

    def find(self, target: str | Path = "") -> dict[Path, Place]:
        """The files that are here, by their places in a copy at `target`. Raises AdlError if one leads elsewhere."""
        files = {}
        for path, info in self.attempt(partial(self.system.find, detail=True)).items():
            # A console makes empty objects that stand for folders; a folder may hold what is only half written.
            if path.endswith("/") or "/.partial-" in path:
                continue
            name = path.removeprefix(self.path)[1:]
            if name:
                check_name(name, self.url)
            files[Path(target, name)] = (self / name)._replace(
                bytes=info["size"], version=str(info.get("ETag", info.get("mtime", "")))
            )
        return files

    @property
    def date(self) -> int:
        """What its copies here bear as their date, in nanoseconds since 1970, so that the next job knows them.

        It follows from where the file is, and in which version. What a stage has written here since bears another date.
        """
        return zlib.crc32(f"{self.url} {self.version}".encode())

    def is_at(self, target: Path) -> bool:
        """Is there a copy of this very file?"""
        return bool(self.version) and target.exists() and target.stat().st_mtime_ns == self.date

    def download(self, target: Path, progress: Callback = DEFAULT_CALLBACK) -> None:
        """Copy it here; it appears whole or not at all. Raises AdlError if it is not what its sender wrote."""

        def copy(path: str) -> None:
            progress.absolute_update(0)
            with replacing(target) as temporary:
                self.system.get_file(path, str(temporary), callback=progress)
                size = temporary.stat().st_size
                if size != self.bytes:
                    raise ConnectionError(f"received {size} of {self.bytes} bytes")
                if self.sha256 and digest(temporary) != self.sha256:
                    raise AdlError(
                        f"{self.url}: its content differs from what the stage wrote there. Run that stage again."
                    )
                os.utime(temporary, ns=(self.date, self.date))
            # Not every file system reports progress while it copies.
            progress.absolute_update(size)

        self.attempt(copy)

    def upload(self, source: Path, progress: Callback = DEFAULT_CALLBACK) -> None:
        """Copy a file there. S3 shows an object only when all of it has arrived."""

        def copy(path: str) -> None:
            progress.absolute_update(0)
            self.system.put_file(str(source), path, callback=progress)
            progress.absolute_update(source.stat().st_size)

        self.attempt(copy)

    def remove(self) -> None:
        """Nothing happens if it does not exist."""
        self.attempt(self.system.rm_file)

    def attempt(self, action: Callable[[str], Any]) -> Any:
        """Do something here, again if that fails for a passing reason. Raises AdlError if it fails for good."""
        for pause in (*PAUSES, None):
            try:
                return action(self.path)
            except (Abandoned, AdlError):
                raise
            except self.system.passing as error:
                # Errors of a bucket have other numbers than those of this machine's files, or none.
                if getattr(error, "errno", None) in (*DISK_FULL, EACCES, EROFS, ENOENT):
                    raise
                self._check_passing(error)
                reason = str(error) or type(error).__name__
            if pause is not None:
                print(f"warning: {self.url}: {reason}; retrying in {pause:g} s", flush=True)
                time.sleep(pause)
        raise AdlError(f"{self.url}: gave up after {len(PAUSES) + 1} attempts ({reason}). Run the same command again.")

    def _check_passing(self, error: Exception) -> None:
        """Raises AdlError if another attempt would meet the same error."""
        # s3fs' error has botocore's as its cause, which names the code; moxing's has the code in its text alone.
        cause = error.__cause__ or error
        answer = (getattr(cause, "response", None) or {}).get("ResponseMetadata", {})
        words = f"{type(error).__name__} HTTP{answer.get('HTTPStatusCode')} {cause} {error}"
        for codes, remedy in REMEDIES.items():
            if re.search(rf"\b({codes})\b", words):
                raise AdlError(f"{self.url}: {remedy} ({cause})")


def check_name(name: str, where: str) -> None:
    """Raises AdlError if a name from outside, as a path below a folder, could lead out of it. where: that named it."""
    if {"\\", "\0"}.intersection(name) or {"", ".", ".."}.intersection(name.split("/")):
        raise AdlError(
            f"{where}: {name!r} is no name that can be copied: it has an empty part, . or .., or a backslash. Choose "
            "another one, or remove what has it."
        )


def open_place(url: str) -> Place:
    """What a URL names: obs:// and s3:// a bucket, anything without a scheme a folder of this machine.

    The rest of the URL is taken as it stands: a key may hold ?, # and %. Raises AdlError if the URL cannot be one.
    """
    scheme, _, path = url.rstrip("/").partition("://")
    if re.match(r"(?is)(?!obs:|s3:|.*://).", url):
        return Place(Folder(), str(Path(url).absolute()), url=scheme)
    if not re.fullmatch(r"(?is)(obs|s3)://[a-z0-9][a-z0-9._-]*(/.*)?", url):
        if "@" in path:
            raise AdlError(f"{scheme}://…@…: leave the credentials out of the URL, which logs show. Set {CREDENTIALS}.")
        raise AdlError(f"{url or 'an empty URL'}: expected obs://BUCKET/PATH, s3://BUCKET/PATH or a folder.")
    check_name(path, url)
    url = url.rstrip("/")
    if importlib.util.find_spec("moxing"):
        return Place(Moxing(), f"obs://{path}", url=url)
    return Place(S3(), path, url=url)
