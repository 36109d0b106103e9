"""How long a training takes, roughly, before it is started."""

from __future__ import annotations

from adl import device
from adl.architecture import Architecture, cost
from adl.config.params import Params
from adl.console import scaling
from adl.console.scaling import Machines, Workload

QUOTED_MS, QUOTED_IMAGES = 440.0, 2
"""A step of S at crop 769 on one Ascend 910: the mean of epochs 2 to 10 in the log of the 2021 README.

The log is headed "batch_size = 8", but its 1487 steps per epoch of 2975 images are of two images each.
"""
QUOTED_START = 29.0
"""Minutes before the first step: the first epoch of eight devices, less a later one, in the 2021 README."""
QUOTED = (
    f"scaled by multiplications from {QUOTED_MS:g} ms for {QUOTED_IMAGES} images of S at crop {cost.PUBLISHED_CROP} on "
    "one Ascend 910, quoted from the 2021 README"
)


def workload(p: Params) -> Workload:
    """A training step of these parameters on Ascend 910. Raises AdlError if an architecture file is unusable."""
    architecture = Architecture.from_params(p)
    published = cost.macs(Architecture(), cost.PUBLISHED_CROP, cost.PUBLISHED_CROP)
    share = cost.macs(architecture, p.crop_size, p.crop_size) / published
    layers = cost.layers(architecture, p.crop_size, p.crop_size)
    return Workload(
        seconds_per_image=QUOTED_MS / 1000 / QUOTED_IMAGES * share,
        parameters=cost.parameters(architecture),
        synchronised=sum(layer.norm for layer in layers) if p.parallel else 0,
    )


def training_seconds(p: Params, *, steps: int, device_target: str) -> float:
    """Of so many steps on a kind of device. Raises AdlError if an architecture file is missing or damaged."""
    if device_target == "CPU":
        architecture = Architecture.from_params(p)
        return steps * cost.cpu_step(architecture, p.crop_size, p.batch_size, cores=device.cores())
    images = {p.device_num: p.batch_size // p.device_num}
    [per_step] = scaling.steps(workload(p), Machines(), images).seconds
    return steps * per_step + 60 * QUOTED_START


def basis(device_target: str) -> str:
    """What the time rests on."""
    if device_target == "CPU":
        return f"for {device.cores()} cores, from the size of the network, to within a factor of two."
    return f"{QUOTED}; links are assumed, and nothing was measured on Ascend with this project: see adl estimate."
