"""Momentum with weight decay on everything but batch norm's gamma and beta."""

from __future__ import annotations

import numpy as np
from mindspore import nn

MOMENTUM = 0.9


def momentum(network: nn.Cell, learning_rates: np.ndarray, weight_decay: float) -> nn.Momentum:
    """learning_rates: (steps,), the rate of the update after i applied updates."""
    parameters = network.trainable_params()
    norm = [p for p in parameters if p.name.endswith((".gamma", ".beta"))]
    others = [p for p in parameters if not p.name.endswith((".gamma", ".beta"))]
    groups = [
        {"params": others, "weight_decay": weight_decay},
        {"params": norm, "weight_decay": 0.0},
        {"order_params": parameters},
    ]
    return nn.Momentum(groups, learning_rate=learning_rates.astype(np.float32).tolist(), momentum=MOMENTUM)
