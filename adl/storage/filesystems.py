"""The file systems that a job copies from and to, in fsspec's form: OBS or another S3, moxing, a folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError
from fsspec.implementations.local import LocalFileSystem
from s3fs import S3FileSystem

from adl.files import replacing
from adl.storage import environment

READ_TIMEOUT = 30
"""Seconds without another byte after which a request has failed. A slow copy is no failure."""
PART = 2**24
"""Bytes that are sent at a time: a copy that is no longer wanted ends after those."""


class S3(S3FileSystem):
    """The buckets of an S3 service: s3fs, with what OBS asks for and without what it does wrong for us.

    s3fs repeats a request that failed, and resumes a file that broke off, but not one that it fetches in several parts
    at once. It holds every part in memory, and on a narrow line each further connection slows the others: so a file is
    copied one part after the other.
    """

    cachable = False
    # Errors that may be worth another attempt.
    passing = (OSError, BotoCoreError, aiohttp.ClientError)
    retries = 3
    """How often a request is sent, or a file that broke off is resumed, within one attempt."""

    def __init__(self) -> None:
        endpoint = environment.endpoint()
        host = urlsplit(endpoint or "").hostname or ""
        region = re.fullmatch(r"obs\.([a-z0-9-]+)\.[a-z0-9.-]+", host)
        session = AioSession()
        session.get_component("event_emitter").register_last("before-parameter-build.s3", _ask_once)
        super().__init__(
            # None: that of AWS, or the one that botocore's own settings name.
            endpoint_url=endpoint,
            session=session,
            client_kwargs={"region_name": region[1] if region else None},
            config_kwargs={
                # What OBS asks for (deploy/obs.config says where that is documented); other S3 take it as well.
                "signature_version": "s3v4",
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {
                    "addressing_style": "virtual" if host.startswith("obs") else "auto",
                    "payload_signing_enabled": False,
                },
                # s3fs repeats requests; botocore must not multiply that.
                "retries": {"total_max_attempts": 1},
                "connect_timeout": 10,
                "read_timeout": READ_TIMEOUT,
            },
            max_concurrency=1,
            use_listings_cache=False,
        )

    def split_path(self, path: str) -> tuple[str, str, None]:
        """The bucket and the key as they stand; s3fs takes the end of a key that holds ?versionId= for a version."""
        bucket, _, key = path.partition("/")
        return bucket, key, None

    async def _put_file(self, source: str, target: str, **options: Any) -> None:
        # S3 takes a file in at most 10,000 parts.
        part = max(PART, Path(source).stat().st_size // 9_999)
        await super()._put_file(source, target, chunksize=part, **options)


def _ask_once(model: Any, context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from asking for a bucket's region in order to ask for its region, and so on.

    It does so, without an end, where neither a redirection nor the answer to that question names a region.
    """
    if model.name == "HeadBucket":
        context["s3_redirect"]["redirected"] = True


class Folder(LocalFileSystem):
    """The folders of this machine, and those that are mounted here."""

    passing = OSError

    def put_file(self, source: str, target: str, **_: Any) -> None:
        """Unlike fsspec's: the file appears whole or not at all."""
        with replacing(Path(target)) as temporary:
            shutil.copyfile(source, temporary)

    def rm_file(self, path: str) -> None:
        """Unlike fsspec's: nothing happens if it does not exist."""
        Path(path).unlink(missing_ok=True)


class Moxing:
    """ModelArts' own library, which knows the job's credentials. It reports no versions of files, and no progress."""

    passing = Exception  # its errors are of any kind

    def __init__(self) -> None:
        import moxing

        self.file = moxing.file

    def find(self, path: str, **_: Any) -> dict[str, dict[str, int]]:
        if not self.file.exists(path):
            return {}
        files = [path]
        if self.file.is_directory(path):
            files = [f"{folder.rstrip('/')}/{name}" for folder, _, names in self.file.walk(path) for name in names]
        return {file: {"size": self.file.get_size(file)} for file in files}

    def get_file(self, source: str, target: str, **_: Any) -> None:
        self.file.copy(source, target)

    put_file = get_file

    def rm_file(self, path: str) -> None:
        if self.file.exists(path):
            self.file.remove(path)
