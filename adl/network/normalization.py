"""Batch norm: which kind, decided once and handed down as a factory."""

from __future__ import annotations

from collections.abc import Callable

from mindspore import nn

Norm = Callable[..., nn.Cell]
"""norm(channels, affine=True) -> a batch norm over (N, channels, H, W)."""


def batch_norm(*, momentum: float, eps: float) -> Norm:
    """Batch norm over the images of one device.

    momentum: the share of the OLD running statistic that stays at each step (PyTorch's is 1 minus it).
    With affine=False gamma and beta exist, as in a 2021 checkpoint, but are not trained.
    """

    def norm(channels: int, affine: bool = True) -> nn.Cell:
        # By keyword: MindSpore announces another default for both.
        return nn.BatchNorm2d(num_features=channels, eps=eps, momentum=momentum, affine=affine)

    return norm
