"""Stem and cells."""

from __future__ import annotations

from mindspore import Tensor, nn

from adl.architecture.genotype import LOW_LEVEL_CELL, Architecture, side_after
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
        self.nas_cells = nn.CellList(
            [
                Cell(
                    channels=place.channels,
                    inputs=place.inputs,
                    genotype=architecture.cell,
                    norm=norm,
                    affine=architecture.affine,
                    use_abn=architecture.use_abn,
                )
                for place in architecture.cells
            ]
        )
        self.moves = tuple(place.move for place in architecture.cells)

    def construct(self, x: Tensor, survivors: Tensor | None) -> tuple[Tensor, Tensor]:
        """x: (N, 3, H, W). survivors: (cells, operations, N) or None. Returns (low level features, last output)."""
        older = self.stem[1](self.stem[0](x))
        previous = self.stem[2](older)
        low_level = previous
        for i in range(len(self.moves)):
            size = (
                side_after(previous.shape[2], self.moves[i]),
                side_after(previous.shape[3], self.moves[i]),
            )
            of_cell = None if survivors is None else survivors[i]
            output = self.nas_cells[i](older, previous, size, of_cell)
            older, previous = previous, output
            if i == LOW_LEVEL_CELL:
                low_level = output
        return low_level, previous
