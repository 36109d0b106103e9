"""How well `adl.architecture.cost` estimates a training step on a CPU: time and peak memory, measured beside it.

    python benchmarks/training_cost.py

Each row is a process of its own, because peak memory cannot be reset. The whole table takes about five minutes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adl.architecture import Architecture

ROOT = Path(__file__).resolve().parent.parent
# architecture, filter multiplier, stem, crop, batch
ROWS = (
    ("small", 16, 16, 129, 6),
    ("small", 16, 16, 257, 4),
    ("small", 20, 64, 385, 2),
    ("published", 8, 64, 257, 2),
    ("published", 20, 64, 129, 4),
    ("published", 20, 64, 257, 2),
    ("published", 20, 64, 513, 2),
)
STEPS = 6


def architecture(name: str, filters: int, stem: int) -> Architecture:
    from adl.architecture.genotype import Architecture, load_cell, load_net

    folder = ROOT / "architectures" / name
    return Architecture(
        net=load_net(folder / "net_arch.npy"),
        cell=load_cell(folder / "cell_arch.npy"),
        filter_multiplier=filters,
        initial_fm=stem,
    )


def measure(name: str, filters: int, stem: int, crop: int, batch: int) -> dict[str, float]:
    """Seconds of a step, once compiled, and the process's peak memory in MB."""
    import numpy as np
    from mindspore import Tensor

    from adl import device, network
    from adl.network import drop_path
    from adl.training.losses import OhemCrossEntropy
    from adl.training.optimizers import Momentum
    from adl.training.step import TrainStep

    device.start("CPU")
    net = network.build(architecture(name, filters, stem))
    criterion = OhemCrossEntropy(threshold=0.7, min_kept=batch * crop**2 // 16, ignore_label=255)
    step = TrainStep(net, criterion, Momentum(net, weight_decay=1e-4)).set_train()
    # Learning rate, loss scale, wish to stop.
    scalars = [Tensor(np.float32(x)) for x in (0.01, 2.0**16, 0.0)]
    rng = np.random.default_rng(0)
    images = Tensor(rng.normal(size=(batch, 3, crop, crop)).astype(np.float32))
    labels = Tensor(rng.integers(0, 19, (batch, crop, crop), dtype=np.int32))
    cells, operations = len(net.encoder.nas_cells), len(net.encoder.nas_cells[0].sources)
    seconds = []
    for position in range(STEPS):
        keys, _ = drop_path.draw(seed=0, position=position, places=range(batch), cells=cells, operations=operations)
        start = time.perf_counter()
        float(step(images, labels, Tensor(keys), None, *scalars)[0])
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": sorted(seconds[1:])[(STEPS - 1) // 2],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    sys.path.insert(0, str(ROOT))
    if len(sys.argv) > 1:
        name, *sizes = sys.argv[1:]
        print(json.dumps(measure(name, *map(int, sizes))))
        return
    from adl import device
    from adl.architecture import cost

    print("architecture    F stem crop batch |  s/step estimated |    MB estimated")
    for row in ROWS:
        command = [sys.executable, __file__, *map(str, row)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True)
        measured = json.loads(done.stdout.splitlines()[-1])
        name, filters, stem, crop, batch = row
        network = architecture(name, filters, stem)
        seconds = cost.cpu_step(network, crop, batch, cores=device.cores())
        memory = cost.training_memory(network, crop, batch)
        print(
            f"{name:<12}{filters:>5}{stem:>5}{crop:>5}{batch:>6} |{measured['seconds']:8.2f}{seconds:10.2f} |"
            f"{measured['memory']:6.0f}{memory / 1e6:10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
