"""Checkpoints as the training of 2021 wrote them."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from adl import network
from adl.architecture import Architecture
from adl.network import AutoDeepLab, checkpoint, names_2021


def as_trained(architecture: Architecture, *, seed: int = 0) -> AutoDeepLab:
    """A network whose trained parameters have all moved; gamma and beta that are not trained are still 1 and 0."""
    rng = np.random.default_rng(seed)
    net = network.build(architecture)
    for parameter in net.trainable_params():
        moved = parameter.asnumpy() + rng.normal(0, 0.2, parameter.shape)
        parameter.set_data(Tensor(moved.astype(np.float32)))
    return net


def write(net: AutoDeepLab, path: Path) -> Path:
    """Save a network with the names of 2021: every parameter, and the optimizer's slots of those that it trained."""
    in_2021 = {
        names_2021.in_2021(name, use_abn=net.architecture.use_abn): parameter
        for name, parameter in checkpoint.native(net).items()
    }
    entries = [{"name": name, "data": parameter} for name, parameter in in_2021.items()]
    for name, parameter in in_2021.items():
        if parameter.requires_grad:
            slot = Tensor(np.zeros(parameter.shape, np.float32))
            entries.append({"name": f"moments.{name}", "data": slot})
    for name in ("learning_rate", "momentum", "global_step", "scale_sense"):
        entries.append({"name": name, "data": Tensor(np.zeros(1, np.float32))})
    ms.save_checkpoint(entries, str(path))
    return path
