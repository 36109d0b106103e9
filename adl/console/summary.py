"""What will be trained, in words, before hours are spent."""

from __future__ import annotations

import psutil

from adl.architecture import Architecture, cost
from adl.architecture.genotype import OUTPUT_STRIDES
from adl.config.params import Params
from adl.console.text import byte_size, counted

SMALLEST_GROUP = 16
"""Images per batch norm group below which the 2021 README did not reach the published mIOU."""


def before_training(
    architecture: Architecture,
    params: Params,
    *,
    images: int,
    steps: int,
    first_step: int,
    devices: int,
) -> list[str]:
    """Lines that say what will run. On a CPU all devices share this machine's memory."""
    lines = []
    # The path through the network: a row for each output stride, a column for each cell.
    for level, stride in enumerate(OUTPUT_STRIDES):
        cells = " ".join("■" if at == level else "·" for at in architecture.net)
        lines.append(f"stride {stride:>2}  {cells}")
    per_device = params.batch_size // devices
    group = params.batch_size if params.parallel else per_device
    memory = cost.training_memory(architecture, params.crop_size, per_device)
    beginning = f", beginning at step {first_step:,}" if first_step else ""
    each = " on each device" if devices > 1 else ""
    lines += [
        f"cells        {len(architecture.net)} of {architecture.blocks} blocks, filter multiplier "
        f"{architecture.filter_multiplier}",
        f"parameters   {cost.parameters(architecture):,}",
        f"data         {images} images, {steps // params.epochs} steps per epoch",
        f"steps        {steps:,} in {params.epochs} epochs{beginning}",
        f"batch norm   {counted(group, 'image')} per group",
        f"memory       about {byte_size(memory)}{each}",
    ]
    if group < SMALLEST_GROUP:
        remedy = "." if params.parallel else ", or set parallel to true."
        lines.append(
            f"warning: batch norm over {counted(group, 'image')}. The published mIOU needs {SMALLEST_GROUP} or more: "
            f"raise batch_size{remedy}"
        )
    installed = psutil.virtual_memory().total
    if params.device_target == "CPU" and devices * memory > installed:
        lines.append(
            f"warning: this machine has {byte_size(installed)} of memory; training takes "
            f"{byte_size(devices * memory)} in {counted(devices, 'process', 'processes')}. Lower crop_size or "
            "batch_size."
        )
    return lines
