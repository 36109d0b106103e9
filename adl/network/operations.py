"""The eight primitives of the search space, and the convolution blocks that the rest of the network shares.

Every cell here maps (N, C, H, W) float32 to float32; stride 1 keeps H and W.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from adl.architecture.genotype import Size
from adl.architecture.primitives import PRIMITIVES
from adl.network.normalization import Norm

LEAKY_SLOPE = 0.01
SMALL_NORMAL = "normal"
"""MindSpore's name for N(0, 0.01): its default in 2021, which the published network has in its 1×1 projections."""


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    dilation: int = 1,
    init: str = "he_normal",
    **settings: int,
) -> nn.Conv2d:
    """A convolution without bias, padded on every side so that stride 1 keeps the size. settings: of nn.Conv2d."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        pad_mode="pad",
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        has_bias=False,
        weight_init=init,
        **settings,
    )


class LeakyReLU(nn.Cell):
    """LeakyReLU as a product, because the gradient of nn.LeakyReLU takes several times as long on a CPU."""

    def construct(self, x: Tensor) -> Tensor:
        positive = (x > 0).astype(x.dtype)
        return x * ops.stop_gradient(positive * (1 - LEAKY_SLOPE) + LEAKY_SLOPE)


class ConvNormAct(nn.Cell):
    """Convolution, batch norm, activation (LeakyReLU by default). settings: those of `conv`."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        norm: Norm,
        *,
        activation: Callable[[], nn.Cell] = LeakyReLU,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, kernel, **settings)
        self.norm = norm(channels)
        self.activation = activation()

    def construct(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class Zero(nn.Cell):
    """The primitive `none`."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.zeros_like(x)


class SeparableStage(nn.Cell):
    """ReLU, depthwise k×k, 1×1, batch norm."""

    def __init__(self, channels: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.depthwise = conv(channels, channels, kernel, group=channels)
        self.pointwise = conv(channels, channels, 1)
        self.norm = norm(channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(ops.relu(x))))


class SeparableConv(nn.Cell):
    """Two separable stages; the ReLU comes first whatever `use_abn` says, as published."""

    def __init__(self, channels: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.first = SeparableStage(channels, kernel, norm)
        self.second = SeparableStage(channels, kernel, norm)

    def construct(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class DilatedConv(nn.Cell):
    """A full dilated convolution, then 1×1, batch norm; LeakyReLU after them, or ReLU before them."""

    def __init__(self, channels: int, kernel: int, dilation: int, norm: Norm, *, use_abn: bool) -> None:
        super().__init__()
        self.conv = conv(channels, channels, kernel, dilation=dilation)
        self.pointwise = conv(channels, channels, 1)
        self.norm = norm(channels)
        self.before = nn.Identity() if use_abn else nn.ReLU()
        self.after = LeakyReLU() if use_abn else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        return self.after(self.norm(self.pointwise(self.conv(self.before(x)))))


def primitive(op: int, channels: int, norm: Norm, *, use_abn: bool) -> nn.Cell:
    """Build the primitive with the given code (0-7)."""
    chosen = PRIMITIVES[op]
    match chosen.name:
        case "none":
            return Zero()
        case "avg_pool_3x3":
            # Padding "same": the average leaves the padding out, so a field of ones stays ones at the border.
            return nn.AvgPool2d(3, pad_mode="same")
        case "max_pool_3x3":
            return nn.MaxPool2d(3, pad_mode="same")
        case "skip_connect":
            return nn.Identity()
    first = chosen.convolutions[0]
    if first.depthwise:
        return SeparableConv(channels, first.kernel, norm)
    return DilatedConv(channels, first.kernel, first.dilation, norm, use_abn=use_abn)


def resize(x: Tensor, size: Size) -> Tensor:
    """Bilinear resize with aligned corners: the network's only kind. Nothing happens if the size is right."""
    if x.shape[2:] == size:
        return x
    return ops.ResizeBilinearV2(align_corners=True)(x, size)


class Resize(nn.Cell):
    """`resize` with a gradient of two matrix products: the operation's own takes several times as long on a CPU."""

    def construct(self, x: Tensor, size: Size) -> Tensor:
        return resize(x, size)

    def bprop(self, x: Tensor, size: Size, out: Tensor, gradient: Tensor) -> tuple[Tensor, Size]:
        if x.shape[2:] == size:
            return gradient, size
        rows = _interpolation(x.shape[2], size[0]).astype(gradient.dtype)
        columns = _interpolation(x.shape[3], size[1]).astype(gradient.dtype)
        return ops.matmul(ops.matmul(rows.T, gradient), columns), size


@ops.constexpr
def _interpolation(before: int, after: int) -> Tensor:
    """(after, before) float32: how much of each pixel along one side goes into each of the resized ones."""
    positions = np.arange(after) * ((before - 1) / max(after - 1, 1))
    shares = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(before)))
    return Tensor(shares.astype(np.float32))
