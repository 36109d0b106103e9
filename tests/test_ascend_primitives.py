"""Ascend without an Ascend: each primitive of the compiled graphs against what MindSpore's Ascend plugin has."""

from __future__ import annotations

import json
import platform
import shutil

import pytest

from adl.architecture.primitives import PRIMITIVES
from benchmarks import ascend_kernels, ascend_primitives
from benchmarks.ascend_graphs import CELL, GRAPHS, OTHERS
from benchmarks.ascend_primitives import CONTROL, TABLE, Use, kernel, lacking

# The first slow test compiles for all.
pytestmark = [pytest.mark.xdist_group("ascend primitives"), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def has():
    return ascend_kernels.kept()


@pytest.fixture(scope="module")
def found():
    """Compiling for it takes a minute, so that what asks for it is slow."""
    return ascend_primitives.collect([*GRAPHS, *OTHERS])


@pytest.fixture(scope="module")
def ours(found):
    return {title: found[title] for title in GRAPHS}


@pytest.mark.slow
def test_ascend_lacks_no_primitive_of_ours(ours, has):
    assert [name for graph in ours.values() for name in lacking(graph, has)] == []


def test_ascend_has_what_mindspore_takes_only_there(has):
    kinds = {name: kernel(name, has) for name in ascend_primitives.ONLY_THERE}
    assert ascend_primitives.LACKING not in kinds.values()


@pytest.mark.slow
def test_committed_table_is_what_is_found(ours, has):
    import mindspore as ms

    assert TABLE.read_text(encoding="utf-8") == ascend_primitives.table(ours, has, ms.__version__)


@pytest.mark.slow
def test_graphs_have_what_they_are_compiled_for(ours):
    assert sorted(op for _, op in CELL) == list(range(len(PRIMITIVES)))
    alone, parallel, evaluation, export, labels = ours.values()
    assert "BatchNormGrad" in alone
    assert "BatchNorm" not in parallel, "batch norm over devices is made of sums"
    assert parallel["AllReduce"].nodes > 100
    assert ("TopK" in parallel, "TopK" in alone) == (True, False)
    for training in (alone, parallel):
        assert {"ApplyMomentum", "AvgPoolGrad", "MaxPoolGrad", "IsFinite"} <= training.keys()
    assert {"ReverseV2", "Argmax", "AllReduce"} <= evaluation.keys()
    assert ("Argmax" in labels, "Argmax" in export) == (True, False)


@pytest.mark.slow
def test_planted_primitive_that_ascend_lacks_is_found(found, has):
    assert lacking(found["planted"], has) == ["AdaptiveMaxPool3D"]


@pytest.mark.slow
def test_planted_primitive_of_the_aicpu_is_listed_with_its_share(found, has):
    planted = found["planted"]
    assert kernel("RightShift", has) == ascend_primitives.AICPU
    assert planted["RightShift"] == Use(nodes=1, elements=32)
    total = sum(use.elements for name, use in planted.items() if name not in CONTROL)
    assert ascend_primitives.slow_share(planted, has) == 32 / total
    text = ascend_primitives.table({"planted": planted}, has, "2.10.0")
    assert f"| RightShift | CANN, AICPU | 1 ({32 / total:.2%}) |" in text


def test_graph_is_read_with_the_elements_of_all_outputs():
    text = """\
  %0(images) = PrimFunc_Cast(%para1_images, I64(43)) {instance name: cast}
      : (<Tensor[UInt8], (1, 4, 4, 3)>, <Int64, NoShape>) -> (<Tensor[Float32], (1, 4, 4, 3)>)
      # In file x.py:1, 2~3/        %9(x) = Not(a)/
  %1(equiv_2_CNode_7) = TopK(%0, I64(5)) primitive_attrs: {sorted: Bool(1)}
      : (<Tensor[Float32], (9)>, <Int64, NoShape>) -> (<Tuple[Tensor[Float32],Tensor[Int32]], TupleShape((5), (5))>)
  %2(loss) = PrimFunc_Cast(%1, I64(43))
      : (<Tensor[Int32], ()>, <Int64, NoShape>) -> (<Ref[Tensor[Float32]], ()>)
"""
    assert ascend_primitives.read(text) == {"Cast": Use(2, 49), "TopK": Use(1, 10)}


def test_node_that_cannot_be_read_is_not_left_out():
    assert ascend_primitives.read("  %3(CNode_3) = %2[@FuncUnion(@a, @b)]()") == {}
    with pytest.raises(ValueError, match="Signature::Mul"):
        ascend_primitives.read("  %3(CNode_3) = Signature::Mul(%1, %2)")


def test_kernels_of_another_mindspore_are_refused(tmp_path, monkeypatch):
    answer = tmp_path / "ascend_kernels.json"
    answer.write_text(json.dumps({"mindspore": "2.9.0", "aclnn": []}))
    monkeypatch.setattr(ascend_kernels, "ANSWER", answer)
    with pytest.raises(ValueError, match=r"is not of MindSpore 2\.10"):
        ascend_kernels.kept()


def can_ask() -> bool:
    return platform.machine() == "x86_64" and bool(shutil.which("cc") and shutil.which("nm"))


@pytest.mark.slow
@pytest.mark.skipif(not can_ask(), reason="needs x86-64, a C compiler and binutils")
def test_kept_answer_is_that_of_the_installed_plugin(has):
    assert ascend_kernels.ask(ascend_kernels.all_names()) == has


@pytest.mark.slow
def test_other_variants_of_training_need_no_other_primitive(found, has):
    variants = [found[title] for title in OTHERS if title != "planted"]
    assert len(variants) == 2
    listed = TABLE.read_text(encoding="utf-8")
    for graph in variants:
        assert lacking(graph, has) == []
        assert [name for name in graph.keys() - CONTROL if f"\n| {name} |" not in listed] == []
