"""One image through each runtime, in turns; the median of each.

python benchmarks/deployment.py [HEIGHT WIDTH]

Published network with random weights, which change no time: MindSpore, the ONNX file in float32 and in 8 bits, each in
OpenVINO and in ONNX Runtime, and PyTorch where torch is installed. Three minutes at 1024 × 2048. Then the embedded
network, if it was trained, from image to labels with the mirror image: what `infer` measures.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from mindspore import Tensor

from adl import device, network
from adl.architecture import Architecture
from adl.dataset import descriptor
from adl.evaluation.inference import Mode, Probabilities
from adl.export import onnx_graph, runtimes
from adl.export.exported import Exported
from adl.export.quantise import quantise
from adl.workspace import EXPORTED, MINDIR

ROUNDS = 3
Ways = dict[str, Callable[[np.ndarray], object]]


def published(folder: Path, image: np.ndarray) -> Ways:
    architecture = Architecture()
    net = network.build(architecture)
    weights = {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}
    model = onnx_graph.build(architecture, weights, descriptor.shipped("cityscapes"))
    onnx.save(model, folder / "float32.onnx")
    onnx.save(quantise(model, [image[0, :257, :513]]), folder / "int8.onnx")
    mindspore = Probabilities(net.set_train(False), descriptor.shipped("cityscapes")).set_train(False)
    ways: Ways = {"MindSpore": lambda image: mindspore(Tensor(image)).asnumpy()}
    for kind in ("float32", "int8"):
        for backend in ("openvino", "onnxruntime"):
            ways[f"{backend} {kind}"] = runtimes.load(folder / f"{kind}.onnx", backend=backend)
    if importlib.util.find_spec("torch"):
        import torch_twin

        ways["PyTorch float32"] = torch_twin.load(str(folder / "float32.onnx"))
    else:
        print("PyTorch: torch is not installed")
    return ways


def embedded() -> Ways:
    mode = Mode(mirror=True)
    ways: Ways = {}
    for path in (MINDIR, *sorted(EXPORTED.glob("*.onnx"))):
        if path.exists():
            file = Exported.load(path)
            ways[path.name] = lambda image, file=file: file.label_maps(image, mode)
    return ways


def compare(ways: Ways, image: np.ndarray, *, rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run(image)
            if i:  # the first compiles
                seconds[name].append(time.perf_counter() - start)
    usual = {name: statistics.median(values) for name, values in seconds.items()}
    slowest = next(iter(usual.values()))  # MindSpore's
    _, height, width, _ = image.shape
    for name, value in usual.items():
        print(f"{height} × {width}, {name}: {1000 * value:.1f} ms, {slowest / value:.1f} times")


def main() -> None:
    height, width = map(int, sys.argv[1:3] or ("1024", "2048"))
    device.start("CPU", seed=0)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        compare(published(Path(folder), image), image, rounds=ROUNDS)
    if ways := embedded():
        size = Exported.load(MINDIR).size
        compare(ways, rng.integers(0, 256, (1, *size, 3), dtype=np.uint8), rounds=50)


if __name__ == "__main__":
    main()
