"""Device, environment variables and what differs between them. Nobody else asks."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# Before mindspore is imported, because its oneDNN reads the variable once. On a CPU with AVX-512, oneDNN picks a
# reference kernel for plain NCHW convolutions, 45-70 times slower than its AVX2 one. Other devices do not use oneDNN.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


def start(device_target: str, *, seed: int = 0, graph: bool = True) -> None:
    """Choose the device and the execution mode, and seed MindSpore's generators (weight initialisation).

    device_target: "CPU" or "Ascend". graph: compile whole graphs (the default), or run operation by operation.
    """
    import mindspore as ms

    ms.set_device(device_target)
    ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)
    ms.set_seed(seed)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(requested: int) -> int:
    """The number of data workers to start: MindSpore refuses more than there are cores."""
    return max(1, min(requested, cores()))


def die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it is gone, however that died."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
