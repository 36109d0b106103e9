"""What a network costs before anything is built: parameters, multiplications, memory, time."""

from __future__ import annotations

from typing import NamedTuple

from adl.architecture.genotype import (
    ASPP_DILATIONS,
    LOW_LEVEL_CELL,
    LOW_LEVEL_CHANNELS,
    Architecture,
    Size,
    size_after,
)
from adl.architecture.primitives import PRIMITIVES

PUBLISHED_CROP = 769


class Layer(NamedTuple):
    """A convolution, and the batch norm behind it if `norm`. size: of its output, for one image."""

    in_channels: int
    out_channels: int
    kernel: int
    size: Size
    groups: int = 1
    norm: bool = True
    affine: bool = True

    @property
    def parameters(self) -> int:
        """Those that are trained."""
        weights = self.out_channels * self.in_channels // self.groups * self.kernel**2
        return weights + 2 * self.out_channels * (self.norm and self.affine)

    @property
    def macs(self) -> int:
        """Multiplications with an addition, of one image."""
        return self.in_channels // self.groups * self.kernel**2 * self.values

    @property
    def values(self) -> int:
        """Numbers that it puts out for one image."""
        return self.out_channels * self.size[0] * self.size[1]


def layers(architecture: Architecture, height: int, width: int) -> list[Layer]:
    """Every convolution of the network for one image, in its order."""
    stem, head = architecture.initial_fm, architecture.head_channels
    half = size_after((height, width), 1)
    quarter = size_after(half, 1)
    found = [
        Layer(3, stem, 3, half),
        Layer(stem, stem, 3, half),
        Layer(stem, 2 * stem, 3, quarter),
    ]
    sizes = [half, quarter]
    for channels, inputs, move in architecture.cells:
        size = size_after(sizes[-1], move)
        for in_channels, input_size in zip(inputs, sizes[-2:], strict=True):
            # Where the image grows, the 1×1 comes first.
            is_before_growth = architecture.use_abn and size[0] > input_size[0]
            at = input_size if is_before_growth else size
            affine = architecture.use_abn or architecture.affine
            found.append(Layer(in_channels, channels, 1, at, affine=affine))
        for _, op in architecture.cell:
            for convolution in PRIMITIVES[op].convolutions:
                found.append(
                    Layer(
                        channels,
                        channels,
                        convolution.kernel,
                        size,
                        groups=channels if convolution.depthwise else 1,
                        norm=convolution.has_norm,
                        affine=architecture.affine,
                    )
                )
        sizes.append(size)

    outputs = architecture.output_channels
    features = outputs[-1]
    size, decoder_size = sizes[-1], sizes[LOW_LEVEL_CELL + 2]
    return [
        *found,
        # ASPP.
        Layer(features, head, 1, size),
        *[Layer(features, head, 3, size) for _ in ASPP_DILATIONS],
        Layer(features, head, 1, (1, 1)),
        Layer((len(ASPP_DILATIONS) + 2) * head, head, 1, size),
        # Decoder.
        Layer(outputs[LOW_LEVEL_CELL], LOW_LEVEL_CHANNELS, 1, decoder_size),
        Layer(head + LOW_LEVEL_CHANNELS, head, 3, decoder_size),
        Layer(head, head, 3, decoder_size),
        Layer(head, architecture.num_classes, 1, decoder_size, norm=False),
    ]


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
    # Fitted to `benchmarks/training_cost.py` on 2 cores with AVX-512, as is the time below.
    return 550e6 + 3.5e6 * len(network) + 37.5 * values


def cpu_step(architecture: Architecture, crop: int, batch: int, *, cores: int) -> float:
    """Seconds of a training step on a CPU; it depends on the kind of CPU, and is right to a factor of two at best."""
    # So long takes a multiplication on one core, forward and backward.
    return 2.4e-10 * batch * macs(architecture, crop, crop) / cores
