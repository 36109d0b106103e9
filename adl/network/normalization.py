"""Batch norm: which kind, decided once and handed down as a factory."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mindspore import Tensor, nn, ops

from adl.parallel.collective import AllSum
from adl.parallel.world import ALONE, World

Norm = Callable[..., nn.Cell]
"""norm(channels, affine=True) -> a batch norm over (N, channels, H, W)."""


def batch_norm(*, momentum: float, eps: float, world: World = ALONE) -> Norm:
    """Batch norm over the images of all ranks of the world.

    momentum: the share of the OLD running statistic that stays at each step (PyTorch's is 1 minus it).
    With affine=False gamma and beta exist, as in a 2021 checkpoint, but are not trained. All kinds have the same
    parameter names.
    """
    kind: Norm = nn.BatchNorm2d
    if world.size > 1:
        kind = functools.partial(GlobalBatchNorm, world.size, AllSum(world))
    return functools.partial(kind, eps=eps, momentum=momentum)


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch norm over the images of all ranks, by differentiable sums.

    nn.SyncBatchNorm is for Ascend only, and the running variance there is unbiased by the number of one rank's values:
    with one image per rank, the pooled branch of ASPP has one value per channel, and its running variance decays to 0.
    """

    def __init__(self, ranks: int, over_ranks: nn.Cell, channels: int, *, momentum: float, **settings: float) -> None:
        super().__init__(channels, momentum=momentum, **settings)
        self.ranks, self.over_ranks, self.old = ranks, over_ranks, momentum

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 to the same; in training the running statistics move by the global batch's."""
        if not self.training:
            return super().construct(x)
        count = self.ranks * x.size // x.shape[1]
        per_channel = (1, -1, 1, 1)
        mean = self.over_ranks(x.sum(axis=(0, 2, 3))) / count
        centred = x - mean.reshape(per_channel)
        variance = self.over_ranks((centred * centred).sum(axis=(0, 2, 3))) / count
        unbiased = variance * (count / (count - 1))
        for running, current in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            moved = self.old * running + (1 - self.old) * ops.stop_gradient(current)
            ops.assign(running, moved)
        factor = self.gamma * ops.rsqrt(variance + self.eps)
        return centred * factor.reshape(per_channel) + self.beta.reshape(per_channel)
