"""The one kind of failure that is expected, and how a program reports it."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import sys
from collections.abc import Collection, Iterable, Iterator

RETURNS = (
    "returns 0 when the work is complete, 2 for an error that you can fix (one message names it), 130 when interrupted"
)
"""What every help text says of the exit code."""
STOPPED = 75
"""Exit code of a worker that saved its state because it was asked to stop (EX_TEMPFAIL)."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(DISK_FULL, "Free up disk space."),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Change its permissions."),
    errno.ENAMETOOLONG: "Choose a shorter one.",
}
"""Errors of the operating system that the user can put right → how."""


class AdlError(Exception):
    """A failure that the user can put right.

    problem: what is wrong: a whole message, or a clause without its full stop where a remedy follows. remedy: what to
    do, in whole sentences. where: the file, parameter or option. The message is "where: problem. remedy".
    """

    def __init__(self, problem: str, remedy: str = "", *, where: object = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.where = where
        self.place_and_problem = f"{where}: {problem}" if where else problem
        super().__init__(f"{self.place_and_problem}. {remedy}" if remedy else self.place_and_problem)


class Caution(AdlError):  # noqa: N818 (not an error yet)
    """What may go wrong: `check` prints it and goes on."""


def unknown(what: str, name: str, known: Collection[str]) -> AdlError:
    """The error for a name that does not exist; it names the nearest one that does, or all of them."""
    meant = nearest(name, known)
    hint = f"did you mean {meant}?" if meant else f"available: {', '.join(known) or 'none'}."
    return AdlError(f"{name}: unknown {what}; {hint}")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that somebody who typed `name` probably meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=cutoff)), None)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the program as people expect: one message and exit 2, or exit 130 after Ctrl-C.

    A failure that the user can put right is an AdlError, a full disk, or a place that may not be read or written, or
    whose name is too long.
    """
    for stream in (sys.stdout, sys.stderr):
        # A letter that the terminal's locale lacks, or a name that is not UTF-8, must not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = 2
    try:
        yield
        return
    except AdlError as error:
        message = f"error: {error}"
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        place = error.filename or "a file"
        message = f"error: {place}: {error.strerror}. {_REMEDIES[error.errno]}"
    except KeyboardInterrupt:
        code = 130
        message = "interrupted"
    print(message, file=sys.stderr)
    sys.exit(code)
