"""Sums over all ranks, in the graph and differentiable; on one rank they are the thing itself."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from adl.runtime import World


class AllSum(nn.Cell):
    """The sum of a tensor over all ranks, equal on each. Its gradient is the sum of the ranks' gradients."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.alone = world.size == 1
        if not self.alone:
            self.reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x: Tensor) -> Tensor:
        return x if self.alone else self.reduce(x)


class AllSumEach(nn.Cell):
    """`AllSum` of every tensor of a tuple."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.alone = world.size == 1
        if not self.alone:
            self.reduce = ops.AllReduce(ops.ReduceOp.SUM)
        self.each = ops.HyperMap()

    def construct(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tensors if self.alone else self.each(self.reduce, tensors)


_HALF = 1 << 20


def sum_counts(counts: np.ndarray, world: World) -> np.ndarray:
    """The sum over all ranks of whole numbers below 2^40, exactly, int64.

    A CPU sums only floats, and a float32 holds whole numbers up to 2^24: so they travel in two halves.
    """
    if world.size == 1:
        return counts
    halves = np.stack([counts // _HALF, counts % _HALF]).astype(np.float32)
    high, low = AllSum(world)(Tensor(halves)).asnumpy().astype(np.int64)
    return high * _HALF + low
