"""The eight primitives of the search space, and of which convolutions each consists."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A convolution inside a primitive; it keeps size and channels. has_norm: batch norm follows."""

    kernel: int
    dilation: int = 1
    depthwise: bool = False
    has_norm: bool = True


@dataclasses.dataclass(frozen=True)
class Primitive:
    name: str
    convolutions: tuple[Convolution, ...] = ()


def _separable(kernel: int) -> tuple[Convolution, ...]:
    """Depthwise and 1×1, twice."""
    return 2 * (Convolution(kernel, depthwise=True, has_norm=False), Convolution(1))


def _dilated(kernel: int) -> tuple[Convolution, ...]:
    """A full convolution, then 1×1."""
    return Convolution(kernel, dilation=2, has_norm=False), Convolution(1)


PRIMITIVES = (
    Primitive("none"),
    Primitive("avg_pool_3x3"),
    Primitive("max_pool_3x3"),
    Primitive("skip_connect"),
    Primitive("sep_conv_3x3", _separable(3)),
    Primitive("sep_conv_5x5", _separable(5)),
    Primitive("dil_conv_3x3", _dilated(3)),
    Primitive("dil_conv_5x5", _dilated(5)),
)
"""By the code that a genotype has for them."""
