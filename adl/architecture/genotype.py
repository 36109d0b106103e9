"""Which cells, which path through the levels, which widths: everything that decides the shape of the network."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adl.architecture.primitives import PRIMITIVES
from adl.dataset.descriptor import IGNORE
from adl.errors import AdlError
from adl.files import read_json

if TYPE_CHECKING:
    from adl.config.params import Params

Size = tuple[int, int]
"""(height, width) in pixels."""

OUTPUT_STRIDES = (4, 8, 16, 32)
"""Of each level."""
LOW_LEVEL_CELL = 2
"""The cell (from 0) whose output the decoder reads beside ASPP's."""
ASPP_DILATIONS = (6, 12, 18)
LOW_LEVEL_CHANNELS = 48

PUBLISHED_NET = (0, 0, 0, 1, 2, 1, 2, 2, 3, 3, 2, 1)
PUBLISHED_CELL = ((0, 7), (1, 4), (0, 4), (1, 6), (0, 4), (3, 4), (2, 5), (4, 5), (5, 7), (3, 5))
"""The genotype that the paper found on Cityscapes (Liu et al. 2019, figure 3), as released by its authors."""


class CellPlace(NamedTuple):
    """One cell in the network.

    channels: of one block. inputs: channels of the output before the previous one, and of the previous one.
    move: levels from the previous cell to this one: +1 halves the size, -1 doubles it.
    """

    channels: int
    inputs: tuple[int, int]
    move: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network, complete: `adl.network.build` needs nothing else.

    net: level of each cell, output stride 4·2^level.
    cell: (state, primitive) of every operation, two per block. State 0 is the output of the cell before the
        previous one, 1 of the previous cell, 2 + k that of block k.
    head_channels: width of ASPP and decoder. A sidecar from before it was a parameter has the default.
    """

    net: tuple[int, ...] = PUBLISHED_NET
    cell: tuple[tuple[int, int], ...] = PUBLISHED_CELL
    filter_multiplier: int = 20
    initial_fm: int = 64
    head_channels: int = 256
    num_classes: int = 19
    use_abn: bool = True
    affine: bool = True
    bn_momentum: float = 0.995
    bn_eps: float = 1e-5
    drop_path_keep_prob: float = 1.0

    def __post_init__(self) -> None:
        _check_net(self.net, "net_arch")
        _check_cell(self.cell, "cell_arch")

    @property
    def blocks(self) -> int:
        return len(self.cell) // 2

    @property
    def output_channels(self) -> tuple[int, ...]:
        """Of each cell: those of all its blocks."""
        return tuple(self.blocks * self.filter_multiplier * 2**level for level in self.net)

    @property
    def cells(self) -> tuple[CellPlace, ...]:
        widths = [channels // self.blocks for channels in self.output_channels]
        inputs = itertools.pairwise((self.initial_fm, 2 * self.initial_fm, *self.output_channels))
        moves = np.diff((0, *self.net)).tolist()
        return tuple(map(CellPlace, widths, inputs, moves))

    @classmethod
    def from_params(cls, params: Params) -> Architecture:
        """Read and check the two genotype files and the data set's file that the parameters name."""
        classes = len(params.descriptor.classes)
        if params.num_classes not in (None, classes):
            raise AdlError(
                f"{params.num_classes}, but {params.dataset} has {classes} classes",
                "Leave it empty.",
                where="num_classes",
            )
        if classes > params.ignore_label != IGNORE:
            raise AdlError(
                f"{params.ignore_label} is a class of {params.dataset}",
                f"Set it to {IGNORE}, or at least to {classes}.",
                where="ignore_label",
            )
        architecture = cls(
            net=load_net(params.net_arch),
            cell=load_cell(params.cell_arch),
            filter_multiplier=params.filter_multiplier,
            initial_fm=params.initial_fm or 64,
            head_channels=params.head_channels,
            num_classes=classes,
            use_abn=params.use_ABN,
            affine=params.affine,
            bn_momentum=params.bn_momentum,
            bn_eps=params.bn_eps,
            drop_path_keep_prob=params.drop_path_keep_prob,
        )
        blocks = architecture.blocks
        if params.block_multiplier not in (None, blocks):
            raise AdlError(
                f"{params.block_multiplier}, but {params.cell_arch} has {blocks} blocks",
                "Leave it empty.",
                where="block_multiplier",
            )
        return architecture

    @classmethod
    def from_sidecar(cls, path: str | Path) -> Architecture:
        """The architecture that the checkpoint or MINDIR beside `path` was trained with."""
        try:
            return cls.from_json(read_json(Path(path))["architecture"])
        except FileNotFoundError:
            raise AdlError("missing. It belongs beside the model and describes its architecture.", where=path) from None
        except (ValueError, KeyError, TypeError) as error:
            raise AdlError(f"not a sidecar that describes an architecture ({error!r}).", where=path) from None

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Architecture:
        cell = tuple(map(tuple, fields["cell"]))
        return cls(**fields | {"net": tuple(fields["net"]), "cell": cell})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def describe(self) -> list[str]:
        """The architecture in a few lines, for logs and reports."""
        levels = " ".join(map(str, self.net))
        strides = " ".join(str(OUTPUT_STRIDES[level]) for level in self.net)
        operations = [f"({state}, {PRIMITIVES[op].name})" for state, op in self.cell]
        blocks = [
            f"block {block}: {operations[2 * block]} + {operations[2 * block + 1]}" for block in range(self.blocks)
        ]
        order = "ABN" if self.use_abn else "ReLU before convolution"
        return [
            f"{len(self.net)} cells at levels {levels} (output strides {strides})",
            *blocks,
            f"filter multiplier {self.filter_multiplier}, stem {self.initial_fm} channels, ASPP and decoder"
            f" {self.head_channels}, {self.num_classes} classes, {order}, affine {str(self.affine).lower()},"
            f" batch norm momentum {self.bn_momentum:g} eps {self.bn_eps:g},"
            f" drop path keep probability {self.drop_path_keep_prob:g}",
        ]


def side_after(n: int, move: int) -> int:
    """The length of a side after a move of -1, 0 or +1 levels. 33 → 17 → 33: odd lengths keep aligned corners."""
    if move > 0:
        return (n + 1) // 2
    if move < 0:
        return 2 * n - n % 2
    return n


def size_after(size: Size, move: int) -> Size:
    return side_after(size[0], move), side_after(size[1], move)


def load_net(path: str | Path) -> tuple[int, ...]:
    """Read a network path: an integer array (cells,) of levels 0-3."""
    net = tuple(_load(path, (), "a network path is one row of levels").tolist())
    _check_net(net, path)
    return net


def load_cell(path: str | Path) -> tuple[tuple[int, int], ...]:
    """Read a cell genotype: an integer array (2·blocks, 2) of (state, primitive)."""
    array = _load(path, (2,), "a cell genotype has two columns, state and operation")
    cell = tuple(map(tuple, array.tolist()))
    _check_cell(cell, path)
    return cell


def _load(path: str | Path, row: tuple[int, ...], form: str) -> np.ndarray:
    """Whole numbers from a file. row: shape of what each entry of the first axis holds; form: the same in words."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise AdlError("no such file. net_arch and cell_arch must name .npy files.", where=path) from None
    except (ValueError, EOFError, OSError) as error:
        raise AdlError(f"not a readable .npy array ({error}).", where=path) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or (array % 1 != 0).any():
        raise AdlError("an architecture holds whole numbers only.", where=path)
    if array.ndim != 1 + len(row) or array.shape[1:] != row:
        raise AdlError(f"{form}; this array has shape {array.shape}.", where=path)
    return array.astype(np.int64)


def _check_net(net: tuple[int, ...], where: object) -> None:
    if len(net) <= LOW_LEVEL_CELL:
        raise AdlError(f"{len(net)} cells; at least 3 are needed (the decoder reads cell 2).", where=where)
    if not set(net) <= {0, 1, 2, 3}:
        raise AdlError(f"levels must lie in 0-3: {list(net)}.", where=where)
    for cell, (before, level) in enumerate(itertools.pairwise((0, *net))):
        if abs(level - before) > 1:
            raise AdlError(
                f"cell {cell} jumps from level {before} to {level}; one level per cell is allowed, and the stem ends "
                "at level 0.",
                where=where,
            )


def _check_cell(cell: tuple[tuple[int, int], ...], where: object) -> None:
    if not cell or len(cell) % 2:
        raise AdlError(f"a cell has two operations per block; this one has {len(cell)} rows.", where=where)
    for row, (state, op) in enumerate(cell):
        block = row // 2
        if not 0 <= op < len(PRIMITIVES):
            raise AdlError(
                f"row {row}: operation {op} does not exist; 0-{len(PRIMITIVES) - 1} do.",
                where=where,
            )
        if not 0 <= state <= 1 + block:
            raise AdlError(
                f"row {row}: block {block} can read states 0-{1 + block}, not {state}. Number the states: 0 the cell "
                "before the previous, 1 the previous cell, 2 + k block k. A common PyTorch port stores edge indices "
                "instead.",
                where=where,
            )
