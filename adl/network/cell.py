"""One searched cell."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from adl.network.normalization import Norm
from adl.network.operations import LeakyReLU, Resize, conv, primitive, small_normal


class Preprocess(nn.Cell):
    """Bring an earlier output to this cell's size and width: bilinear resize and 1×1 convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, *, norm: Norm, affine: bool, use_abn: bool
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, 1, init=small_normal())
        self.norm = norm(out_channels, use_abn or affine)
        self.activation = LeakyReLU()
        self.resize = Resize()
        self.use_abn = use_abn

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        if not self.use_abn:
            return self.norm(self.conv(ops.relu(self.resize(x, size))))
        if size[0] > x.shape[2]:
            # Both are linear, so they commute; the convolution is cheaper before the image grows.
            return self.activation(self.norm(self.resize(self.conv(x), size)))
        return self.activation(self.norm(self.conv(self.resize(x, size))))


class Cell(nn.Cell):
    """Blocks of two operations each; the output is the concatenation of all blocks.

    channels: of one block. inputs: channels of the two earlier outputs, the older first.
    genotype: (state, primitive) of each operation, two per block.
    """

    def __init__(
        self,
        *,
        channels: int,
        inputs: tuple[int, int],
        genotype: tuple[tuple[int, int], ...],
        norm: Norm,
        affine: bool,
        use_abn: bool,
    ) -> None:
        super().__init__()
        older, previous = inputs
        self.older = Preprocess(older, channels, norm=norm, affine=affine, use_abn=use_abn)
        self.previous = Preprocess(previous, channels, norm=norm, affine=affine, use_abn=use_abn)
        self.operations = nn.CellList(
            [
                primitive(op, channels=channels, norm=norm, affine=affine, use_abn=use_abn)
                for _, op in genotype
            ]
        )
        self.sources = tuple(state for state, _ in genotype)

    def construct(
        self, older: Tensor, previous: Tensor, size: tuple[int, int], survivors: Tensor | None
    ) -> Tensor:
        """size: (H, W) of this cell. survivors: drop path's factors (operations, N), or None.

        Returns (N, blocks·channels, H, W).
        """
        states = [self.older(older, size), self.previous(previous, size)]
        for block in range(len(self.sources) // 2):
            first = self._operation(2 * block, states, survivors)
            second = self._operation(2 * block + 1, states, survivors)
            states.append(first + second)
        return ops.cat(states[2:], axis=1)

    def _operation(self, i: int, states: list[Tensor], survivors: Tensor | None) -> Tensor:
        y = self.operations[i](states[self.sources[i]])
        return y if survivors is None else y * survivors[i].reshape(-1, 1, 1, 1).astype(y.dtype)
