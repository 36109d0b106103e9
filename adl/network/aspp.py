"""Atrous spatial pyramid pooling (Chen et al. 2017)."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.architecture.genotype import ASPP_DILATIONS as DILATIONS
from adl.network.normalization import Norm
from adl.network.operations import ConvNormAct, conv


class ASPP(nn.Cell):
    """A 1×1, three dilated 3×3 and a global pooling branch, concatenated and projected.

    channels: of every branch and of the output, (N, channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.channels = channels
        self.branches = nn.CellList(
            [ConvNormAct(conv(in_channels, channels, 1), norm(channels))]
            + [
                ConvNormAct(conv(in_channels, channels, 3, dilation=d), norm(channels))
                for d in DILATIONS
            ]
        )
        self.pooled = ConvNormAct(conv(in_channels, channels, 1), norm(channels))
        self.projection = ConvNormAct(
            conv((len(DILATIONS) + 2) * channels, channels, 1), norm(channels)
        )

    def construct(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        outputs = [branch(x) for branch in self.branches]
        # A mean over many thousand values, in float32 also where the rest is in half precision.
        mean = x.astype(mstype.float32).mean(axis=(2, 3), keep_dims=True).astype(x.dtype)
        pooled = self.pooled(mean)
        outputs.append(ops.broadcast_to(pooled, (n, self.channels, h, w)))
        return self.projection(ops.cat(outputs, axis=1))
