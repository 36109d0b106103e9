"""The signals that end a program, and who takes them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any


def take(numbers: Collection[int], handler: Callable[[int, FrameType | None], object]) -> dict[int, Any]:
    """Call `handler` at these signals. What was ignored at the start, as SIGHUP under nohup, stays ignored.

    Returns what handled those that are taken.
    """
    return {
        number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) is not signal.SIG_IGN
    }


@contextlib.contextmanager
def taken(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """`take` all that end a program, and give them back."""
    previous = take((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), handler)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
