"""The one kind of failure that is expected, and how a program tells it."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
from collections.abc import Iterator

RETURNS = (
    "returns 0 when the work is complete, 2 for a fault that you can mend (one message names it), 130 when interrupted"
)
"""What every help text says of the exit code."""


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class AdlError(Exception):
    """A fault that the user can mend: the message says what is wrong, where, and what to do."""


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the program as people expect: one message and exit 2, or exit 130 after Ctrl-C.

    A fault that the user can mend is an AdlError, a full disk, or a place that may not be read or written.
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
            print(f"error: {what} cannot be written ({error.strerror}). Make room.", file=sys.stderr)
        elif error.errno in FORBIDDEN:
            print(f"error: {what}: {error.strerror}. Give yourself the right to it.", file=sys.stderr)
        else:
            raise
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
