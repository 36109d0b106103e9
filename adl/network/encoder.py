"""Stem and cells."""

from __future__ import annotations

from mindspore import Tensor, nn

from adl.architecture.genotype import LOW_LEVEL_CELL, Architecture
from adl.network.cell import Cell
from adl.network.normalization import Norm
from adl.network.operations import ConvNormAct


class Encoder(nn.Cell):
    """Three convolutions, then the searched cells along the network path."""

    def __init__(self, architecture: Architecture, norm: Norm) -> None:
        super().__init__()
        stem = architecture.initial_fm
        self.stem = nn.CellList(
            [
                ConvNormAct(3, stem, 3, norm, stride=2),
                ConvNormAct(stem, stem, 3, norm),
                ConvNormAct(stem, 2 * stem, 3, norm, stride=2),
            ]
        )
        self.nas_cells = nn.CellList([Cell(architecture, place, norm) for place in architecture.cells])

    def construct(self, x: Tensor, survivors: Tensor | None) -> tuple[Tensor, Tensor]:
        """x: (N, 3, H, W). survivors: (cells, operations, N) or None. Returns (low level features, last output)."""
        older = self.stem[1](self.stem[0](x))
        previous = self.stem[2](older)
        low_level = previous
        for i, cell in enumerate(self.nas_cells):
            of_cell = None if survivors is None else survivors[i]
            older, previous = previous, cell(older, previous, of_cell)
            if i == LOW_LEVEL_CELL:
                low_level = previous
        return low_level, previous
