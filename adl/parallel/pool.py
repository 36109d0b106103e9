"""Processes and threads of this machine for work in NumPy and OpenCV."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import cv2

from adl.parallel import lifetime

T = TypeVar("T")
R = TypeVar("R")


def process_pool(processes: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that end with this one, and use one thread each."""
    return concurrent.futures.ProcessPoolExecutor(
        processes,
        # A forked child would inherit the locks of OpenCV and MindSpore.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(os.getpid(),),
    )


def _prepare(parent: int) -> None:
    lifetime.die_with_parent(parent)
    cv2.setNumThreads(1)


def map_ahead(function: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """What a function returns for each item, in their order, computed in threads before it is asked for.

    At most four results a thread wait, so that a long input never lies in memory as a whole.
    """
    waiting: collections.deque[concurrent.futures.Future[R]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                if len(waiting) == 4 * threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
