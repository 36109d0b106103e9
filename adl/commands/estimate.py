"""adl estimate: step time, efficiency and hours on 1 to 256 devices, on paper."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import params
from adl.architecture import Architecture, cost
from adl.commands import add_command, scaling
from adl.commands.scaling import Machines, Step, Workload
from adl.console.text import MISSING, counted
from adl.dataset.descriptor import CITYSCAPES
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.params import Params
from adl.workspace import SYNTHETIC

DEVICES = tuple(2**power for power in range(9))
LEAST_EFFICIENCY = 0.5
"""Below it, more than half of what is added is wasted: there scaling is said to stop."""

QUOTED_MS, QUOTED_IMAGES, QUOTED_CROP = 440.0, 2, 769
"""A step of S on one Ascend 910: the mean of epochs 2 to 10 in the log of the README of 2021.

The log is headed "batch_size = 8", but its 1487 steps per epoch of 2975 images are of two images each.
"""
QUOTED_START = 29.0
"""Minutes before the first step: the first epoch of eight devices, less a later one, in the README of 2021."""

DESCRIPTION = """foretell step time, efficiency and hours of training on 1 to 256 Ascend devices

reads:  params.yaml and the architecture files that it names
writes: a table to the terminal. All of it is estimated: nothing was measured on Ascend with this project. A step on one
        device is scaled by multiplications from the one that the README of 2021 states, or is --step-ms; link speeds
        and latencies are assumptions, and options. batch_size counts the images of all devices: one table keeps it
        as it is, the other keeps the images per device, which is another training"""


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    number.__name__ = "positive number"
    return number


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "estimate",
        run,
        description=DESCRIPTION,
        example="adl estimate --node-link-gbps 200 --cores-per-node 96",
    )
    usual = Machines()
    options: Sequence[tuple[str, Callable[[str], float], float | None, str]] = (
        ("--step-ms", float, None, "step on one device with these parameters; default: scaled"),
        ("--step-images", int, None, "images of that step; default: batch_size / device_num"),
        ("--link-gbps", float, usual.link * 8 / 1e9, "between devices of a node; assumed"),
        ("--node-link-gbps", float, usual.node_link * 8 / 1e9, "of each device, to other nodes; assumed"),
        ("--latency-us", float, usual.latency * 1e6, "of a hop between devices of a node; assumed"),
        ("--node-latency-us", float, usual.node_latency * 1e6, "of a hop between nodes; assumed"),
        ("--devices-per-node", int, usual.devices_per_node, "README of 2021"),
        ("--cores-per-node", int, usual.cores_per_node, "CPU cores; README of 2021"),
        ("--samples-per-core", float, usual.samples_per_core,
         "samples per second that a core prepares; measured on 2 cores at crop 769"),
        ("--start-minutes", float, QUOTED_START, "before the first step; README of 2021"),
    )  # fmt: skip
    for name, kind, default, meaning in options:
        shown = meaning if default is None else f"{meaning}; default: %(default)g"
        command.add_argument(name, type=_positive(kind), default=default, metavar="N", help=shown)
    command.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> None:
    if arguments.step_images and not arguments.step_ms:
        raise AdlError("--step-images: says of how many images --step-ms is; give both.")
    p = params.load()
    work, machines = workload(p, arguments), machines_of(arguments)
    tables = {
        "batch_size": fixed_batch(work, machines, p.batch_size, least=1 if p.parallel else 2),
        "images per device": fixed_share(work, machines, p.batch_size // p.device_num),
    }
    hours = {
        title: [training_hours(p, step, arguments.start_minutes) for step in steps]
        for title, steps in tables.items()
    }
    if arguments.json:
        print(json.dumps(_to_json(tables, hours, machines), indent=2))
        return
    print(_heading(p, work, machines, arguments))
    for title, steps in tables.items():
        print(
            f"\nestimated, the same {title} on all:\n\n{_table(steps, hours[title])}\n\n{verdict(steps)}"
        )


def workload(p: Params, arguments: argparse.Namespace) -> Workload:
    architecture = Architecture.from_params(p)
    if arguments.step_ms:
        images = arguments.step_images or p.batch_size // p.device_num
        per_image = arguments.step_ms / 1000 / images
    else:
        quoted = cost.macs(Architecture(), QUOTED_CROP, QUOTED_CROP)
        share = cost.macs(architecture, p.crop_size, p.crop_size) / quoted
        per_image = QUOTED_MS / 1000 / QUOTED_IMAGES * share
    layers = cost.layers(architecture, p.crop_size, p.crop_size)
    return Workload(
        seconds_per_image=per_image,
        parameters=cost.parameters(architecture),
        synchronised=sum(layer.norm for layer in layers) if p.parallel else 0,
    )


def machines_of(arguments: argparse.Namespace) -> Machines:
    return Machines(
        devices_per_node=arguments.devices_per_node,
        link=arguments.link_gbps * 1e9 / 8,
        node_link=arguments.node_link_gbps * 1e9 / 8,
        latency=arguments.latency_us / 1e6,
        node_latency=arguments.node_latency_us / 1e6,
        cores_per_node=arguments.cores_per_node,
        samples_per_core=arguments.samples_per_core,
    )


def fixed_batch(
    work: Workload, machines: Machines, batch_size: int, *, least: int = 1
) -> list[Step]:
    """Strong scaling, on as many devices as params.yaml takes: they divide batch_size.

    least: images on each device; batch norm needs two where it is not over all of them.
    """
    return [
        scaling.step(work, machines, devices=devices, images_per_device=batch_size // devices)
        for devices in DEVICES
        if batch_size % devices == 0 and batch_size // devices >= least
    ]


def fixed_share(work: Workload, machines: Machines, images: int) -> list[Step]:
    """Weak scaling: images on each device, so that batch_size grows with the devices."""
    return [
        scaling.step(work, machines, devices=devices, images_per_device=images)
        for devices in DEVICES
    ]


def training_hours(p: Params, step: Step, start_minutes: float) -> float:
    """Hours of all epochs; validation during training is left out."""
    is_drawn = Path(p.data_path) == SYNTHETIC
    images = p.synthetic_train_images if is_drawn else CITYSCAPES.split_sizes["train"]
    if p.expected_train_images:
        images = p.expected_train_images
    steps = p.epochs * steps_per_epoch(images, step.devices * step.images_per_device)
    return (steps * step.seconds + 60 * start_minutes) / 3600


def verdict(steps: Sequence[Step]) -> str:
    """One sentence: where it stops scaling, and why."""
    last = steps[0]
    for step in steps[1:]:
        share = scaling.efficiency(step, steps[0])
        if share < LEAST_EFFICIENCY:
            return (
                f"Stops scaling at {counted(last.devices, 'device')}: on {step.devices}, efficiency "
                f"is {share:.0%}, because {_reason(step)}."
            )
        last = step
    if last.devices < DEVICES[-1]:
        return (
            f"Stops scaling at {counted(last.devices, 'device')}: twice as many need another batch_size than "
            f"{last.devices * last.images_per_device}."
        )
    return (
        f"Does not stop scaling up to {last.devices} devices: efficiency is still "
        f"{scaling.efficiency(last, steps[0]):.0%}."
    )


def _reason(step: Step) -> str:
    if step.bound == "data":
        return f"the CPUs of a node need {step.data * 1000:.0f} ms to prepare the images of a step"
    if step.sums > step.gradients:
        return f"the sums of batch norm over devices wait {step.sums * 1000:.0f} ms for the links"
    return f"the gradients take {step.gradients * 1000:.0f} ms on the links"


def _heading(p: Params, work: Workload, machines: Machines, arguments: argparse.Namespace) -> str:
    source = (
        "--step-ms"
        if arguments.step_ms
        else f"scaled by multiplications from {QUOTED_MS:g} ms for {QUOTED_IMAGES} images of S at crop {QUOTED_CROP}, "
        "quoted from the README of 2021"
    )
    return (
        f"Estimated, not measured: training for {counted(p.epochs, 'epoch')} at crop {p.crop_size} on Ascend 910.\n"
        f"one device: {work.seconds_per_image * 1000:.3g} ms per image ({source}); {work.parameters:,} parameters; "
        f"{work.synchronised} batch norms over devices\n"
        f"assumed: {machines.link * 8 / 1e9:g} Gb/s and {machines.latency * 1e6:g} µs per hop within a node, "
        f"{machines.node_link * 8 / 1e9:g} Gb/s and {machines.node_latency * 1e6:g} µs between nodes; "
        f"memory is not looked at\n"
        f"a node: {machines.devices_per_node} devices, {machines.cores_per_node} cores that prepare "
        f"{machines.samples_per_core:g} samples/s each (measured on 2 cores at crop 769)\n"
        f"before the first step: {arguments.start_minutes:g} min (quoted); validation during training is left out"
    )


def _table(steps: Sequence[Step], hours: Sequence[float]) -> str:
    headers = ("devices", "images per device", "ms/step", "efficiency", "hours", "bound by")
    rows = [
        (
            step.devices,
            step.images_per_device,
            f"{step.seconds * 1000:.1f}",
            f"{scaling.efficiency(step, steps[0]):.0%}",
            f"{of_training:.1f}",
            step.bound,
        )
        for step, of_training in zip(steps, hours, strict=True)
    ]
    reached = {step.devices for step in steps}
    rows += [
        (devices, *[MISSING] * 4, "batch_size") for devices in DEVICES if devices not in reached
    ]
    rows.sort(key=lambda row: row[0])
    aligned = (*["right"] * 5, "left")
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=aligned)


def _to_json(
    tables: dict[str, list[Step]], hours: dict[str, list[float]], machines: Machines
) -> dict[str, Any]:
    """The tables as values: seconds, shares and hours, with what was assumed."""
    found: dict[str, Any] = {"estimated": True, "machines": vars(machines)}
    for title, steps in tables.items():
        rows = [
            {
                **vars(step),
                "seconds": step.seconds,
                "efficiency": scaling.efficiency(step, steps[0]),
                "hours": of_training,
                "bound": step.bound,
            }
            for step, of_training in zip(steps, hours[title], strict=True)
        ]
        found[f"same {title}"] = {"steps": rows, "verdict": verdict(steps)}
    return found
