"""One piece of work at a time, in the order of arrival, in one thread: who waits, who is next, who is turned away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import HTTPException

T = TypeVar("T")
ENDING = "The server is shutting down. Start it again, and send the picture once more."


def full() -> HTTPException:
    """The error for a picture for which there is no room."""
    return HTTPException(
        503,
        "Too many pictures are waiting. Try again in a few seconds.",
        headers={"Retry-After": "5"},
    )


class Queue(ThreadPoolExecutor):
    """A thread that does one piece of work after another.

    MindSpore may tie a graph to the thread that loaded it, so the model is loaded here too, with `submit`.
    most: pieces of work that wait or are done at once. waiting: each whose turn has not come → its ticket.
    """

    def __init__(self, most: int) -> None:
        super().__init__(max_workers=1)
        self.most = most
        self.waiting: dict[object, str | None] = {}
        self.running = self.closed = False
        self._requests: set[Any] = set()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """From its first byte on, a request is known here. Raises HTTPException if the server ends in between."""
        task = asyncio.current_task()
        self._requests.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self.closed:
                raise HTTPException(503, ENDING) from None
            raise
        finally:
            self._requests.discard(task)

    async def run(self, work: Callable[[float], T], ticket: str | None = None) -> T:
        """What work(milliseconds that it waited) returns, once it has had its turn.

        Cancelled while it waits, it leaves the queue. ticket: names its place. Raises HTTPException if there is no
        room, or if the server ends.
        """
        if self.closed:
            raise HTTPException(503, ENDING)
        if len(self.waiting) + self.running >= self.most:
            raise full()
        arrived, place = time.perf_counter(), object()
        self.waiting[place] = ticket

        def begin() -> T:
            self.waiting.pop(place, None)
            self.running = True
            try:
                return work(1000 * (time.perf_counter() - arrived))
            finally:
                self.running = False

        try:
            return await asyncio.wrap_future(self.submit(begin))
        finally:
            self.waiting.pop(place, None)

    def close(self) -> None:
        """Turn away who comes and who waits; the one whose turn it is may be answered."""
        self.closed = True
        self.shutdown(wait=False, cancel_futures=True)

    def abandon(self) -> None:
        """After `close`: turn away everybody. The thread ends with the work that it does."""
        for task in list(self._requests):
            task.cancel()
