"""Atrous spatial pyramid pooling (Chen et al. 2017)."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from adl.architecture import ASPP_CHANNELS as CHANNELS
from adl.architecture import ASPP_DILATIONS as DILATIONS
from adl.network.normalization import Norm
from adl.network.operations import ConvNormAct, conv


class ASPP(nn.Cell):
    """A 1×1, three dilated 3×3 and a global pooling branch, concatenated and projected: (N, 256, H, W)."""

    def __init__(self, in_channels: int, norm: Norm) -> None:
        super().__init__()
        self.branches = nn.CellList(
            [ConvNormAct(conv(in_channels, CHANNELS, 1), norm(CHANNELS))]
            + [ConvNormAct(conv(in_channels, CHANNELS, 3, dilation=d), norm(CHANNELS)) for d in DILATIONS]
        )
        self.pooled = ConvNormAct(conv(in_channels, CHANNELS, 1), norm(CHANNELS))
        self.projection = ConvNormAct(conv((len(DILATIONS) + 2) * CHANNELS, CHANNELS, 1), norm(CHANNELS))

    def construct(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        outputs = [branch(x) for branch in self.branches]
        pooled = self.pooled(x.mean(axis=(2, 3), keep_dims=True))
        outputs.append(ops.broadcast_to(pooled, (n, CHANNELS, h, w)))
        return self.projection(ops.cat(outputs, axis=1))
