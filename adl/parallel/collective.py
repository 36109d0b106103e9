"""Sums over all ranks, in the graph and differentiable; on one rank they are the thing itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from adl.parallel.world import World


class AllSum(nn.Cell):
    """The sum of a tensor over all ranks, equal on each. Its gradient is the sum of the ranks' gradients."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.alone = world.size == 1
        if not self.alone:
            self.reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x: Tensor) -> Tensor:
        return x if self.alone else self.reduce(x)


class AllSumEach(AllSum):
    """`AllSum` of every tensor of a tuple, which Ascend fuses: the published network has 925 gradients."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        if not self.alone:
            self.reduce.add_prim_attr("fusion", 1)
        self.each = ops.HyperMap()

    def construct(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tensors if self.alone else self.each(self.reduce, tensors)


_PARTS = np.array([1 << 28, 1 << 14, 1])


def sum_counts(counts: np.ndarray, world: World) -> np.ndarray:
    """The sum over all ranks of whole numbers from 0 to below 2^42, exactly, int64; for up to 1024 ranks.

    A CPU sums only floats, and a float32 holds whole numbers up to 2^24: so they travel in parts of 14 bits.
    """
    if world.size == 1:
        return counts
    parts = np.expand_dims(counts, -1) // _PARTS % (1 << 14)
    sums = AllSum(world)(Tensor(parts.astype(np.float32))).asnumpy().astype(np.int64)
    return (sums * _PARTS).sum(axis=-1)


def of_all_ranks(values: Sequence[int], world: World) -> list[list[int]]:
    """What every rank gave, whole numbers from 0 to below 2^42: the same list on all ranks."""
    table = np.zeros((world.size, len(values)), np.int64)
    table[world.rank] = values
    return sum_counts(table, world).tolist()
