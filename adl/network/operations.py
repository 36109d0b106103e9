"""The eight primitives of the search space, and the convolution blocks that the rest of the network shares.

Every cell here maps (N, C, H, W) float32 to float32; stride 1 keeps H and W.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, Normal

from adl.architecture.primitives import PRIMITIVES, Convolution
from adl.network.normalization import Norm

LEAKY_SLOPE = 0.01


def he_normal() -> Initializer:
    return HeNormal()


def small_normal() -> Initializer:
    """MindSpore's default in 2021, which the published network has in its 1×1 projections. Today's is another."""
    return Normal(0.01)


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    init: Initializer | None = None,
) -> nn.Conv2d:
    """A convolution without bias, padded on every side so that stride 1 keeps the size."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        pad_mode="pad",
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
        group=groups,
        has_bias=False,
        weight_init=init or he_normal(),
    )


def conv_of(convolution: Convolution, channels: int) -> nn.Conv2d:
    """One of the convolutions that a primitive consists of."""
    return conv(
        channels,
        channels,
        convolution.kernel,
        dilation=convolution.dilation,
        groups=channels if convolution.depthwise else 1,
    )


class LeakyReLU(nn.Cell):
    """LeakyReLU as a product, because the gradient of nn.LeakyReLU takes several times as long on a CPU."""

    def construct(self, x: Tensor) -> Tensor:
        positive = (x > 0).astype(x.dtype)
        return x * ops.stop_gradient(positive * (1 - LEAKY_SLOPE) + LEAKY_SLOPE)


class ConvNormAct(nn.Cell):
    """Convolution, batch norm, activation (LeakyReLU by default)."""

    def __init__(self, conv: nn.Conv2d, norm: nn.Cell, activation: nn.Cell | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation or LeakyReLU()

    def construct(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))


class Zero(nn.Cell):
    """The primitive `none`."""

    def construct(self, x: Tensor) -> Tensor:
        return ops.zeros_like(x)


class SeparableStage(nn.Cell):
    """ReLU, depthwise k×k, 1×1, batch norm."""

    def __init__(self, depthwise: nn.Conv2d, pointwise: nn.Conv2d, norm: nn.Cell) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise
        self.norm = norm

    def construct(self, x: Tensor) -> Tensor:
        return self.norm(self.pointwise(self.depthwise(ops.relu(x))))


class SeparableConv(nn.Cell):
    """Two separable stages; the ReLU comes first whatever `use_abn` says, as published."""

    def __init__(self, first: SeparableStage, second: SeparableStage) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def construct(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class DilatedConv(nn.Cell):
    """A full dilated convolution, then 1×1, batch norm; LeakyReLU after them, or ReLU before them."""

    def __init__(
        self, conv: nn.Conv2d, pointwise: nn.Conv2d, norm: nn.Cell, *, use_abn: bool
    ) -> None:
        super().__init__()
        self.conv = conv
        self.pointwise = pointwise
        self.norm = norm
        self.before = nn.Identity() if use_abn else nn.ReLU()
        self.after = LeakyReLU() if use_abn else nn.Identity()

    def construct(self, x: Tensor) -> Tensor:
        return self.after(self.norm(self.pointwise(self.conv(self.before(x)))))


def primitive(op: int, *, channels: int, norm: Norm, affine: bool, use_abn: bool) -> nn.Cell:
    """Build the primitive with the given code (0-7)."""
    chosen = PRIMITIVES[op]

    def separable() -> nn.Cell:
        stages = []
        for parts in (chosen.convolutions[:2], chosen.convolutions[2:]):
            depthwise, pointwise = (conv_of(part, channels) for part in parts)
            stages.append(SeparableStage(depthwise, pointwise, norm(channels, affine)))
        return SeparableConv(*stages)

    def dilated() -> nn.Cell:
        full, pointwise = (conv_of(part, channels) for part in chosen.convolutions)
        return DilatedConv(full, pointwise, norm(channels, affine), use_abn=use_abn)

    # Padding "same": the average leaves the padding out, so a field of ones stays ones at the border.
    table: dict[str, Callable[[], nn.Cell]] = {
        "none": Zero,
        "avg_pool_3x3": lambda: nn.AvgPool2d(3, stride=1, pad_mode="same"),
        "max_pool_3x3": lambda: nn.MaxPool2d(3, stride=1, pad_mode="same"),
        "skip_connect": nn.Identity,
        "sep_conv_3x3": separable,
        "sep_conv_5x5": separable,
        "dil_conv_3x3": dilated,
        "dil_conv_5x5": dilated,
    }
    return table[chosen.name]()


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize with aligned corners: the network's only kind. Nothing happens if the size is right."""
    if x.shape[2] == size[0] and x.shape[3] == size[1]:
        return x
    return ops.ResizeBilinearV2(align_corners=True)(x, size)


class Resize(nn.Cell):
    """`resize` with a gradient of two matrix products: the operation's own takes several times as long on a CPU."""

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(x, size)

    def bprop(
        self, x: Tensor, size: tuple[int, int], out: Tensor, gradient: Tensor
    ) -> tuple[Tensor, tuple[int, int]]:
        if x.shape[2] == size[0] and x.shape[3] == size[1]:
            return gradient, size
        rows = _interpolation(x.shape[2], size[0]).astype(gradient.dtype)
        columns = _interpolation(x.shape[3], size[1]).astype(gradient.dtype)
        return ops.matmul(ops.matmul(rows.T, gradient), columns), size


@ops.constexpr
def _interpolation(before: int, after: int) -> Tensor:
    """(after, before) float32: how much of each pixel along one side goes into each of the resized ones."""
    positions = np.arange(after) * ((before - 1) / max(after - 1, 1))
    return Tensor(
        np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(before))).astype(np.float32)
    )
