"""One piece of work at a time, in the order of arrival, in one thread: who waits, who is next, who is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import HTTPException

T = TypeVar("T")
RETRY_SECONDS = 5
FULL = "Too many pictures are waiting. Try again in a few seconds."
ENDING = "The server is shutting down. Start it again, and send the picture once more."


class FullError(HTTPException):
    """As many pictures wait as fit."""

    def __init__(self) -> None:
        super().__init__(503, FULL, {"Retry-After": str(RETRY_SECONDS)})


class ClosedError(HTTPException):
    """The server is ending: the request is not answered any more."""

    def __init__(self) -> None:
        super().__init__(503, ENDING)


class Queue:
    """A thread that does one piece of work after another.

    MindSpore may tie a graph to the thread that loaded it, so the model is loaded by `load`, in that thread.
    most: pieces of work that wait or are done at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.closed = False
        self.running = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._requests: set[asyncio.Task] = set()
        self._waiting: dict[object, str | None] = {}

    def load(self, make: Callable[[], T]) -> T:
        """What make() returns, made in the thread in which all work is done. Raises what make raises."""
        return self._thread.submit(make).result()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """From its first byte on, a request is known here. Raises ClosedError if the server ends before its answer."""
        task = asyncio.current_task()
        if task is None or self.closed:
            raise ClosedError
        self._requests.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self.closed:
                raise ClosedError from None
            raise
        finally:
            self._requests.discard(task)

    async def run(self, work: Callable[[], T], ticket: str | None = None) -> tuple[T, float]:
        """Wait for the turn of this work. Returns its result, and the milliseconds that it waited for its turn.

        Cancelled while it waits, it leaves the queue. ticket: by which `ahead` finds it. Raises FullError if there is
        no room, ClosedError if the server ends.
        """
        if self.closed:
            raise ClosedError
        if len(self._waiting) + self.running >= self.most:
            raise FullError
        arrived, place = time.perf_counter(), object()

        def timed() -> tuple[T, float]:
            waited = 1000 * (time.perf_counter() - arrived)
            self._waiting.pop(place, None)
            self.running = True
            try:
                return work(), waited
            finally:
                self.running = False

        self._waiting[place] = ticket
        try:
            return await asyncio.wrap_future(self._thread.submit(timed))
        finally:
            self._waiting.pop(place, None)

    @property
    def waiting(self) -> int:
        """Requests whose turn has not come."""
        return len(self._waiting)

    def ahead(self, ticket: str) -> int | None:
        """Requests that are answered before the one with this ticket; None: it does not wait."""
        for number, other in enumerate(list(self._waiting.values())):
            if other == ticket:
                return number + self.running
        return None

    def close(self) -> None:
        """Turn away who comes and who waits; the one whose turn it is may be answered."""
        self.closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def abandon(self) -> None:
        """After `close`: turn away everybody. The thread ends with the work that it does."""
        for task in list(self._requests):
            task.cancel()
