"""A lock on a folder, held by one process at a time and gone with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adl.errors import AdlError

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_PATIENCE = 1.0
"""Seconds: whoever only asks for the holder has the lock for a moment."""


def holder(folder: Path) -> int | None:
    """The process that holds the folder's lock, if one does."""
    path = folder / "lock"
    try:
        with path.open("r+") as file:
            _flock(file)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(path.read_text(encoding="utf-8") or 0)
    return None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock; the folder is created if it is missing. Raises AdlError if another process holds it."""
    with _locked_file(folder):
        yield


def _locked_file(folder: Path) -> IO[str]:
    """The file of the lock, which is ours as long as it is open."""
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder that another process removes in between takes its lock along: then anew.
        with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("a+"))
            _lock(file, folder)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                stack.pop_all()
                return file


def _lock(file: IO[str], folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _flock(file)
            break
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            file.seek(0)
            raise AdlError(
                f"this run is already in progress: process {file.read().strip()} holds {folder}. Wait for it, or stop "
                "it (`adl stop`)."
            ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _flock(file: IO[str]) -> None:
    """Raises BlockingIOError if another process has the lock, AdlError if the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise AdlError(
            f"{file.name}: its file system gives no locks ({error.strerror}), so two runs there could overwrite "
            "each other. Point ADL_STATE_DIR to a folder on one that does: a local disk, or Lustre mounted with the "
            "option flock."
        ) from None
