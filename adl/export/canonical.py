"""A MINDIR in canonical form: two exports of one network are one file."""

from __future__ import annotations

import collections
import itertools
from pathlib import Path

from mindspore.train import mind_ir_pb2

_REFERENCE = "REF::"
"""Begins an `op_type` that names one of the file's primitives."""


def canonicalise(path: Path) -> None:
    """Rewrite a MINDIR without what differs from one process to the next.

    That is the time and the address of the compilation, the order of the primitives, and names that hold counters of
    the process, or that MindSpore merged in either order. The weights keep their names.
    """
    model = mind_ir_pb2.ModelProto()
    model.ParseFromString(path.read_bytes())
    graph = model.graph
    values, primitives = _numbered("value"), _numbered("primitive")
    for one in (*graph.parameter, *graph.input):
        values[one.name] = one.name.rpartition(":")[2]
    scopes: dict[str, itertools.count] = collections.defaultdict(itertools.count)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [values[name] for name in names]
        node.name = values[node.name]
        scope, operator, _ = node.domain.rpartition("-op")
        node.domain = f"{scope}{operator}{next(scopes[scope])}"
        if node.op_type.startswith(_REFERENCE):
            node.op_type = _REFERENCE + primitives[node.op_type.removeprefix(_REFERENCE)]
    for one in (*graph.parameter, *graph.input, *graph.output):
        one.name = values[one.name]
    for primitive in model.primitives:
        primitive.name = primitives[primitive.name]
    model.primitives.sort(key=lambda primitive: int(primitive.name.rpartition("_")[2]))
    graph.name = "auto_deeplab"
    for attribute in graph.attribute:
        if attribute.name == "compile_phase":
            attribute.s = b"export"
    # A new file: MindSpore's may not be written, not even by its owner.
    path.unlink()
    path.write_bytes(model.SerializeToString(deterministic=True))


def _numbered(prefix: str) -> dict[str, str]:
    """Any name → prefix and a number, in the order in which the names are first asked for."""
    numbers = itertools.count()
    return collections.defaultdict(lambda: f"{prefix}_{next(numbers)}")
