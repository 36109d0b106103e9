"""The eight primitives of the search space, and of which convolutions each consists."""

from __future__ import annotations

from typing import NamedTuple


class Convolution(NamedTuple):
    """A convolution inside a primitive; it keeps size and channels. has_norm: batch norm follows."""

    kernel: int
    dilation: int = 1
    depthwise: bool = False
    has_norm: bool = False


class Primitive(NamedTuple):
    name: str
    convolutions: tuple[Convolution, ...] = ()


_POINTWISE = Convolution(1, has_norm=True)

PRIMITIVES = (
    Primitive("none"),
    Primitive("avg_pool_3x3"),
    Primitive("max_pool_3x3"),
    Primitive("skip_connect"),
    Primitive("sep_conv_3x3", 2 * (Convolution(3, depthwise=True), _POINTWISE)),
    Primitive("sep_conv_5x5", 2 * (Convolution(5, depthwise=True), _POINTWISE)),
    Primitive("dil_conv_3x3", (Convolution(3, dilation=2), _POINTWISE)),
    Primitive("dil_conv_5x5", (Convolution(5, dilation=2), _POINTWISE)),
)
"""By the code that a genotype has for them."""
