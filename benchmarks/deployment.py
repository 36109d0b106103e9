"""The published network on one image: MindSpore and the ONNX file in OpenVINO, in turns; the median of each.

python benchmarks/deployment.py [HEIGHT WIDTH]

The weights are random, which changes no time. Two minutes at 1024 × 2048.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from mindspore import Tensor

from adl import network, runtime
from adl.architecture import Architecture
from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import exported, onnx_graph
from adl.inference import Pass, Probabilities

ROUNDS = 3


def passes(folder: Path) -> dict[str, Pass]:
    architecture = Architecture()
    net = network.build(architecture)
    weights = {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}
    path = folder / "published.onnx"
    onnx.save(onnx_graph.build(architecture, weights, CITYSCAPES), path)
    return {
        "MindSpore": Probabilities(net.set_train(False), CITYSCAPES).set_train(False),
        "OpenVINO": exported.load(path),
    }


def main() -> None:
    height, width = map(int, sys.argv[1:3] or ("1024", "2048"))
    runtime.start("CPU", seed=0)
    image = Tensor(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8))
    with tempfile.TemporaryDirectory() as folder:
        ways = passes(Path(folder))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(ROUNDS + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run(image).asnumpy()
            if i:  # the first compiles
                seconds[name].append(time.perf_counter() - start)
    usual = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in usual.items():
        print(f"{height} × {width}: {name} {value:.2f} s, {usual['MindSpore'] / value:.1f} times")


if __name__ == "__main__":
    main()
