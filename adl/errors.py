"""The one kind of failure that is expected, and how a program reports it."""

from __future__ import annotations

import contextlib
import difflib
import errno
import io
import sys
from collections.abc import Iterable, Iterator

RETURNS = (
    "returns 0 when the work is complete, 2 for an error that you can fix (one message names it), "
    "130 when interrupted"
)
"""What every help text says of the exit code."""
STOPPED = 75
"""Exit code of a worker that saved its state because it was asked to stop (EX_TEMPFAIL)."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class AdlError(Exception):
    """A failure that the user can put right.

    problem: what is wrong: a whole message, or a clause without its full stop where a remedy follows. remedy: what to
    do, in whole sentences. where: the file, parameter or option. The message is "where: problem. remedy".
    """

    def __init__(self, problem: str, remedy: str = "", *, where: object = "") -> None:
        self.problem = problem
        self.remedy = remedy
        self.where = where
        super().__init__(
            f"{self.place_and_problem}. {remedy}" if remedy else self.place_and_problem
        )

    @property
    def place_and_problem(self) -> str:
        return f"{self.where}: {self.problem}" if self.where else self.problem


class Caution(AdlError):  # noqa: N818 (not an error yet)
    """What may go wrong: `check` prints it and goes on."""


def unknown(what: str, name: str, known: Iterable[str]) -> AdlError:
    """The error for a name that does not exist; it names the nearest one that does, or all of them."""
    names = list(known)
    meant = nearest(name, names)
    if meant:
        return AdlError(f"{name}: unknown {what}; did you mean {meant}?")
    return AdlError(f"{name}: unknown {what}; available: {', '.join(names) or 'none'}.")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that somebody who typed `name` probably meant."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


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
    try:
        yield
    except AdlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        what = error.filename or "a file"
        if error.errno in DISK_FULL:
            print(
                f"error: {what} cannot be written ({error.strerror}). Free up disk space.",
                file=sys.stderr,
            )
        elif error.errno in FORBIDDEN:
            print(f"error: {what}: {error.strerror}. Change its permissions.", file=sys.stderr)
        elif error.errno == errno.ENAMETOOLONG:
            print(f"error: {what}: {error.strerror}. Choose a shorter one.", file=sys.stderr)
        else:
            raise
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
