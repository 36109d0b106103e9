"""The parameter names of the 2021 model zoo."""

from __future__ import annotations

import re
from collections.abc import Iterable

_EVERYWHERE = {
    r"encoder\.stem\.(\d)\.conv\.": r"encoder.stem\1.0.",
    r"encoder\.stem\.(\d)\.norm\.": r"encoder.stem\1.1.op.0.op.",
    r"encoder\.nas_cells\.(\d+)\.older\.": r"encoder.NASCells.\1.pre_preprocess.",
    r"encoder\.nas_cells\.(\d+)\.previous\.": r"encoder.NASCells.\1.preprocess.",
    r"encoder\.nas_cells\.(\d+)\.operations\.(\d+)\.": r"encoder.NASCells.\1.operations.\2.0.",
    r"first\.depthwise\.": "op.1.",
    r"first\.pointwise\.": "op.2.",
    r"first\.norm\.": "op.3.op.",
    r"second\.depthwise\.": "op.5.",
    r"second\.pointwise\.": "op.6.",
    r"second\.norm\.": "op.7.op.",
    # ASPP's branches count from 1 there, and the pooled one is the last.
    r"aspp\.branches\.0\.": "aspp.aspp1.",
    r"aspp\.branches\.1\.": "aspp.aspp2.",
    r"aspp\.branches\.2\.": "aspp.aspp3.",
    r"aspp\.branches\.3\.": "aspp.aspp4.",
    r"aspp\.pooled\.": "aspp.aspp5.",
    r"(aspp\.aspp\d)\.conv\.": r"\1.",
    r"(aspp\.aspp\d)\.norm\.": r"\1_bn.op.0.op.",
    r"aspp\.projection\.conv\.": "aspp.conv2.",
    r"aspp\.projection\.norm\.": "aspp.bn2.op.0.op.",
    r"decoder\.low_level\.conv\.": "decoder.conv1.",
    r"decoder\.low_level\.norm\.": "decoder.bn1.op.0.op.",
    r"decoder\.refine\.0\.conv\.": "decoder.last_conv.0.",
    r"decoder\.refine\.0\.norm\.": "decoder.last_conv.1.op.0.op.",
    r"decoder\.refine\.1\.conv\.": "decoder.last_conv.3.",
    r"decoder\.refine\.1\.norm\.": "decoder.last_conv.4.op.0.op.",
    r"decoder\.classifier\.": "decoder.last_conv.6.",
}
"""Pattern in our names → what stands there in those of 2021; later rows meet what earlier ones have replaced."""
_WITH_ABN = {
    r"(preprocess|operations\.\d+\.0)\.conv\.": r"\1.op.0.",
    r"(preprocess)\.norm\.": r"\1.op.1.op.0.op.",
    r"(operations\.\d+\.0)\.pointwise\.": r"\1.op.1.",
    r"(operations\.\d+\.0)\.norm\.": r"\1.op.2.op.0.op.",
}
_WITHOUT_ABN = {
    r"(preprocess|operations\.\d+\.0)\.conv\.": r"\1.op.1.",
    r"(preprocess)\.norm\.": r"\1.op.2.",
    r"(operations\.\d+\.0)\.pointwise\.": r"\1.op.2.",
    r"(operations\.\d+\.0)\.norm\.": r"\1.op.3.",
}
NO_WEIGHT = re.compile(
    r"moments\..*|.*global_step|learning_rate|momentum|.*loss_scale.*|scale_sense|.*scaling_sens"
    r"|current_iterator_step|last_overflow_iterator_step|epoch_num|step_num"
)
"""Optimizer slots, counters and loss-scale entries: a 2021 file holds them, and none is a weight."""


def in_2021(name: str, *, use_abn: bool) -> str:
    """The name that one of our parameters has in a 2021 checkpoint."""
    replacements = _EVERYWHERE | (_WITH_ABN if use_abn else _WITHOUT_ABN)
    for pattern, replacement in replacements.items():
        name = re.sub(pattern, replacement, name)
    return name


def recognised(names: Iterable[str]) -> bool:
    """Are these the names of a 2021 file?"""
    return any(name.startswith(("encoder.NASCells.", "encoder.stem0.")) for name in names)
