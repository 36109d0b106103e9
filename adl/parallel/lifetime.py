"""A process must not outlive the one that started it. Only the standard library: it is needed before all else."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PARENT = os.getppid()
"""Whoever started this program: asked for here, because seconds of imports may follow, in which it may die."""
_TIED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask Linux to signal this process when its parent is gone, however that died; at once if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)  # 1: PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def tied(command: Sequence[str]) -> list[str]:
    """A command that becomes the given one, and is killed when this process is gone.

    It asks for that itself: Python code between fork and exec could wait for a lock that another thread held.
    """
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


def stop_when_dvc_dies() -> None:
    """End a stage together with DVC, which is gone at once on SIGTERM and SIGHUP.

    It would run on while the next `dvc repro` begins.
    """
    if "DVC_STAGE" in os.environ:
        die_with_parent(_PARENT, signal.SIGTERM)
