"""Processes of this machine for work in NumPy and OpenCV."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os

import cv2

from adl.parallel import lifetime


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
