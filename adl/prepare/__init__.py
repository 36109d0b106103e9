"""From raw files to records: which files are there, what is wrong with them, conversion.

What is wrong is a `Problem`: which file, what was found, why, and what to do about it.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from adl.dataset.descriptor import Files
from adl.errors import AdlError

MOST_LISTED = 5
"""Problems of one kind that a text lists."""


class Problem(NamedTuple):
    """What is wrong with one file or folder.

    kind: one word for each sort of problem. problem, cause: clauses without their full stop. remedy: what to do, in
    whole sentences.
    """

    kind: str
    file: Path
    problem: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}. Likely cause: {self.cause}. {self.remedy}"


class DataError(AdlError):
    """One or more problems of the data."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(listing(problems))
        self.problems = problems


def listing(problems: Sequence[Problem]) -> str:
    """One problem a line, kind by kind: the first few of each, and how many more there are."""
    lines = []
    for kind in dict.fromkeys(problem.kind for problem in problems):
        found = [str(problem) for problem in problems if problem.kind == kind]
        lines += found[:MOST_LISTED]
        if len(found) > MOST_LISTED:
            lines.append(f"… and {len(found) - MOST_LISTED} more of this kind ({kind})")
    return "\n".join(lines)


def original(files: Files, what: str = "the original") -> str:
    """What to do about a file that is damaged, without the full stop."""
    return f"Take {what} from {files.source}" if files.source else "Export or copy it again"


def lost(files: Files) -> str:
    """Why files are not there, probably."""
    return "the zip was not unpacked completely" if files.source else "they were moved, renamed or never copied here"


def is_folder(path: Path) -> bool:
    """False where Path.is_dir raises an error, because permissions are lacking."""
    return os.path.isdir(path)  # noqa: PTH112


def is_broken_link(path: Path) -> bool:
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def unreadable(path: Path, error: OSError, what: str = "read") -> Problem:
    """The problem of a file that cannot be read, or of a folder that cannot be `what`="listed"."""
    # A link to a forbidden place looks broken.
    if is_broken_link(path) and not isinstance(error, PermissionError):
        return Problem(
            kind="broken link",
            file=path,
            problem=f"cannot be {what}: it links to {path.readlink()}, which does not exist",
            cause="the data was moved after the links were made",
            remedy="Make the links again, or copy the files.",
        )
    cause = "the disk or the network share failed"
    remedy = "Copy it again."
    if isinstance(error, PermissionError):
        cause = "it belongs to another user"
        remedy = "Change its permissions so that you can read it (chmod -R u+rX)."
    return Problem("unreadable", path, f"cannot be {what} ({error.strerror})", cause, remedy)


def subfolders(folder: Path, pattern: str = "*/") -> list[Path]:
    """Folders below a folder that are not hidden, sorted; none if it cannot be listed. pattern: for deeper ones."""
    return sorted(folder / name for name in glob.glob(pattern, root_dir=folder))  # noqa: PTH207
