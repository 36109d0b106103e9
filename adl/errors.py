"""The one kind of failure that is expected, and how a program tells it."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator

RETURNS = (
    "returns 0 when the work is complete, 2 for a fault that you can mend (one message names it), 130 when interrupted"
)
"""What every help text says of the exit code."""


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AdlError(Exception):
    """A fault that the user can mend: the message says what is wrong, where, and what to do."""


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """End the program as people expect: an AdlError and a full disk are one message and exit 2, Ctrl-C is exit 130."""
    try:
        yield
    except AdlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        print(f"error: {error.filename or 'a file'} cannot be written ({error.strerror}). Make room.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
