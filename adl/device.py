"""The device, MindSpore's settings, and what differs between machines."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from adl.errors import AdlError
from adl.parallel.world import ALONE, World

# Before mindspore is imported, because its oneDNN reads the variable once. On a CPU with AVX-512, oneDNN picks a
# reference kernel for plain NCHW convolutions, 45-70 times slower than its AVX2 one. Other devices do not use oneDNN.
ISA, _FOR_MINDSPORE = "ONEDNN_MAX_CPU_ISA", "AVX2"
os.environ.setdefault(ISA, _FOR_MINDSPORE)

TERMINAL = "ADL_TERMINAL"
"""Environment variable by which a worker knows that its output goes to a terminal."""


INSTRUCTION_SETS = {
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512bw",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_AMX": "amx_int8",
}
"""oneDNN's names of those that multiply 8-bit numbers in their own ways → the flag of a processor that has it."""


def instruction_sets() -> list[str]:
    """Those of INSTRUCTION_SETS that this processor has; of a processor that is no x86 its name."""
    words = set(_processor().split())
    found = [name for name, flag in INSTRUCTION_SETS.items() if flag in words]
    return found or [platform.machine()]


@contextlib.contextmanager
def instructions(limit: str) -> Iterator[None]:
    """Start a process whose oneDNN uses no more than this instruction set: it reads the variable once.

    limit: a name of INSTRUCTION_SETS; for any other, everything that the processor has.
    """
    before = os.environ[ISA]
    # Replaced, never removed: MindSpore's threads may read the environment meanwhile.
    os.environ[ISA] = limit if limit in INSTRUCTION_SETS else "DEFAULT"
    try:
        yield
    finally:
        os.environ[ISA] = before


def all_instructions() -> contextlib.AbstractContextManager[None]:
    """Load another runtime with a oneDNN of its own, which reads the variable once too: with AVX-512 it is faster."""
    if os.environ[ISA] == _FOR_MINDSPORE:
        return instructions("DEFAULT")
    return contextlib.nullcontext()  # a person chose


def devices(device_target: str) -> int | None:
    """How many devices of this machine may be used; None: as many processes as are wanted share the CPU."""
    if device_target == "CPU":
        return None
    installed = len(list(Path("/dev").glob("davinci[0-9]*")))
    visible = os.environ.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible is None:
        return installed
    return min(installed, len(visible.split(",")) if visible else 0)


def check_device_target(device_target: str, wanted: int = 1) -> None:
    """Raises AdlError if this machine lacks the devices."""
    usable = devices(device_target)
    if usable is not None and usable < wanted:
        remedy = "Without one, device_target CPU works (`adl recipe cityscapes-cpu`)."
        if wanted > 1:
            remedy += " To train on several machines, see python -m pipeline.train --help."
        raise AdlError(
            f"this machine has {usable} such devices (/dev/davinci0 and so on), {wanted} are needed",
            remedy,
            where=f"device_target {device_target}",
        )


def start(device_target: str, *, seed: int = 0, graph: bool = True, world: World = ALONE) -> None:
    """Choose the device and the execution mode, join the other ranks, and seed MindSpore's weight initialisation.

    device_target: "CPU" or "Ascend". graph: compile whole graphs (the default), or run operation by operation.
    """
    check_device_target(device_target)
    import mindspore as ms
    from mindspore import communication

    ms.set_context(mode=ms.GRAPH_MODE if graph else ms.PYNATIVE_MODE)
    if not graph and device_target == "CPU":
        # Else threads hand each operation on to one another, and take the cores from it while they wait.
        ms.runtime.launch_blocking()
    try:
        ms.set_device(device_target, world.device)
    except (RuntimeError, ValueError) as error:
        raise AdlError(f"device_target {device_target}: MindSpore cannot use it ({error}).") from None
    if world.size > 1:
        communication.init()
        ms.set_auto_parallel_context(parallel_mode=ms.ParallelMode.DATA_PARALLEL, device_num=world.size)
        if communication.get_rank() != world.rank:
            raise RuntimeError(f"rank {communication.get_rank()} was given to worker {world.rank}")
    ms.set_seed(seed)


def on_ascend() -> bool:
    import mindspore as ms

    return ms.get_context("device_target") == "Ascend"


def machine(device_target: str) -> dict[str, str | int]:
    """What a time was measured on."""
    import mindspore as ms

    models = re.findall(r"^(?:model name|Model)\s*:\s*(.+)$", _processor(), re.MULTILINE)
    return {
        "device": device_target,
        "processor": models[0] if models else platform.machine(),
        "cores": cores(),
        "mindspore": ms.__version__,
    }


def _processor() -> str:
    """What Linux says of it."""
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8") if info.exists() else ""


def peak_memory() -> int:
    """Bytes: the most that this process took: of the device if it has memory of its own, else of the machine."""
    if on_ascend():
        import mindspore as ms

        return ms.runtime.max_memory_allocated()
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def on_terminal() -> bool:
    """Is there a person who sees a bar move? A worker's output goes to the terminal of its launcher."""
    return sys.stderr.isatty() or TERMINAL in os.environ


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(requested: int) -> int:
    """The number of data workers to start: MindSpore refuses more than there are cores."""
    return max(1, min(requested, cores()))
