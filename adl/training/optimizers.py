"""Optimizers, by the names that the parameter `optimizer` has for them.

Weight decay is applied to everything but batch norm's gamma and beta.
"""

from __future__ import annotations

from collections.abc import Callable

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from adl.config.params import Params

MOMENTUM = 0.9


_update = ops.MultitypeFuncGraph("update")
_apply_momentum = ops.ApplyMomentum()


@_update.register("Tensor", "Number", "Tensor", "Tensor", "Tensor")
def _update_one(
    learning_rate: Tensor,
    weight_decay: float,
    parameter: Parameter,
    moment: Parameter,
    gradient: Tensor,
) -> Tensor:
    if weight_decay > 0:
        gradient = gradient + weight_decay * parameter
    return _apply_momentum(parameter, moment, learning_rate, gradient, MOMENTUM)


class Momentum(nn.Cell):
    """moment = 0.9 · moment + gradient; weight = weight - learning_rate · moment.

    parameters: those that are trained, in the order of the gradients.

    nn.Momentum finds the rate by its own count of the updates, a second one beside the loop's to save and to restore;
    and where operations run one by one it still compiles a graph for each instance.
    """

    def __init__(self, network: nn.Cell, weight_decay: float) -> None:
        super().__init__()
        self.parameters = ParameterTuple(network.trainable_params())
        self.moments = self.parameters.clone(prefix="moments", init="zeros")
        self.decays = tuple(0.0 if p.name.endswith((".gamma", ".beta")) else weight_decay for p in self.parameters)
        self.each = ops.HyperMap()

    @property
    def slots(self) -> dict[str, ParameterTuple]:
        """Name → what is kept between two updates, one per parameter: saved and restored with the run."""
        return {"moments": self.moments}

    def construct(self, gradients: tuple[Tensor, ...], learning_rate: Tensor) -> tuple[Tensor, ...]:
        """gradients: one per parameter. learning_rate: () float32. Changes parameters and moments in place."""
        return self.each(
            ops.partial(_update, learning_rate),
            self.decays,
            self.parameters,
            self.moments,
            gradients,
        )


OPTIMIZERS: dict[str, Callable[[Params, nn.Cell], Momentum]] = {
    "momentum": lambda params, network: Momentum(network, params.weight_decay),
}
"""Name → (parameters, network) → the optimizer of the network, called with (gradients, learning_rate)."""
