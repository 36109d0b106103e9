"""Which loss, schedule and optimizer a name of params.yaml stands for: one row each.

The report takes its words from here, so this module imports MindSpore only when something is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from adl.errors import unknown
from adl.parallel.world import ALONE, World
from adl.training.schedule import warmup_poly

if TYPE_CHECKING:
    from mindspore import nn


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a name stands for. words: for the report. build: takes what the function of its table documents."""

    words: str
    build: Callable[..., Any]


def _cross_entropy(*, ignore_label: int, world: World, **_: Any) -> nn.Cell:
    from adl.training.loss import CrossEntropy

    return CrossEntropy(ignore_label=ignore_label, world=world)


def _ohem(*, ignore_label: int, world: World, pixels: int, hard_threshold: float) -> nn.Cell:
    from adl.training.loss import OhemCrossEntropy

    # A sixteenth of the pixels on this device, as published.
    return OhemCrossEntropy(
        threshold=hard_threshold, min_kept=pixels // 16, ignore_label=ignore_label, world=world
    )


def _momentum(network: nn.Cell, *, weight_decay: float) -> nn.Cell:
    from adl.training.optimizer import Momentum

    return Momentum(network, weight_decay)


LOSSES = {
    "ce": Choice("cross entropy", _cross_entropy),
    "ohemce": Choice("cross entropy with online hard example mining", _ohem),
}
SCHEDULES = {
    "poly": Choice("polynomial decay", warmup_poly),
}
OPTIMIZERS = {
    "momentum": Choice("Momentum", _momentum),
}


def loss(
    name: str, *, ignore_label: int, pixels: int, hard_threshold: float = 0.7, world: World = ALONE
) -> nn.Cell:
    """The cell of (logits (N, C, H, W), labels (N, H, W)) that `criterion` names. Raises AdlError if it is unknown.

    pixels: of a batch on this device. hard_threshold: probability up to which a pixel is hard. On several ranks the
    cell gives this rank's share: the shares add up to the loss.
    """
    build = _chosen(LOSSES, "criterion", name).build
    return build(
        ignore_label=ignore_label, pixels=pixels, hard_threshold=hard_threshold, world=world
    )


def learning_rates(
    name: str, *, start: float, base: float, minimum: float, warmup: int, steps: int
) -> np.ndarray:
    """(steps,) float64: the rate of the update after i applied updates. Raises AdlError if `schedule` is unknown."""
    build = _chosen(SCHEDULES, "schedule", name).build
    return build(start=start, base=base, minimum=minimum, warmup=warmup, steps=steps)


def optimizer(name: str, network: nn.Cell, *, weight_decay: float) -> Any:
    """The cell that updates a network's parameters (`weights.Optimizer`). Raises AdlError if it is unknown."""
    return _chosen(OPTIMIZERS, "optimizer", name).build(network, weight_decay=weight_decay)


def _chosen(table: Mapping[str, Choice], parameter: str, name: str) -> Choice:
    if name not in table:
        raise unknown(parameter, name, table)
    return table[name]
