"""An ONNX model that returns labels instead of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from adl.export.onnx_graph import INPUT, PROBABILITIES, Graph

LABELS = "labels"


def with_labels(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network, quantised or not, that returns labels (1, H, W) uint8.

    They are the classes that the average of an image and its mirror image favours; both go through it as one batch.
    """
    labelling = onnx.ModelProto()
    labelling.CopyFrom(model)
    graph = Graph("labels_")
    pair = graph.node("Concat", INPUT, _mirror(graph, INPUT, axis=2), axis=0)
    for node in labelling.graph.node:
        node.input[:] = [pair if name == INPUT else name for name in node.input]
    before, graph.nodes = graph.nodes, []
    graph.nodes.append(
        helper.make_node("Split", [PROBABILITIES], ["upright", "mirrored"], axis=0, num_outputs=2)
    )
    total = graph.node("Add", "upright", _mirror(graph, "mirrored", axis=3))
    best = graph.node("ArgMax", total, axis=1, keepdims=0)
    graph.node("Cast", best, to=TensorProto.UINT8, name=LABELS)
    nodes = [*before, *labelling.graph.node, *graph.nodes]
    labelling.graph.ClearField("node")
    labelling.graph.node.extend(nodes)
    labelling.graph.initializer.extend(graph.constants)
    # The lengths that were inferred are those of a single image.
    labelling.graph.ClearField("value_info")
    shape: list[Any] = [1, "H", "W"]
    labelling.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(LABELS, TensorProto.UINT8, shape)
    )
    onnx.checker.check_model(labelling, full_check=True)
    return labelling


def _mirror(graph: Graph, x: str, *, axis: int) -> str:
    start, end, axes, step = (graph.integers(i) for i in (-1, np.iinfo(np.int64).min, axis, -1))
    return graph.node("Slice", x, start, end, axes, step)
