"""How long a training takes, roughly, before it is started."""

from __future__ import annotations

from adl import device
from adl.architecture import Architecture, cost
from adl.config.params import Params


def training_seconds(p: Params, *, steps: int, device_target: str) -> float:
    """Of so many steps on a kind of device. Raises AdlError if an architecture file is missing or damaged."""
    architecture = Architecture.from_params(p)
    if device_target == "CPU":
        per_step = cost.cpu_step(architecture, p.crop_size, p.batch_size, cores=device.cores())
    else:
        per_step = cost.ascend_step(architecture, p.crop_size, p.batch_size // p.device_num)
    return steps * per_step


def basis(device_target: str) -> str:
    """What the time rests on."""
    if device_target == "CPU":
        return (
            f"for {device.cores()} cores, from the size of the network, to within a factor of two."
        )
    return (
        "scaled from 0.59 s per step (S, crop 769, 2 images on each of 8 Ascend 910), which the 2021 README "
        "states; nothing was measured on Ascend with this project."
    )
