"""Atrous spatial pyramid pooling (Chen et al. 2017)."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.architecture.genotype import ASPP_DILATIONS as DILATIONS
from adl.network.normalization import Norm
from adl.network.operations import ConvNormAct


class ASPP(nn.Cell):
    """A 1×1, three dilated 3×3 and a global pooling branch, concatenated and projected.

    channels: of every branch and of the output, (N, channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int, norm: Norm) -> None:
        super().__init__()
        self.branches = nn.CellList(
            [ConvNormAct(in_channels, channels, 1, norm)]
            + [ConvNormAct(in_channels, channels, 3, norm, dilation=d) for d in DILATIONS]
        )
        self.pooled = ConvNormAct(in_channels, channels, 1, norm)
        self.projection = ConvNormAct((len(DILATIONS) + 2) * channels, channels, 1, norm)

    def construct(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self.branches]
        # A mean over many thousand values, in float32 also where the rest is in half precision.
        mean = x.astype(mstype.float32).mean(axis=(2, 3), keep_dims=True).astype(x.dtype)
        pooled = self.pooled(mean)
        outputs.append(ops.broadcast_to(pooled, pooled.shape[:2] + x.shape[2:]))
        return self.projection(ops.cat(outputs, axis=1))
