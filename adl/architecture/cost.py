"""What a network costs before anything is built: parameters, multiplications, memory, time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from adl.architecture.genotype import (
    ASPP_DILATIONS,
    LOW_LEVEL_CELL,
    LOW_LEVEL_CHANNELS,
    Architecture,
    CellPlace,
    side_after,
)
from adl.architecture.primitives import PRIMITIVES

Size = tuple[int, int]
"""(height, width) in pixels."""

PUBLISHED_CROP = 769
ASCEND_SECONDS, ASCEND_IMAGES = 0.589757, 2
"""A training step of S at that crop with 2 images on each of 8 Ascend 910, quoted from the 2021 README."""

# Fitted to `benchmarks/training_cost.py` on 2 cores with AVX-512.
_BYTES, _BYTES_PER_LAYER, _BYTES_PER_VALUE = 550e6, 3.5e6, 37.5
_SECONDS_PER_MAC = 2.4e-10  # of one core, forward and backward


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
        gamma_and_beta = 2 * self.out_channels if self.norm and self.affine else 0
        return weights + gamma_and_beta

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
    half = side_after(height, 1), side_after(width, 1)
    quarter = side_after(half[0], 1), side_after(half[1], 1)
    found = [
        Layer(3, stem, 3, *half),
        Layer(stem, stem, 3, *half),
        Layer(stem, 2 * stem, 3, *quarter),
    ]
    sizes = [half, quarter]
    for place in architecture.cells:
        size = side_after(sizes[-1][0], place.move), side_after(sizes[-1][1], place.move)
        found += _of_cell(architecture, place, sizes[-2:], size)
        sizes.append(size)
    found += _of_aspp(architecture, sizes[-1])
    found += _of_decoder(architecture, sizes[LOW_LEVEL_CELL + 2])
    return found


def _of_cell(
    architecture: Architecture, place: CellPlace, before: list[Size], size: Size
) -> Iterator[Layer]:
    """before: sizes of the two inputs."""
    for in_channels, input_size in zip(place.inputs, before, strict=True):
        # Where the image grows, the 1×1 comes first.
        is_before_growth = architecture.use_abn and size[0] > input_size[0]
        at = input_size if is_before_growth else size
        yield Layer(
            in_channels, place.channels, 1, *at, affine=architecture.use_abn or architecture.affine
        )
    for _, op in architecture.cell:
        for convolution in PRIMITIVES[op].convolutions:
            yield Layer(
                place.channels,
                place.channels,
                convolution.kernel,
                *size,
                groups=place.channels if convolution.depthwise else 1,
                norm=convolution.has_norm,
                affine=architecture.affine,
            )


def _of_aspp(architecture: Architecture, size: Size) -> Iterator[Layer]:
    in_channels, head = architecture.output_channels[-1], architecture.head_channels
    yield Layer(in_channels, head, 1, *size)
    for _ in ASPP_DILATIONS:
        yield Layer(in_channels, head, 3, *size)
    yield Layer(in_channels, head, 1, height=1, width=1)
    yield Layer((len(ASPP_DILATIONS) + 2) * head, head, 1, *size)


def _of_decoder(architecture: Architecture, size: Size) -> Iterator[Layer]:
    low_level, head = architecture.output_channels[LOW_LEVEL_CELL], architecture.head_channels
    yield Layer(low_level, LOW_LEVEL_CHANNELS, 1, *size)
    yield Layer(head + LOW_LEVEL_CHANNELS, head, 3, *size)
    yield Layer(head, head, 3, *size)
    yield Layer(head, architecture.num_classes, 1, *size, norm=False)


def parameters(architecture: Architecture) -> int:
    """Trained parameters."""
    return sum(layer.parameters for layer in layers(architecture, 33, 33))


def macs(architecture: Architecture, height: int, width: int) -> int:
    """Multiplications with an addition of one image's way through the network."""
    return sum(layer.macs for layer in layers(architecture, height, width))


def training_memory(architecture: Architecture, crop: int, batch: int) -> float:
    """Bytes at the peak of a training process on a CPU with `batch` images; seen within 10 % of the measured."""
    network = layers(architecture, crop, crop)
    values = batch * sum(layer.values for layer in network)
    return _BYTES + _BYTES_PER_LAYER * len(network) + _BYTES_PER_VALUE * values


def cpu_step(architecture: Architecture, crop: int, batch: int, *, cores: int) -> float:
    """Seconds of a training step on a CPU; it depends on the kind of CPU, and is right to a factor of two at best."""
    return _SECONDS_PER_MAC * batch * macs(architecture, crop, crop) / cores


def ascend_step(architecture: Architecture, crop: int, images_per_device: int) -> float:
    """Seconds of a training step on each of 8 Ascend 910, scaled from the published one."""
    per_image = ASCEND_SECONDS / ASCEND_IMAGES * share_of_published(architecture, crop)
    return images_per_device * per_image


def share_of_published(architecture: Architecture, crop: int) -> float:
    """Multiplications of an image, as a share of those of the published S at its crop."""
    published = macs(Architecture(), PUBLISHED_CROP, PUBLISHED_CROP)
    return macs(architecture, crop, crop) / published
