"""What a network costs before anything is built: parameters, multiplications, memory, time."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from adl.architecture import (
    ASPP_DILATIONS,
    LOW_LEVEL_CELL,
    LOW_LEVEL_CHANNELS,
    PRIMITIVES,
    Architecture,
    moved,
)

ASCEND_SECONDS = 0.589757
"""A training step of S at crop 769 with 2 images on each of 8 Ascend 910, quoted from the README of 2021."""
ASCEND_MEASURED_AT = (769, 2)

# Fitted to `benchmarks/training_cost.py` on 2 cores with AVX-512.
_BYTES, _BYTES_A_LAYER, _BYTES_A_VALUE = 550e6, 3.5e6, 37.5
_SECONDS_A_MAC = 2.4e-10  # of one core, forward and backward


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution, and the batch norm behind it if `norm`. height, width: of its output, for one image."""

    in_channels: int
    out_channels: int
    kernel: int
    height: int
    width: int
    groups: int = 1
    norm: bool = True
    affine: bool = True

    @property
    def parameters(self) -> int:
        """Those that are trained."""
        weights = self.out_channels * self.in_channels // self.groups * self.kernel**2
        return weights + (2 * self.out_channels if self.norm and self.affine else 0)

    @property
    def macs(self) -> int:
        """Multiplications with an addition, of one image."""
        return self.in_channels // self.groups * self.kernel**2 * self.values

    @property
    def values(self) -> int:
        """Numbers that it puts out for one image."""
        return self.out_channels * self.height * self.width


def layers(architecture: Architecture, height: int, width: int) -> list[Layer]:
    """Every convolution of the network for one image, in its order."""
    stem = architecture.initial_fm
    half, quarter = ((moved(height, 1), moved(width, 1)), (moved(moved(height, 1), 1), moved(moved(width, 1), 1)))
    found = [Layer(3, stem, 3, *half), Layer(stem, stem, 3, *half), Layer(stem, 2 * stem, 3, *quarter)]
    outputs = [(stem, half), (2 * stem, quarter)]
    for channels, (before, level) in zip(
        architecture.channels, itertools.pairwise((0, *architecture.net)), strict=True
    ):
        size = (moved(outputs[-1][1][0], level - before), moved(outputs[-1][1][1], level - before))
        found += _cell(architecture, channels, outputs[-2:], size)
        outputs.append((architecture.blocks * channels, size))
    in_channels, size = outputs[-1]
    head = architecture.head_channels
    found += [Layer(in_channels, head, kernel, *size) for kernel in (1, *(3 for _ in ASPP_DILATIONS))]
    found.append(Layer(in_channels, head, 1, 1, 1))
    found.append(Layer((len(ASPP_DILATIONS) + 2) * head, head, 1, *size))
    low_level, size = outputs[LOW_LEVEL_CELL + 2]
    found.append(Layer(low_level, LOW_LEVEL_CHANNELS, 1, *size))
    found.append(Layer(head + LOW_LEVEL_CHANNELS, head, 3, *size))
    found.append(Layer(head, head, 3, *size))
    found.append(Layer(head, architecture.num_classes, 1, *size, norm=False))
    return found


def _cell(
    architecture: Architecture, channels: int, inputs: list[tuple[int, tuple[int, int]]], size: tuple[int, int]
) -> Iterator[Layer]:
    affine = architecture.affine
    for in_channels, before in inputs:
        # Where the image grows, the 1×1 comes first.
        place = before if architecture.use_abn and size[0] > before[0] else size
        yield Layer(in_channels, channels, 1, *place, affine=architecture.use_abn or affine)
    for _, op in architecture.cell:
        name = PRIMITIVES[op]
        kernel = int(name[-1]) if "conv" in name else 0
        if name.startswith("sep_conv"):
            for _ in range(2):
                yield Layer(channels, channels, kernel, *size, groups=channels, norm=False)
                yield Layer(channels, channels, 1, *size, affine=affine)
        elif name.startswith("dil_conv"):
            yield Layer(channels, channels, kernel, *size, norm=False)
            yield Layer(channels, channels, 1, *size, affine=affine)


def parameters(architecture: Architecture) -> int:
    """Trained parameters."""
    return sum(layer.parameters for layer in layers(architecture, 33, 33))


def macs(architecture: Architecture, height: int, width: int) -> int:
    """Multiplications with an addition of one image's way through the network."""
    return sum(layer.macs for layer in layers(architecture, height, width))


def training_memory(architecture: Architecture, crop: int, batch: int) -> float:
    """Bytes at the peak of a training process on a CPU with `batch` images; seen within 10 % of the measured."""
    of_network = layers(architecture, crop, crop)
    return (
        _BYTES + _BYTES_A_LAYER * len(of_network) + _BYTES_A_VALUE * batch * sum(layer.values for layer in of_network)
    )


def cpu_step(architecture: Architecture, crop: int, batch: int, *, cores: int) -> float:
    """Seconds of a training step on a CPU; it depends on the kind of CPU, and is right to a factor of two at best."""
    return _SECONDS_A_MAC * batch * macs(architecture, crop, crop) / cores


def ascend_step(architecture: Architecture, crop: int, images_a_device: int) -> float:
    """Seconds of a training step on Ascend 910, scaled by multiplications from the one that 2021 states."""
    quoted_crop, quoted_images = ASCEND_MEASURED_AT
    quoted = quoted_images * macs(Architecture(), quoted_crop, quoted_crop)
    return ASCEND_SECONDS * images_a_device * macs(architecture, crop, crop) / quoted
