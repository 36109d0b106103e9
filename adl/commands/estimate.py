"""estimate step time, efficiency and hours of training on 1 to 256 Ascend devices

reads:  params.yaml, the architecture files that it names, and the names of the images in data_path; where there are
        none, the data set is taken to be complete
writes: a table to the terminal. All of it is estimated: nothing was measured on Ascend with this project. A step on one
        device is scaled by multiplications from the one that the 2021 README states, or is --step-ms; link speeds
        and latencies are assumptions, and options. batch_size counts the images of all devices: one table keeps it
        as it is, the other keeps the images per device, which is another training

example: adl estimate --node-link-gbps 200 --cores-per-node 96
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import pandas as pd
from tabulate import tabulate

from adl.commands.parameters import positive
from adl.config import params
from adl.config.params import Params
from adl.console import estimate, scaling
from adl.console.scaling import Machines, Workload
from adl.console.text import MISSING, counted
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.preflight import train_images

DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

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


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--step-ms",
        type=positive(float),
        metavar="N",
        help="step on one device with these parameters; default: scaled",
    )
    command.add_argument(
        "--step-images",
        type=positive(int),
        metavar="N",
        help="images of that step; default: batch_size / device_num",
    )
    for field, default in Machines._field_defaults.items():
        command.add_argument(
            f"--{field.replace('_', '-')}",
            type=positive(type(default)),
            default=default,
            metavar="N",
            help=f"{MACHINE_OPTIONS[field]}; default: %(default)g",
        )
    command.add_argument(
        "--start-minutes",
        type=positive(float),
        default=estimate.QUOTED_START,
        metavar="N",
        help="before the first step; 2021 README; default: %(default)g",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    if arguments.step_images and not arguments.step_ms:
        raise AdlError("--step-images: says of how many images --step-ms is; give both.")
    p = params.load()
    work = estimate.workload(p)
    if arguments.step_ms:
        images = arguments.step_images or p.batch_size // p.device_num
        work = work._replace(seconds_per_image=arguments.step_ms / 1000 / images)
    machines = Machines(**{field: getattr(arguments, field) for field in MACHINE_OPTIONS})
    # Batch norm needs two images on each device where it is not over all of them.
    least = 1 if p.parallel else 2
    shares = {
        "same batch_size": {
            devices: p.batch_size // devices
            for devices in DEVICES
            if p.batch_size % devices == 0 and p.batch_size // devices >= least
        },
        "same images per device": dict.fromkeys(DEVICES, p.batch_size // p.device_num),
    }
    to_train_on = train_images(p)
    found: dict[str, Any] = {"estimated": True, "machines": machines._asdict()}
    text = _heading(p, work, arguments)
    for title, images in shares.items():
        steps = scaling.steps(work, machines, images)
        per_epoch = steps_per_epoch(to_train_on, steps.devices * steps.images_per_device)
        steps["hours"] = (p.epochs * per_epoch * steps.seconds + 60 * arguments.start_minutes) / 3600
        sentence = verdict(steps)
        found[title] = {"steps": steps.to_dict("records"), "verdict": sentence}
        text += f"\n\nestimated, the {title} on all:\n\n{_table(steps)}\n\n{sentence}"
    print(json.dumps(found, indent=2) if arguments.json else text)


def verdict(steps: pd.DataFrame) -> str:
    """One sentence: where it stops scaling, and why."""
    for before, step in itertools.pairwise(steps.itertuples()):
        if step.efficiency < 0.5:  # more than half of the computing power is wasted
            return (
                f"Stops scaling at {counted(before.devices, 'device')}: on {step.devices}, efficiency "
                f"is {step.efficiency:.0%}, because {_reason(step)}."
            )
    last = steps.iloc[-1]
    if last.devices < DEVICES[-1]:
        return (
            f"Stops scaling at {counted(last.devices, 'device')}: twice as many need another batch_size than "
            f"{last.devices * last.images_per_device}."
        )
    return f"Still scales at {last.devices} devices: efficiency is {last.efficiency:.0%}."


def _reason(step: Any) -> str:
    if step.bound == "data":
        return f"the CPUs of a node need {step.data * 1000:.0f} ms to prepare the images of a step"
    if step.sums > step.gradients:
        return f"the sums of batch norm over devices wait {step.sums * 1000:.0f} ms for the links"
    return f"the gradients take {step.gradients * 1000:.0f} ms on the links"


def _heading(p: Params, work: Workload, arguments: argparse.Namespace) -> str:
    source = "--step-ms" if arguments.step_ms else estimate.QUOTED
    return (
        f"Estimated, not measured: training for {counted(p.epochs, 'epoch')} at crop {p.crop_size} on Ascend 910.\n"
        f"one device: {work.seconds_per_image * 1000:.3g} ms per image ({source}); {work.parameters:,} parameters; "
        f"{work.synchronised} batch norms over devices\n"
        f"assumed: {arguments.link_gbps:g} Gb/s and {arguments.latency_us:g} µs per hop within a node, "
        f"{arguments.node_link_gbps:g} Gb/s and {arguments.node_latency_us:g} µs between nodes; "
        f"memory is not looked at\n"
        f"a node: {arguments.devices_per_node} devices, {arguments.cores_per_node} cores that prepare "
        f"{arguments.samples_per_core:g} samples/s each (measured on 2 cores at crop 769)\n"
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
    return tabulate(
        cells.values(),
        headers=("devices", "images per device", "ms/step", "efficiency", "hours", "bound by"),
        disable_numparse=True,
        stralign="right",
    )
