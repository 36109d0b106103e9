"""The network as an ONNX model, built from its architecture and its weights: MindSpore cannot export it as one.

The model takes and returns what the MINDIR does, at any height and width: images (1, H, W, 3) uint8 in the data set's
order of channels; probabilities (1, classes, H, W) float32. Batch norm is folded into the convolution before it. The
order of the layers is that of `adl.network`, whose parameter names find the weights.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adl.architecture import Architecture
from adl.architecture.genotype import ASPP_DILATIONS, LOW_LEVEL_CELL
from adl.architecture.primitives import PRIMITIVES
from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.network.operations import LEAKY_SLOPE

OPSET = 18
IR_VERSION = 9
"""Older than the newest, so that the runtimes of the last years read the file."""
POOLING: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
INPUT, PROBABILITIES, LABELS = "images", "probabilities", "labels"


def build(architecture: Architecture, weights: Mapping[str, np.ndarray], dataset: DatasetDescriptor) -> onnx.ModelProto:
    """The model of a trained network.

    weights: parameter name of `adl.network` → float32 array. The metadata hold the class names, the palette (RGB) and
    the architecture as JSON. Raises KeyError if a weight is missing, onnx.checker.ValidationError if the model is
    invalid.
    """
    graph = _Network(architecture, weights, dataset)
    shape: list[Any] = [1, architecture.num_classes, "H", "W"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "auto_deeplab",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "H", "W", 3])],
            [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, shape)],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="auto-deeplab",
    )
    metadata = {
        "classes": dataset.class_names,
        "palette": [one.colour for one in dataset.classes],
        "architecture": architecture.to_json(),
    }
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    return model


def with_labels(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, quantised or not, that returns labels (1, H, W) uint8.

    They are the classes that the average of an image and its mirror image favours; both go through it as one batch.
    """
    labelling = copy.deepcopy(model)
    graph, added = labelling.graph, Graph("labels_")
    pair = added.node("Concat", INPUT, added.mirror(INPUT, 2), axis=0)
    for node in graph.node:
        node.input[:] = [pair if name == INPUT else name for name in node.input]
    before, added.nodes = added.nodes, []
    added.nodes.append(helper.make_node("Split", [PROBABILITIES], ["upright", "mirrored"], axis=0, num_outputs=2))
    total = added.node("Add", "upright", added.mirror("mirrored", 3))
    best = added.node("ArgMax", total, axis=1, keepdims=0)
    added.node("Cast", best, to=TensorProto.UINT8, name=LABELS)
    # Without the lengths that were inferred inside, which are those of a single image.
    graph.CopyFrom(
        helper.make_graph(
            [*before, *graph.node, *added.nodes],
            graph.name,
            graph.input,
            [helper.make_tensor_value_info(LABELS, TensorProto.UINT8, [1, "H", "W"])],
            [*graph.initializer, *added.constants],
        )
    )
    onnx.checker.check_model(labelling, full_check=True)
    return labelling


class Graph:
    """The nodes and constants of a graph; what adds one returns the name of its result, which begins with `prefix`."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{self.prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def resize(self, x: str, size: str) -> str:
        """Bilinear resize with aligned corners. size: vector (H, W)."""
        lengths = self.node("Concat", self.node("Shape", x, start=0, end=2), size, axis=0)
        return self.node(
            "Resize",
            x,
            "",
            "",
            lengths,
            mode="linear",
            coordinate_transformation_mode="align_corners",
        )

    def side_after(self, size: str, move: int) -> str:
        """`adl.architecture.genotype.side_after`, for a vector (H, W)."""
        if move == 0:
            return size
        two = self.integers(2)
        if move > 0:
            return self.node("Div", self.node("Add", size, self.integers(1)), two)
        return self.node("Sub", self.node("Mul", size, two), self.node("Mod", size, two))

    def mirror(self, x: str, axis: int) -> str:
        # Start, end, axis and step.
        limits = [self.integers(i) for i in (-1, np.iinfo(np.int64).min, axis, -1)]
        return self.node("Slice", x, *limits)


class _Network(Graph):
    """The graph of an architecture. `at` is the name of a cell of `adl.network`, as in its weights."""

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, np.ndarray],
        dataset: DatasetDescriptor,
    ) -> None:
        super().__init__()
        self.architecture, self.weights = architecture, weights
        normalise = Normalise(dataset)
        x = self.node("Cast", INPUT, to=TensorProto.FLOAT)
        x = self.node("Sub", x, self.constant(normalise.mean))
        x = self.node("Mul", x, self.constant(normalise.factor))
        x = self.node("Transpose", x, perm=[0, 3, 1, 2])
        outputs = self._encoder(x)
        x = self._decoder(outputs[LOW_LEVEL_CELL], self._aspp(outputs[-1]))
        x = self.resize(x, self.node("Shape", INPUT, start=1, end=3))
        self.node("Softmax", x, axis=1, name=PROBABILITIES)

    def _encoder(self, x: str) -> list[str]:
        """Returns the output of each cell."""
        older = self._leaky(self._conv_norm(x, "encoder.stem.0", stride=2))
        older = self._leaky(self._conv_norm(older, "encoder.stem.1"))
        previous = self._leaky(self._conv_norm(older, "encoder.stem.2", stride=2))
        size = self.node("Shape", previous, start=2, end=4)
        outputs = []
        last_move = 1
        for i, (_, _, move) in enumerate(self.architecture.cells):
            at = f"encoder.nas_cells.{i}"
            size = self.side_after(size, move)
            states = [
                self._preprocess(older, size, f"{at}.older", last_move, move),
                self._preprocess(previous, size, f"{at}.previous", move),
            ]
            older, previous, last_move = previous, self._cell(states, at), move
            outputs.append(previous)
        return outputs

    def _preprocess(self, x: str, size: str, at: str, *moves: int) -> str:
        """moves: by how many levels each cell between x and this one moved; without any, x has the size already."""
        if not self.architecture.use_abn:
            if any(moves):
                x = self.resize(x, size)
            return self._conv_norm(self.node("Relu", x), at)
        # Convolution and resize are linear, so they commute; the convolution comes where the image is smaller.
        shrinks = sum(moves) > 0
        if shrinks:
            x = self.resize(x, size)
        x = self._conv_norm(x, at)
        if any(moves) and not shrinks:
            x = self.resize(x, size)
        return self._leaky(x)

    def _cell(self, states: list[str], at: str) -> str:
        """states: the two earlier outputs, at the size and width of this cell."""
        outputs: list[str] = []
        for i, (state, op) in enumerate(self.architecture.cell):
            outputs.append(self._primitive(op, states[state], f"{at}.operations.{i}"))
            if i % 2:
                states.append(self.node("Add", *outputs[-2:]))
        return self.node("Concat", *states[2:], axis=1)

    def _primitive(self, op: int, x: str, at: str) -> str:
        chosen = PRIMITIVES[op]
        match chosen.name:
            case "none":
                return self.node("Mul", x, self.constant(np.zeros((), np.float32)))
            case "avg_pool_3x3":
                return self.node("AveragePool", x, **POOLING)
            case "max_pool_3x3":
                return self.node("MaxPool", x, **POOLING)
            case "skip_connect":
                return x
            case "sep_conv_3x3" | "sep_conv_5x5":
                for stage in (f"{at}.first", f"{at}.second"):
                    depthwise = self.weights[f"{stage}.depthwise.weight"]
                    x = self._conv(self.node("Relu", x), depthwise, groups=len(depthwise))
                    x = self._conv_norm(x, stage, conv="pointwise")
                return x
            case "dil_conv_3x3" | "dil_conv_5x5":
                use_abn = self.architecture.use_abn
                if not use_abn:
                    x = self.node("Relu", x)
                kernel = self.weights[f"{at}.conv.weight"]
                x = self._conv(x, kernel, dilation=chosen.convolutions[0].dilation)
                x = self._conv_norm(x, at, conv="pointwise")
                return self._leaky(x) if use_abn else x
        raise KeyError(chosen.name)

    def _aspp(self, x: str) -> str:
        branches = [
            self._leaky(self._conv_norm(x, f"aspp.branches.{i}", dilation=dilation))
            for i, dilation in enumerate((1, *ASPP_DILATIONS))
        ]
        mean = self.node("ReduceMean", x, self.integers(2, 3))
        pooled = self._leaky(self._conv_norm(mean, "aspp.pooled"))
        shape = self.node("Concat", self.integers(1, 1), self.node("Shape", x, start=2, end=4), axis=0)
        branches.append(self.node("Expand", pooled, shape))
        joined = self.node("Concat", *branches, axis=1)
        return self._leaky(self._conv_norm(joined, "aspp.projection"))

    def _decoder(self, low_level: str, context: str) -> str:
        """Returns logits of the size of low_level."""
        low_level = self.node("Relu", self._conv_norm(low_level, "decoder.low_level"))
        context = self.resize(context, self.node("Shape", low_level, start=2, end=4))
        x = self.node("Concat", context, low_level, axis=1)
        for i in range(2):
            x = self.node("Relu", self._conv_norm(x, f"decoder.refine.{i}"))
        return self._conv(x, self.weights["decoder.classifier.weight"])

    def _conv_norm(self, x: str, at: str, *, conv: str = "conv", **geometry: int) -> str:
        """A convolution and the batch norm after it, as one convolution with a bias. geometry: as of `_conv`."""
        gamma, beta, mean, variance = (
            self.weights[f"{at}.norm.{name}"].astype(np.float64)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + self.architecture.bn_eps)
        kernel = self.weights[f"{at}.{conv}.weight"] * factor[:, None, None, None]
        return self._conv(x, kernel, beta - mean * factor, **geometry)

    def _conv(
        self,
        x: str,
        kernel: np.ndarray,
        *bias: np.ndarray,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> str:
        """kernel: (out, in / groups, k, k). Padded so that stride 1 keeps the size."""
        constants = [self.constant(value.astype(np.float32)) for value in (kernel, *bias)]
        return self.node(
            "Conv",
            x,
            *constants,
            strides=[stride] * 2,
            dilations=[dilation] * 2,
            pads=[dilation * (kernel.shape[-1] - 1) // 2] * 4,
            group=groups,
            # It follows from the weights, but OpenCV, ncnn and onnx2tf look for it here.
            kernel_shape=kernel.shape[2:],
        )

    def _leaky(self, x: str) -> str:
        return self.node("LeakyRelu", x, alpha=LEAKY_SLOPE)
