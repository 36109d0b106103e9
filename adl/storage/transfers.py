"""Many files copied at once, with progress in megabytes."""

from __future__ import annotations

import concurrent.futures
import math
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fsspec.callbacks import Callback

from adl.console import text
from adl.console.progress import Progress
from adl.errors import AdlError
from adl.storage.store import Abandoned, RemoteFile

T = TypeVar("T")
THREADS = 8
_LOOK_EVERY = 0.5
_MEGABYTE = 1e6


def download(wanted: Mapping[Path, RemoteFile], what: str) -> None:
    """Copy what is not here yet. Raises AdlError if a file is not what its sender wrote.

    wanted: the files, by where they are put here.
    """
    missing = {}
    for target, file in wanted.items():
        is_here = target.exists() and target.stat().st_mtime_ns == file.date
        if not (is_here and file.version):
            missing[target] = file
    check_room(missing)
    sizes = {target: file.bytes for target, file in missing.items()}
    copy_all(lambda target, progress: missing[target].download(target, progress), sizes, what)


def check_room(wanted: Mapping[Path, RemoteFile]) -> None:
    """Raises AdlError if the files do not fit on the disk of this folder, in which they replace what is there."""
    needed = 0
    for target, file in wanted.items():
        needed += file.bytes
        if target.exists():
            needed -= target.stat().st_size
    folder = Path.cwd()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise AdlError(
            f"{folder}: needs {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free. Choose a folder on a "
            "larger disk: --work FOLDER."
        )


class Transfer(Callback):
    """The progress of one copy. is_over: asked at each step; once it says true, the copy ends with Abandoned."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        super().__init__()
        self.is_over = is_over

    def call(self, *_: Any, **__: Any) -> None:
        if self.is_over():
            raise Abandoned


def copy_all(
    copy: Callable[[T, Callback], None],
    sizes: Mapping[T, int],
    what: str,
    *,
    threads: int = THREADS,
) -> None:
    """Copy files, beginning with the first; the first copy that fails ends the others, and its error is raised.

    copy: copies one of them, and reports its bytes as they come. sizes: the files, and their bytes.
    """
    if not sizes:
        return
    is_over = threading.Event()
    transfers = {file: Transfer(is_over.is_set) for file in sizes}
    total = math.ceil(sum(sizes.values()) / _MEGABYTE)
    with (
        Progress(total, f"{what} ({text.counted(len(sizes), 'file')})", "MB") as progress,
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):
        pending = {pool.submit(copy, file, transfer) for file, transfer in transfers.items()}
        try:
            while pending:
                copied = sum(transfer.value for transfer in transfers.values())
                progress.advance(int(copied / _MEGABYTE) - progress.done)
                done, pending = concurrent.futures.wait(
                    pending, _LOOK_EVERY, concurrent.futures.FIRST_EXCEPTION
                )
                for one in done:
                    one.result()
            progress.advance(total - progress.done)
        finally:
            # What has not begun ends as it begins.
            is_over.set()
