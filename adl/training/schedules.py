"""The learning rate over the steps of a run, by the names that the parameter `schedule` has. Needs no MindSpore."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adl.config.params import Params
from adl.errors import AdlError

POWER = 0.9


def check_warmup(warmup: int, epochs: int, steps_per_epoch: int) -> None:
    """Raises AdlError if the warm-up does not end before the run."""
    steps = epochs * steps_per_epoch
    if warmup >= steps:
        raise AdlError(
            f"warmup_iters is {warmup}, but the whole run has {steps} steps ({epochs} epochs of {steps_per_epoch}): "
            "the learning rate would never reach base_lr. Lower warmup_iters or raise epochs."
        )


def warmup_poly(
    *, start: float, base: float, minimum: float, warmup: int, steps: int
) -> np.ndarray:
    """Exponential warm-up from `start` to `base`, then polynomial decay to 0 with power 0.9.

    Returns (steps,) float64: the rate of the update after i applied updates; never below `minimum`.
    Raises ValueError if the warm-up does not end before the run.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"a warm-up of {warmup} steps does not fit a run of {steps}")
    i = np.arange(steps, dtype=np.float64)
    rising = start * (base / start) ** (np.minimum(i, warmup) / max(warmup, 1))
    falling = base * (1 - (np.maximum(i, warmup) - warmup) / (steps - warmup)) ** POWER
    return np.maximum(np.where(i < warmup, rising, falling), minimum)


def _poly(params: Params, steps: int) -> np.ndarray:
    return warmup_poly(
        start=params.warmup_start_lr,
        base=params.base_lr,
        minimum=params.min_lr or 0.0,
        warmup=params.warmup_iters,
        steps=steps,
    )


SCHEDULES: dict[str, Callable[[Params, int], np.ndarray]] = {"poly": _poly}


def build(params: Params, steps: int) -> np.ndarray:
    """(steps,) float64: the rate of the update after i applied updates, as the parameter `schedule` names it."""
    return SCHEDULES[params.schedule](params, steps)
