"""Arrays in one file, every one of which has a checksum."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """What np.savez writes, which on a full disk leaves its archive open, and a second error behind."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def damage(path: Path) -> str | None:
    """What is wrong with an archive whose every member has a checksum; None: nothing. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:  # an offset that cannot be
            raise
        return str(error)
    except Exception as error:  # a damaged archive raises whatever its parser meets
        return str(error)
    return f"wrong checksum of {member}" if member else None
