"""Stem and cells."""

from __future__ import annotations

import itertools

from mindspore import Tensor, nn

from adl.architecture import LOW_LEVEL_CELL, Architecture, moved
from adl.network.cell import Cell
from adl.network.normalization import Norm
from adl.network.operations import ConvNormAct, conv


class Encoder(nn.Cell):
    """Three convolutions, then the searched cells along the network path."""

    def __init__(self, architecture: Architecture, norm: Norm) -> None:
        super().__init__()
        stem = architecture.initial_fm
        self.stem = nn.CellList(
            [
                ConvNormAct(conv(3, stem, 3, stride=2), norm(stem)),
                ConvNormAct(conv(stem, stem, 3), norm(stem)),
                ConvNormAct(conv(stem, 2 * stem, 3, stride=2), norm(2 * stem)),
            ]
        )
        outputs = (stem, 2 * stem, *architecture.output_channels)
        self.nas_cells = nn.CellList(
            [
                Cell(
                    channels=channels,
                    inputs=(outputs[i], outputs[i + 1]),
                    genotype=architecture.cell,
                    norm=norm,
                    affine=architecture.affine,
                    use_abn=architecture.use_abn,
                )
                for i, channels in enumerate(architecture.channels)
            ]
        )
        # +1: one level down (half the size), 0: same size, -1: one level up.
        levels = (0, *architecture.net)
        self.moves = tuple(after - before for before, after in itertools.pairwise(levels))

    def construct(self, x: Tensor, survivors: Tensor | None) -> tuple[Tensor, Tensor]:
        """x: (N, 3, H, W). survivors: (cells, operations, N) or None. Returns (low level features, last output)."""
        older = self.stem[1](self.stem[0](x))
        previous = self.stem[2](older)
        low_level = previous
        for i in range(len(self.moves)):
            size = (moved(previous.shape[2], self.moves[i]), moved(previous.shape[3], self.moves[i]))
            output = self.nas_cells[i](older, previous, size, None if survivors is None else survivors[i])
            older, previous = previous, output
            if i == LOW_LEVEL_CELL:
                low_level = output
        return low_level, previous
