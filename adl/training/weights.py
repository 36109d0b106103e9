"""Everything that an update changes: the network's parameters and the optimizer's slots, under native names."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor


class Optimizer(Protocol):
    """A cell that changes parameters in place, called with (gradients, learning_rate)."""

    parameters: ParameterTuple
    """Those that are trained, in the order of the gradients."""

    def __call__(self, gradients: tuple[Tensor, ...], learning_rate: Tensor) -> object: ...

    @property
    def slots(self) -> dict[str, ParameterTuple]:
        """Name → what the optimizer keeps between two updates, one per parameter."""


class Weights:
    """parameters: native name → parameter of the network, as it was built."""

    def __init__(self, parameters: Mapping[str, Parameter], optimizer: Optimizer) -> None:
        self.parameters = parameters
        self.trained = optimizer.parameters
        self._stored = {f"network/{name}": parameter for name, parameter in parameters.items()}
        names = {id(parameter): name for name, parameter in parameters.items()}
        for slot, values in optimizer.slots.items():
            for parameter, value in zip(optimizer.parameters, values, strict=True):
                self._stored[f"{slot}/{names[id(parameter)]}"] = value

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of everything, by name."""
        return {name: parameter.asnumpy() for name, parameter in self._stored.items()}

    def fit(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Are these the arrays of such a network?"""
        ours = {name: tuple(parameter.shape) for name, parameter in self._stored.items()}
        return ours == {name: array.shape for name, array in arrays.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set everything to what `arrays` gave."""
        for name, parameter in self._stored.items():
            parameter.set_data(Tensor(arrays[name]))

    def not_finite(self) -> str | None:
        """A parameter or running statistic that is no longer finite, if there is one."""
        for name, parameter in self.parameters.items():
            if not np.isfinite(parameter.asnumpy()).all():
                return name
        return None

    def checksum(self) -> int:
        """CRC-32 of the trained parameters."""
        return functools.reduce(
            lambda crc, parameter: zlib.crc32(parameter.asnumpy(), crc), self.trained, 0
        )
