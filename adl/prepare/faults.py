"""What is wrong with the data: which file, what was found, why, and what to do about it."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from adl.errors import AdlError

MOST_LISTED = 5
"""Faults of one kind that a text lists."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """kind: one word for each sort of fault. problem, cause and remedy read as sentences without their full stop.

    A remedy that is a question has its question mark.
    """

    kind: str
    file: Path
    problem: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        end = "" if self.remedy.endswith("?") else "."
        return f"{self.file}: {self.problem}. Likely cause: {self.cause}. {self.remedy}{end}"

    def to_json(self) -> dict[str, str]:
        return {field: str(value) for field, value in dataclasses.asdict(self).items()}


class DataError(AdlError):
    """One or more faults of the data."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(listing(faults))
        self.faults = tuple(faults)


def is_folder(path: Path) -> bool:
    """False, not an error as of Path.is_dir, if permissions are lacking."""
    return os.path.isdir(path)  # noqa: PTH112


def is_broken_link(path: Path) -> bool:
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def unreadable(path: Path, error: OSError, what: str = "read") -> Fault:
    """A file that cannot be read, or a folder that cannot be `what`="listed"."""
    denied = isinstance(error, PermissionError)
    if is_broken_link(path) and not denied:
        return Fault(
            kind="broken link",
            file=path,
            problem=f"cannot be {what}: it links to {path.readlink()}, which does not exist",
            cause="the data was moved after the links were made",
            remedy="Make the links again, or copy the files",
        )
    if denied:
        cause, remedy = (
            "it belongs to another user",
            "Change its permissions so that you can read it (chmod -R u+rX)",
        )
    else:
        cause, remedy = "the disk or the network share failed", "Copy it again"
    return Fault("unreadable", path, f"cannot be {what} ({error.strerror})", cause, remedy)


def listing(faults: Sequence[Fault]) -> str:
    """One fault per line, the first few of each kind."""
    lines = []
    total = Counter(fault.kind for fault in faults)
    seen = Counter[str]()
    for fault in faults:
        seen[fault.kind] += 1
        if seen[fault.kind] <= MOST_LISTED:
            lines.append(str(fault))
        if seen[fault.kind] == total[fault.kind] > MOST_LISTED:
            lines.append(
                f"… and {total[fault.kind] - MOST_LISTED} more of this kind ({fault.kind})"
            )
    return "\n".join(lines)
