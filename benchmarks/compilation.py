"""Where the time of compiling a training graph goes: MindSpore's own phases, and the graph cut off behind each part.

    python benchmarks/compilation.py [published|small]

Each row is a process of its own; one thread does nearly all of it. Three minutes for the published architecture.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CROP, BATCH = 65, 2  # the size of the images does not matter
PARTS = ("loss", "gradients", "step")
"""Forward and loss; the same with its gradients; the whole training step."""
PHASE = re.compile(r"\]\s*(\w+) costs ([\d.e+-]+) msec")
# The longest of MindSpore's some eighty; compile_graph holds the others.
PHASES = ("type_inference", "opt_a", "opt_b", "task_emit", "CleanCompileRes", "compile_graph")


def compile_part(name: str, part: str) -> float:
    """Seconds of the first call of one part."""
    import mindspore as ms
    import numpy as np
    from mindspore import Tensor, nn

    from adl import device, network
    from adl.architecture.genotype import Architecture, load_cell, load_net
    from adl.training.losses import OhemCrossEntropy
    from adl.training.optimizers import Momentum
    from adl.training.step import TrainStep

    device.start("CPU", seed=0)
    folder = ROOT / "architectures" / name
    net = network.build(Architecture(net=load_net(folder / "net_arch.npy"), cell=load_cell(folder / "cell_arch.npy")))
    criterion = OhemCrossEntropy(threshold=0.7, min_kept=BATCH * CROP**2 // 16, ignore_label=255)
    step = TrainStep(net, criterion, Momentum(net, weight_decay=1e-4)).set_train()
    rng = np.random.default_rng(0)
    images = Tensor(rng.normal(size=(BATCH, 3, CROP, CROP)).astype(np.float32))
    labels = Tensor(rng.integers(0, 19, (BATCH, CROP, CROP), dtype=np.int32))
    keys = Tensor(np.ones((2, BATCH), np.int32))
    rate, scale, stop = (Tensor(np.float32(x)) for x in (0.01, 2.0**16, 0))

    class Part(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.step = step
            self.value_and_grad = ms.value_and_grad(step.scaled_loss, None, step.optimizer.parameters)

        def construct(self, images: Tensor, labels: Tensor, keys: Tensor, scale: Tensor) -> object:
            if part == "loss":
                return self.step.scaled_loss(images, labels, keys, None, scale)
            return self.value_and_grad(images, labels, keys, None, scale)

    start = time.perf_counter()
    if part == "step":
        result = step(images, labels, keys, None, rate, scale, stop)[0]
    else:
        result = Part().set_train()(images, labels, keys, scale)
        result = result[0] if part == "gradients" else result
    float(result)
    return time.perf_counter() - start


def phases(printed: str) -> dict[str, float]:
    """Seconds of each phase, from MindSpore's verbose log; of a phase that comes twice, the longest."""
    found: dict[str, float] = {}
    for name, milliseconds in PHASE.findall(printed):
        found[name] = max(found.get(name, 0), float(milliseconds) / 1000)
    return {name: found[name] for name in PHASES if name in found}


def main() -> None:
    sys.path.insert(0, str(ROOT))
    name = sys.argv[1] if len(sys.argv) > 1 else "published"
    if len(sys.argv) > 2:
        print(f"seconds: {compile_part(name, sys.argv[2])}")
        return
    print(f"{name}: seconds\n{'':10s} {'total':>8s} " + " ".join(f"{phase:>15s}" for phase in PHASES))
    for part in PARTS:
        command = [sys.executable, __file__, name, part]
        environment = os.environ | {"VLOG_v": "(1,9999)"}
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            env=environment,
        )
        total = float(done.stdout.split("seconds:")[1])
        of_phase = phases(done.stdout + done.stderr)
        print(
            f"{part:10s} {total:8.1f} " + " ".join(f"{of_phase.get(phase, 0):15.1f}" for phase in PHASES),
            flush=True,
        )


if __name__ == "__main__":
    main()
