"""estimate step time, efficiency and hours of training on 1 to 256 Ascend devices

reads:  params.yaml and the architecture files that it names
writes: a table to the terminal. All of it is estimated: nothing was measured on Ascend with this project. A step on one
        device is scaled by multiplications from the one that the 2021 README states, or is --step-ms; link speeds
        and latencies are assumptions, and options. batch_size counts the images of all devices: one table keeps it
        as it is, the other keeps the images per device, which is another training
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from adl.architecture import Architecture, cost
from adl.commands import scaling
from adl.commands.scaling import Machines, Workload
from adl.config import params
from adl.config.params import Params
from adl.console.text import MISSING, counted
from adl.dataset.descriptor import CITYSCAPES
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.workspace import SYNTHETIC

DEVICES = tuple(2**power for power in range(9))
LEAST_EFFICIENCY = 0.5
"""Below it, more than half of what is added is wasted: there scaling is said to stop."""

QUOTED_MS, QUOTED_IMAGES = 440.0, 2
"""A step of S at crop 769 on one Ascend 910: the mean of epochs 2 to 10 in the log of the 2021 README.

The log is headed "batch_size = 8", but its 1487 steps per epoch of 2975 images are of two images each.
"""
QUOTED_START = 29.0
"""Minutes before the first step: the first epoch of eight devices, less a later one, in the 2021 README."""

MACHINE_OPTIONS = {
    "link_gbps": "between devices of a node; assumed",
    "node_link_gbps": "of each device, to other nodes; assumed",
    "latency_us": "of a hop between devices of a node; assumed",
    "node_latency_us": "of a hop between nodes; assumed",
    "devices_per_node": "2021 README",
    "cores_per_node": "CPU cores; 2021 README",
    "samples_per_core": "samples per second that a core prepares; measured on 2 cores at crop 769",
}
"""Field of Machines, which is an option, too → meaning."""


def _positive(kind: type) -> Callable[[str], float]:
    """What reads an option. kind: int or float."""

    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = "positive number"
    return number


EXAMPLE = "adl estimate --node-link-gbps 200 --cores-per-node 96"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--step-ms",
        type=_positive(float),
        metavar="N",
        help="step on one device with these parameters; default: scaled",
    )
    command.add_argument(
        "--step-images",
        type=_positive(int),
        metavar="N",
        help="images of that step; default: batch_size / device_num",
    )
    for field, meaning in MACHINE_OPTIONS.items():
        default = getattr(Machines, field)
        command.add_argument(
            f"--{field.replace('_', '-')}",
            type=_positive(type(default)),
            default=default,
            metavar="N",
            help=f"{meaning}; default: %(default)g",
        )
    command.add_argument(
        "--start-minutes",
        type=_positive(float),
        default=QUOTED_START,
        metavar="N",
        help="before the first step; 2021 README; default: %(default)g",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    if arguments.step_images and not arguments.step_ms:
        raise AdlError("--step-images: says of how many images --step-ms is; give both.")
    p = params.load()
    work = workload(p, arguments)
    machines = Machines(**{field: getattr(arguments, field) for field in MACHINE_OPTIONS})
    # Batch norm needs two images on each device where it is not over all of them.
    least = 1 if p.parallel else 2
    strong = {
        devices: p.batch_size // devices
        for devices in DEVICES
        if p.batch_size % devices == 0 and p.batch_size // devices >= least
    }
    weak = dict.fromkeys(DEVICES, p.batch_size // p.device_num)
    found: dict[str, Any] = {"estimated": True, "machines": vars(machines)}
    text = _heading(p, work, machines, arguments)
    for title, images in (("same batch_size", strong), ("same images per device", weak)):
        steps = scaling.steps(work, machines, images)
        steps["hours"] = training_hours(p, steps, arguments.start_minutes)
        found[title] = {"steps": steps.to_dict("records"), "verdict": verdict(steps)}
        text += f"\n\nestimated, the {title} on all:\n\n{_table(steps)}\n\n{verdict(steps)}"
    print(json.dumps(found, indent=2) if arguments.json else text)


def workload(p: Params, arguments: argparse.Namespace) -> Workload:
    architecture = Architecture.from_params(p)
    if arguments.step_ms:
        images = arguments.step_images or p.batch_size // p.device_num
        per_image = arguments.step_ms / 1000 / images
    else:
        share = cost.share_of_published(architecture, p.crop_size)
        per_image = QUOTED_MS / 1000 / QUOTED_IMAGES * share
    layers = cost.layers(architecture, p.crop_size, p.crop_size)
    return Workload(
        seconds_per_image=per_image,
        parameters=cost.parameters(architecture),
        synchronised=sum(layer.norm for layer in layers) if p.parallel else 0,
    )


def training_hours(p: Params, steps: pd.DataFrame, start_minutes: float) -> pd.Series:
    """Hours of all epochs; validation during training is left out."""
    images = CITYSCAPES.split_sizes["train"]
    if p.expected_train_images:
        images = p.expected_train_images
    elif Path(p.data_path) == SYNTHETIC:
        images = p.synthetic_train_images
    per_epoch = steps_per_epoch(images, steps.devices * steps.images_per_device)
    return (p.epochs * per_epoch * steps.seconds + 60 * start_minutes) / 3600


def verdict(steps: pd.DataFrame) -> str:
    """One sentence: where it stops scaling, and why."""
    rows = list(steps.itertuples())
    for before, step in itertools.pairwise(rows):
        if step.efficiency < LEAST_EFFICIENCY:
            return (
                f"Stops scaling at {counted(before.devices, 'device')}: on {step.devices}, efficiency "
                f"is {step.efficiency:.0%}, because {_reason(step)}."
            )
    last = rows[-1]
    if last.devices < DEVICES[-1]:
        return (
            f"Stops scaling at {counted(last.devices, 'device')}: twice as many need another batch_size than "
            f"{last.devices * last.images_per_device}."
        )
    return f"Does not stop scaling up to {last.devices} devices: efficiency is still {last.efficiency:.0%}."


def _reason(step: Any) -> str:
    if step.bound == "data":
        return f"the CPUs of a node need {step.data * 1000:.0f} ms to prepare the images of a step"
    if step.sums > step.gradients:
        return f"the sums of batch norm over devices wait {step.sums * 1000:.0f} ms for the links"
    return f"the gradients take {step.gradients * 1000:.0f} ms on the links"


def _heading(p: Params, work: Workload, machines: Machines, arguments: argparse.Namespace) -> str:
    source = "--step-ms"
    if not arguments.step_ms:
        source = (
            f"scaled by multiplications from {QUOTED_MS:g} ms for {QUOTED_IMAGES} images of S at crop "
            f"{cost.PUBLISHED_CROP}, quoted from the 2021 README"
        )
    return (
        f"Estimated, not measured: training for {counted(p.epochs, 'epoch')} at crop {p.crop_size} on Ascend 910.\n"
        f"one device: {work.seconds_per_image * 1000:.3g} ms per image ({source}); {work.parameters:,} parameters; "
        f"{work.synchronised} batch norms over devices\n"
        f"assumed: {machines.link_gbps:g} Gb/s and {machines.latency_us:g} µs per hop within a node, "
        f"{machines.node_link_gbps:g} Gb/s and {machines.node_latency_us:g} µs between nodes; "
        f"memory is not looked at\n"
        f"a node: {machines.devices_per_node} devices, {machines.cores_per_node} cores that prepare "
        f"{machines.samples_per_core:g} samples/s each (measured on 2 cores at crop 769)\n"
        f"before the first step: {arguments.start_minutes:g} min (quoted); validation during training is left out"
    )


def _table(steps: pd.DataFrame) -> str:
    """All numbers of devices, those that the batch size rules out, too."""
    cells = {devices: (devices, *[MISSING] * 4, "batch_size") for devices in DEVICES}
    for step in steps.itertuples():
        cells[step.devices] = (
            step.devices,
            step.images_per_device,
            f"{step.seconds * 1000:.1f}",
            f"{step.efficiency:.0%}",
            f"{step.hours:.1f}",
            step.bound,
        )
    headers = ("devices", "images per device", "ms/step", "efficiency", "hours", "bound by")
    aligned = (*["right"] * 5, "left")
    return tabulate(cells.values(), headers=headers, disable_numparse=True, colalign=aligned)
