"""One searched cell."""

from __future__ import annotations

import functools

from mindspore import Tensor, nn, ops

from adl.architecture.genotype import Architecture, CellPlace, Size, size_after
from adl.network.normalization import Norm
from adl.network.operations import SMALL_NORMAL, LeakyReLU, Resize, conv, primitive


class Preprocess(nn.Cell):
    """Bring an earlier output to this cell's size and width: bilinear resize and 1×1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, *, use_abn: bool) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, 1, init=SMALL_NORMAL)
        self.norm = norm(out_channels)
        self.activation = LeakyReLU()
        self.resize = Resize()
        self.use_abn = use_abn

    def construct(self, x: Tensor, size: Size) -> Tensor:
        if not self.use_abn:
            return self.norm(self.conv(ops.relu(self.resize(x, size))))
        # Both are linear, so they commute; the convolution is cheaper before the image grows.
        grows = size[0] > x.shape[2]
        x = self.resize(self.conv(x), size) if grows else self.conv(self.resize(x, size))
        return self.activation(self.norm(x))


class Cell(nn.Cell):
    """Blocks of two operations each; the output is the concatenation of all blocks."""

    def __init__(self, architecture: Architecture, place: CellPlace, norm: Norm) -> None:
        super().__init__()
        use_abn = architecture.use_abn
        of_operation = functools.partial(norm, affine=architecture.affine)
        of_input = norm if use_abn else of_operation
        self.older, self.previous = (
            Preprocess(channels, place.channels, of_input, use_abn=use_abn) for channels in place.inputs
        )
        self.operations = nn.CellList(
            [primitive(op, place.channels, of_operation, use_abn=use_abn) for _, op in architecture.cell]
        )
        self.sources = tuple(state for state, _ in architecture.cell)
        self.move = place.move

    def construct(self, older: Tensor, previous: Tensor, survivors: Tensor | None) -> Tensor:
        """survivors: drop path's factors (operations, N), or None. Returns (N, blocks·channels, H, W)."""
        size = size_after(previous.shape[2:], self.move)
        states = [self.older(older, size), self.previous(previous, size)]
        outputs = []
        for i, operation in enumerate(self.operations):
            y = operation(states[self.sources[i]])
            if survivors is not None:
                y = y * survivors[i].reshape(-1, 1, 1, 1).astype(y.dtype)
            outputs.append(y)
            if i % 2:
                states.append(outputs[-2] + y)
        return ops.cat(states[2:], axis=1)
