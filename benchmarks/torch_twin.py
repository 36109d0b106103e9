"""An ONNX file of this project in PyTorch, for a comparison of speed. torch is not a dependency: install it by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional


def load(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """Images (1, H, W, 3) uint8 → probabilities. Raises KeyError for an operator that this project does not use."""
    model = onnx.load(path)
    constants = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in model.graph.initializer}
    [result] = (one.name for one in model.graph.output)

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        values = constants | {model.graph.input[0].name: torch.from_numpy(images)}
        for node in model.graph.node:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            inputs = [values[name] for name in node.input if name]
            values[node.output[0]] = OPERATORS[node.op_type](*inputs, **attributes)
        return values[result].numpy()

    return run


def _conv(x: Any, weight: Any, bias: Any = None, **a: Any) -> Any:
    return functional.conv2d(x, weight, bias, a["strides"], a["pads"][:2], a["dilations"], a["group"])


def _resize(x: Any, lengths: Any, **_: Any) -> Any:
    size = tuple(lengths[2:].tolist())
    return functional.interpolate(x, size, mode="bilinear", align_corners=True)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": torch.add,
    "AveragePool": lambda x, **_: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "Cast": lambda x, **_: x.to(torch.float32),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "Div": lambda a, b: torch.div(a, b, rounding_mode="floor"),
    "Expand": lambda x, shape: x * torch.ones(shape.tolist()),
    "LeakyRelu": lambda x, alpha: functional.leaky_relu(x, alpha),
    "MaxPool": lambda x, **_: functional.max_pool2d(x, 3, 1, 1),
    "Mod": torch.remainder,
    "Mul": torch.mul,
    "ReduceMean": lambda x, axes: x.mean(axes.tolist(), keepdim=True),
    "Relu": torch.relu,
    "Resize": _resize,
    "Shape": lambda x, start, end: torch.tensor(x.shape[start:end]),
    "Softmax": lambda x, axis: torch.softmax(x, axis),
    "Sub": torch.sub,
    "Transpose": lambda x, perm: x.permute(*perm).contiguous(),
}
