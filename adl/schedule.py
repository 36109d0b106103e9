"""Learning rate over the steps of a run."""

from __future__ import annotations

import numpy as np

POWER = 0.9


def warmup_poly(*, start: float, base: float, minimum: float, warmup: int, steps: int) -> np.ndarray:
    """Exponential warm-up from `start` to `base`, then polynomial decay to 0 with power 0.9.

    Returns (steps,) float64: the rate of the update after i applied updates; never below `minimum`.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"a warm-up of {warmup} steps does not fit a run of {steps}")
    i = np.arange(steps, dtype=np.float64)
    rising = start * (base / start) ** (i / max(warmup, 1))
    falling = base * (1 - (np.maximum(i, warmup) - warmup) / (steps - warmup)) ** POWER
    return np.maximum(np.where(i < warmup, rising, falling), minimum)
