"""Copying many files at once, with progress in megabytes; each of them appears whole or not at all."""

from __future__ import annotations

import concurrent.futures
import functools
import math
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adl.artifacts import digest, read_json, write_json
from adl.console import text
from adl.console.progress import Progress
from adl.errors import AdlError
from adl.storage.backends import Abandoned, Entry, Tell
from adl.storage.stores import Store

THREADS = 8
_LOOK_EVERY = 0.5
_MEGABYTE = 1e6


class Wanted(NamedTuple):
    """A file of a store that is to be here. sha256: of its content, where that is known."""

    store: Store
    name: str
    entry: Entry
    target: Path
    sha256: str | None = None


class Copies:
    """What was copied here, so that the next start of a job copies only what is new.

    record: a JSON that tells for each file from where it came, and in which version.
    """

    def __init__(self, record: Path) -> None:
        self.record = record
        self.known: dict[str, list[str]] = read_json(record) if record.exists() else {}

    def bring(self, wanted: Sequence[Wanted], what: str) -> None:
        """Copy all that is not here yet. Raises AdlError if a file is not what its sender wrote."""
        missing = [one for one in wanted if not self._is_here(one)]
        for one in missing:
            self.known.pop(str(one.target), None)
        write_json(self.record, self.known)
        check_room(missing, self.record.parent)
        copies = [Copy(one.entry.bytes, functools.partial(self._bring, one)) for one in missing]
        try:
            run(copies, what)
        finally:
            write_json(self.record, self.known)

    def _is_here(self, one: Wanted) -> bool:
        if not (one.target.exists() and one.entry.version):
            return False
        is_same = self.known.get(str(one.target)) == _as_it_came(one)
        return is_same and one.target.stat().st_size == one.entry.bytes

    def _bring(self, one: Wanted, tell: Tell) -> None:
        one.store.get(one.name, one.target, one.entry, tell)
        if one.sha256 is not None and digest(one.target) != one.sha256:
            one.target.unlink()
            raise AdlError(
                f"{one.store.url}/{one.name}: its content differs from what the stage wrote there. Run that stage "
                "again."
            )
        self.known[str(one.target)] = _as_it_came(one)


def check_room(wanted: Sequence[Wanted], folder: Path) -> None:
    """Raises AdlError if the files do not fit on the disk of a folder, in which they replace what is there."""
    needed = sum(one.entry.bytes for one in wanted)
    kept = sum(one.target.stat().st_size for one in wanted if one.target.exists())
    free = shutil.disk_usage(folder).free
    if needed - kept > free:
        raise AdlError(
            f"{folder.absolute()}: needs {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free. Choose a "
            "folder on a larger disk: --work FOLDER."
        )


def _as_it_came(one: Wanted) -> list[str]:
    """Where a file is from, and when it came: one that a stage has written since is another."""
    return [f"{one.store.url}/{one.name}", one.entry.version, str(one.target.stat().st_mtime_ns)]


def send(store: Store, files: Mapping[str, Path], what: str) -> None:
    """Copy files to a store, under the names that are the keys."""
    copies = [
        Copy(path.stat().st_size, functools.partial(store.put, path, name))
        for name, path in files.items()
    ]
    run(copies, what)


class Copy(NamedTuple):
    """A file to copy. action: copies it, and tells the bytes as they come."""

    bytes: int
    action: Callable[[Tell], None]


def run(copies: Sequence[Copy], what: str, *, threads: int = THREADS) -> None:
    """Do all copies, beginning with the first; the first that fails ends the others, and its error is raised."""
    if not copies:
        return
    counted = _Counter()
    total = math.ceil(sum(copy.bytes for copy in copies) / _MEGABYTE)
    with (
        Progress(total, f"{what} ({text.counted(len(copies), 'file')})", "MB") as progress,
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):
        pending = {pool.submit(copy.action, counted.add) for copy in copies}
        try:
            while pending:
                done, pending = concurrent.futures.wait(
                    pending, _LOOK_EVERY, concurrent.futures.FIRST_EXCEPTION
                )
                # Not all before the last file is whole.
                so_far = (
                    min(int(counted.bytes / _MEGABYTE), max(total - 1, 0)) if pending else total
                )
                progress.advance(so_far - progress.done)
                for one in done:
                    one.result()
        except BaseException:
            counted.abandoned = True
            pool.shutdown(cancel_futures=True)
            raise


class _Counter:
    """Bytes that the threads have copied."""

    def __init__(self) -> None:
        self.bytes = 0
        self.abandoned = False
        self.lock = threading.Lock()

    def add(self, n: int) -> None:
        if self.abandoned and n >= 0:
            raise Abandoned
        with self.lock:
            self.bytes += n
