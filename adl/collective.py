"""Sums over all ranks, in the graph and differentiable; on one rank they are the thing itself."""

from __future__ import annotations

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
