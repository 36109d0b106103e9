"""Many files copied at once, with progress in megabytes."""

from __future__ import annotations

import concurrent.futures
import math
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from fsspec.callbacks import Callback

from adl.console import text
from adl.console.progress import Progress
from adl.errors import AdlError
from adl.storage.places import Abandoned, Place


def download(wanted: Mapping[Path, Place], what: str) -> None:
    """Copy what is not here yet. Raises AdlError if a file is not what its sender wrote, or if there is no room.

    wanted: the files, by where they are put here.
    """
    missing = {target: file for target, file in wanted.items() if not file.is_at(target)}
    sizes = {target: file.bytes for target, file in missing.items()}
    replaced = sum(target.stat().st_size for target in missing if target.exists())
    needed = sum(sizes.values()) - replaced
    free = shutil.disk_usage(Path.cwd()).free
    if needed > free:
        raise AdlError(
            f"{Path.cwd()}: needs {text.byte_size(needed)}, but only {text.byte_size(free)} are free. Choose a folder "
            "on a larger disk: --work FOLDER."
        )
    copy_all(lambda target, progress: missing[target].download(target, progress), sizes, what)


def ended_once(is_over: Callable[[], bool]) -> Callback:
    """The progress of one copy. is_over: asked at each step; once it says true, the copy ends with Abandoned."""

    def end(*_: object) -> None:
        if is_over():
            raise Abandoned

    return Callback(hooks={"end": end})


def copy_all(
    copy: Callable[[Path, Callback], None],
    sizes: Mapping[Path, int],
    what: str,
    *,
    threads: int = 8,
) -> None:
    """Copy files, beginning with the first; the first copy that fails ends the others, and its error is raised.

    copy: copies one of them, and reports its bytes as they come. sizes: the files here, and their bytes.
    """
    if not sizes:
        return
    is_over = threading.Event()
    transfers = {file: ended_once(is_over.is_set) for file in sizes}
    with (
        Progress(
            math.ceil(sum(sizes.values()) / 1e6),
            f"{what} ({text.counted(len(sizes), 'file')})",
            "MB",
        ) as progress,
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
    ):
        pending = {pool.submit(copy, file, transfer) for file, transfer in transfers.items()}
        try:
            while pending:
                done, pending = concurrent.futures.wait(pending, 0.5, concurrent.futures.FIRST_EXCEPTION)
                for one in done:
                    one.result()
                copied = sum(transfer.value for transfer in transfers.values())
                progress.advance(math.ceil(copied / 1e6) - progress.n)
        finally:
            # What has not begun ends as it begins.
            is_over.set()
