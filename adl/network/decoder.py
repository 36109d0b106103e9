"""The decoder of DeepLabV3+ (Chen et al. 2018); its activation is ReLU."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from adl.architecture.genotype import LOW_LEVEL_CHANNELS
from adl.network.drop_path import HashedDropout
from adl.network.normalization import Norm
from adl.network.operations import SMALL_NORMAL, ConvNormAct, Resize, conv


class Decoder(nn.Cell):
    """Joins ASPP's output with the low level features and refines them to logits at output stride 4 or 8.

    channels: of ASPP's output and of the refinement.
    """

    def __init__(self, low_level_channels: int, channels: int, classes: int, norm: Norm) -> None:
        super().__init__()
        self.low_level = ConvNormAct(
            low_level_channels,
            LOW_LEVEL_CHANNELS,
            1,
            norm,
            activation=nn.ReLU,
            init=SMALL_NORMAL,
        )
        self.refine = nn.CellList(
            [
                ConvNormAct(in_channels, channels, 3, norm, activation=nn.ReLU)
                for in_channels in (channels + LOW_LEVEL_CHANNELS, channels)
            ]
        )
        self.dropout = nn.CellList([HashedDropout(0.5), HashedDropout(0.1)])
        self.resize = Resize()
        self.classifier = conv(channels, classes, 1)

    def construct(self, low_level: Tensor, context: Tensor, keys: Tensor | None) -> Tensor:
        """keys: dropout's (2, N) int32, or None for no dropout. Returns (N, classes, h, w), sized as low_level."""
        low_level = self.low_level(low_level)
        x = ops.cat([self.resize(context, low_level.shape[2:]), low_level], axis=1)
        for i in range(2):
            x = self.refine[i](x)
            if keys is not None:
                x = self.dropout[i](x, keys[i])
        return self.classifier(x)
