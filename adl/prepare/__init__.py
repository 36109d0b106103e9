"""From raw files to records: which files are there, what is wrong with them, conversion.

What is wrong is a `Problem`: which file, what was found, why, and what to do about it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from adl.errors import AdlError

MOST_LISTED = 5
"""Problems of one kind that a text lists."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one file or folder.

    kind: one word for each sort of problem. problem, cause and remedy read as sentences without their full stop; a
    remedy that is a question has its question mark.
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
    """One or more problems of the data."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(listing(problems))
        self.problems = problems


def listing(problems: Sequence[Problem]) -> str:
    """One problem a line, the first few of each kind; then how many more of a kind there are."""
    lines = []
    seen = Counter[str]()
    for problem in problems:
        seen[problem.kind] += 1
        if seen[problem.kind] <= MOST_LISTED:
            lines.append(str(problem))
    for kind, count in seen.items():
        if count > MOST_LISTED:
            lines.append(f"… and {count - MOST_LISTED} more of this kind ({kind})")
    return "\n".join(lines)


def is_folder(path: Path) -> bool:
    """False where Path.is_dir raises an error, because permissions are lacking."""
    return os.path.isdir(path)  # noqa: PTH112


def is_broken_link(path: Path) -> bool:
    return os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114


def unreadable(path: Path, error: OSError, what: str = "read") -> Problem:
    """The problem of a file that cannot be read, or of a folder that cannot be `what`="listed"."""
    problem = f"cannot be {what} ({error.strerror})"
    if isinstance(error, PermissionError):
        cause = "it belongs to another user"
        remedy = "Change its permissions so that you can read it (chmod -R u+rX)"
        return Problem("unreadable", path, problem, cause, remedy)
    if is_broken_link(path):
        return Problem(
            kind="broken link",
            file=path,
            problem=f"cannot be {what}: it links to {path.readlink()}, which does not exist",
            cause="the data was moved after the links were made",
            remedy="Make the links again, or copy the files",
        )
    cause = "the disk or the network share failed"
    return Problem("unreadable", path, problem, cause, "Copy it again")


def unreachable(folder: Path) -> list[Problem]:
    """Why a folder that is there cannot be entered; empty if it can, or if it is missing."""
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116 - pathlib drops the dot, for which one must enter the folder
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if not is_missing or is_broken_link(folder):
            return [unreadable(folder, error, "listed")]
    return []


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted, hidden or not. Raises DataError if it cannot be listed and entered."""
    try:
        return sorted(folder / name for name in os.listdir(f"{folder}/."))  # noqa: PTH208
    except OSError as error:
        raise DataError(unreadable(folder, error, "listed")) from None


def is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, none of them hidden; none if it cannot be listed."""
    with contextlib.suppress(DataError):
        return [path for path in entries(folder) if is_folder(path) and not is_hidden(path)]
    return []
