"""What Ascend has for every primitive of our graphs, on paper: no device is used.

    python benchmarks/ascend_primitives.py          # writes ascend_primitives.md, a minute

Each graph of ascend_graphs.py is compiled on a CPU for a small network. The primitives, with the shapes of their
outputs, come from the graph as MindSpore's front end leaves it (`validate`), before any pass of a device's back end.
What Ascend has for each comes from ascend_kernels.json.

What this shows: that the back end for Ascend knows each primitive, and whether its kernel is on the AI cores, or only
on the slow processor beside them (AICPU).

What it cannot show: what Ascend's own passes make of the graph later (they merge and replace nodes); what MindSpore's
Python code takes only there (known of `all_finite`: ONLY_THERE); whether a kernel takes these types and shapes (some
take another one for int64, or for a very large k); and whether it computes what it should. Shares of elements are
those of the small network.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_suffix(".md")

CONTROL = {
    "UpdateState", "Load", "Depend", "MakeTuple", "TupleGetItem", "make_list", "Partial", "Switch", "Return",
    "Reshape", "ExpandDims", "Squeeze",
}  # fmt: skip
"""No kernel computes these: order of effects, tuples, branches; and the same memory with another shape."""
TOGETHER = {"AllReduce"}
"""What all devices do together, by HCCL: IsCommunicationOp in MindSpore."""
AI_CORE = {
    "AddN", "ApplyMomentum", "Argmax", "Assign", "AvgPool", "AvgPoolGrad", "BatchNorm", "BatchNormGrad", "Conv2D",
    "Conv2DBackpropFilter", "Conv2DBackpropInput", "Gather", "MaxPool", "MaxPoolGrad", "RealDiv", "ReduceMean",
    "ResizeBilinearV2", "RsqrtGrad", "Stack", "StridedSlice", "StridedSliceGrad", "TopK", "UnsortedSegmentSum",
    "Unstack",
}  # fmt: skip
"""Operators of CANN that have a kernel on the AI cores. The wheel does not say so; these do:

- mindspore-ai/mindspore at 00e912d, mindspore/python/mindspore/ops/_op_impl/tbe/__init__.py, from when MindSpore listed
  the AI cores' kernels itself (arg_max for Argmax, gather_v2 for Gather, pack for Stack, unpack for Unstack,
  resize_bilinear taken to be ResizeBilinearV2);
- RsqrtGrad: hiascend.com/document/detail/en/canncommercial/850/devaids/aoe/aoerc_16_0091.html, "Operator List".
"""
ONLY_THERE = ("AllFinite", "NPUGetFloatStatusV2", "NPUClearFloatStatusV2", "LogicalNot", "Equal")
"""What amp.all_finite has on Ascend in place of IsFinite: it asks for the device before a graph exists."""
LACKING, AICPU, UNKNOWN = "none", "CANN, AICPU", "CANN, where is not known"
SLOW = (AICPU, UNKNOWN)


class Use(NamedTuple):
    """Of one primitive in one graph. elements: of the outputs of all its nodes."""

    nodes: int
    elements: int


Graph = Mapping[str, Use]


def kernel(name: str, has: Mapping[str, set[str]]) -> str:
    """What Ascend has for a primitive. has: as ascend_kernels.kept."""
    if name in CONTROL:
        return "needs none"
    platforms = documented(name)
    if platforms and "Ascend" not in platforms:
        return LACKING
    if name in TOGETHER:
        return "HCCL"
    if name in has["aclnn"]:
        return "aclnn"
    if name not in has["cann"]:
        return LACKING
    if name in AI_CORE:
        return "CANN, AI core"
    return AICPU if name in has["aicpu"] else UNKNOWN


def documented(name: str) -> set[str]:
    """The supported platforms that MindSpore's documentation states; empty if it states none."""
    from mindspore import ops
    from mindspore.ops import auto_generate, operations

    for module in (ops, operations, auto_generate):
        text = getattr(getattr(module, name, None), "__doc__", None) or ""
        stated = re.search(r"Supported Platforms:\s*\n\s*(.+)", text)
        if stated:
            return set(re.findall(r"``(\w+)``", stated[1]))
    return set()


NODE = re.compile(r"^  [%$]\w+\([^)]*\) = (?:PrimFunc_)?(\w+)\(")
CALL = re.compile(r"^  [%$]\w+\([^)]*\) = %")
"""Of a part of the graph, whose own nodes are in the text too."""
SHAPE = re.compile(r"\(([\d, ]*)\)")


def read(text: str) -> dict[str, Use]:
    """Primitive → how it is used, from MindSpore's text of a graph. Raises ValueError at a node that it cannot read."""
    found: dict[str, Use] = {}
    name = None
    for line in text.splitlines():
        node = NODE.match(line)
        if node:
            name = node[1]
        elif line.startswith(("  %", "  $")) and not CALL.match(line):
            raise ValueError(f"not a node of a known form: {line[:200]}")
        elif name and line.startswith("      : ("):
            shapes = SHAPE.findall(line.rsplit(" -> ", 1)[1])
            elements = sum(math.prod(map(int, re.findall(r"\d+", shape))) for shape in shapes)
            before = found.get(name, Use(0, 0))
            found[name] = Use(before.nodes + 1, before.elements + elements)
            name = None
    return found


def collect(names: list[str]) -> dict[str, dict[str, Use]]:
    """Graph → primitive → how it is used. In a process of its own, whose compilations are recorded."""
    with tempfile.TemporaryDirectory() as folder:
        recording = {
            "MS_DEV_SAVE_GRAPHS": "2",
            "MS_DEV_SAVE_GRAPHS_PATH": folder,
            "MS_DEV_DUMP_IR_PASSES": "validate",
        }
        command = [sys.executable, __file__, folder, *names]
        done = subprocess.run(
            command,
            env=os.environ | recording,
            stdout=subprocess.PIPE,
            check=True,
            encoding="utf-8",
        )
    graphs = json.loads(done.stdout.splitlines()[-1])
    return {graph: {name: Use(*use) for name, use in uses.items()} for graph, uses in graphs.items()}


def record(folder: Path, names: list[str]) -> dict[str, dict[str, Use]]:
    from adl import device
    from benchmarks.ascend_graphs import GRAPHS, OTHERS

    device.start("CPU")
    graphs = {}
    for name in names:
        (GRAPHS | OTHERS)[name]()
        file = max(folder.rglob("*_validate_*.ir"), key=lambda path: path.stat().st_mtime_ns)
        graphs[name] = read(file.read_text(encoding="utf-8"))
        file.unlink()
    return graphs


def slow_share(graph: Graph, has: Mapping[str, set[str]]) -> float:
    """Share of a graph's elements that the AICPU computes, or that are computed where is not known."""
    of = {name: kernel(name, has) for name in graph}
    slow = sum(use.elements for name, use in graph.items() if of[name] in SLOW)
    return slow / sum(use.elements for name, use in graph.items() if name not in CONTROL)


def lacking(graph: Graph, has: Mapping[str, set[str]]) -> list[str]:
    return sorted(name for name in graph if kernel(name, has) == LACKING)


def table(graphs: Mapping[str, Graph], has: Mapping[str, set[str]], version: str) -> str:
    names = sorted(set().union(*graphs.values()) - CONTROL)
    lines = [
        "# What Ascend has for our primitives, on paper",
        "",
        "Written by `benchmarks/ascend_primitives.py`, which says what this shows and what it cannot.",
        f"MindSpore {version}; a network of three cells. Nothing was run on Ascend.",
        "",
        "| graph | primitives | nodes | elements | of them on the AICPU, or where is not known |",
        "|---|---|---|---|---|",
    ]
    for title, graph in graphs.items():
        computed = {name: use for name, use in graph.items() if name not in CONTROL}
        nodes = sum(use.nodes for use in computed.values())
        elements = sum(use.elements for use in computed.values())
        share = slow_share(graph, has)
        lines.append(f"| {title} | {len(computed)} | {nodes} | {elements} | {share:.2%} |")
    lines += [
        "",
        "Nodes of each primitive; for one that runs on the AICPU, or where is not known, its share of the elements.",
        "",
        f"| primitive | kernel | {' | '.join(graphs)} |",
        "|---|---|" + "---|" * len(graphs),
    ]
    for name in names:
        kind = kernel(name, has)
        cells = [cell(name, graph, shared=kind in SLOW) for graph in graphs.values()]
        lines.append(f"| {name} | {kind} | {' | '.join(cells)} |")
    there = ", ".join(f"{name} ({kernel(name, has)})" for name in ONLY_THERE)
    lines += [
        "",
        f"In place of IsFinite, `amp.all_finite` has on Ascend, by the device's kind: {there}.",
    ]
    return "\n".join(lines) + "\n"


def cell(name: str, graph: Graph, *, shared: bool) -> str:
    if name not in graph:
        return ""
    if not shared:
        return str(graph[name].nodes)
    elements = sum(use.elements for other, use in graph.items() if other not in CONTROL)
    return f"{graph[name].nodes} ({graph[name].elements / elements:.2%})"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    if len(sys.argv) > 1:
        print(json.dumps(record(Path(sys.argv[1]), sys.argv[2:])))
        return
    import mindspore as ms

    from benchmarks import ascend_kernels
    from benchmarks.ascend_graphs import GRAPHS

    has = ascend_kernels.kept()
    text = table(collect(list(GRAPHS)), has, ms.__version__)
    TABLE.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
