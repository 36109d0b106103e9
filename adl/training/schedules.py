"""The learning rate over the steps of a run, by the names that the parameter `schedule` has. Needs no MindSpore."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adl.config.params import Params


def warmup_poly(*, start: float, base: float, minimum: float, warmup: int, steps: int) -> np.ndarray:
    """Exponential warm-up from `start` to `base`, then polynomial decay to 0 with power 0.9.

    warmup: how many steps it takes, fewer than `steps`.
    Returns (steps,) float64: the rate of the update after i applied updates; never below `minimum`.
    """
    i = np.arange(steps, dtype=np.float64)
    rising = start * (base / start) ** (np.minimum(i, warmup) / max(warmup, 1))
    falling = base * (1 - (np.maximum(i, warmup) - warmup) / (steps - warmup)) ** 0.9
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
"""Name → (parameters, steps) → (steps,) float64: the rate of the update after i applied updates."""
