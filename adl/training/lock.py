"""A lock on a folder, held by one process at a time and gone with it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import AcquireReturnProxy, Timeout, UnixFileLock

from adl.errors import AdlError


def holder(folder: Path) -> int | None:
    """The process that holds the folder's lock, if one does."""
    path = folder / "lock"
    if not path.exists():
        return None
    try:
        with _acquired(path, timeout=0):
            return None
    except Timeout:
        return int(path.read_text(encoding="utf-8") or 0)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock; the folder is created if it is missing. Raises AdlError if another process holds it."""
    path = folder / "lock"
    try:
        # Whoever only asks for the holder has the lock for a moment.
        lock = _acquired(path, timeout=1)
    except Timeout:
        raise AdlError(
            f"this run is already in progress: process {path.read_text(encoding='utf-8')} holds {folder}. Wait for it, "
            "or stop it (`adl stop`)."
        ) from None
    with lock:
        path.write_text(str(os.getpid()), encoding="utf-8")
        yield


def _acquired(path: Path, *, timeout: float) -> AcquireReturnProxy:
    """Raises Timeout if another process has the lock, AdlError if the file system has no locks."""
    while True:
        try:
            return UnixFileLock(path, timeout=timeout, fallback_to_soft=False).acquire()
        except FileNotFoundError:
            pass  # a folder that another process removes in between takes its lock along
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK):
                raise
            raise AdlError(
                f"{path}: its file system gives no locks ({error.strerror}), so two runs there could overwrite "
                "each other. Point ADL_STATE_DIR to a folder on one that does: a local disk, or Lustre mounted with "
                "the option flock."
            ) from None
