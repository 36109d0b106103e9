"""On paper: how long a training step takes on many devices. Nothing here is measured on more than one machine.

A step is the slower of two things that run side by side: the devices, which compute and then wait for each other, and
the CPUs, which prepare the next batch. Devices wait for the gradients, which are many bytes once a step, and, with
`parallel: true`, for the sums of batch norm, which are few bytes many times a step. None of this is taken to be hidden
behind computation: the sums cannot be, and the gradients are a few milliseconds.

Each all-reduce is a ring within the node, and a ring over the nodes in which every device sends its share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Machines(NamedTuple):
    """What the nodes are. Bandwidths in Gb/s and direction, latencies in microseconds of one hop of a ring.

    The defaults are assumptions, but for those that name a source. What decides is `latency_us`: the 2021 README
    has two logs of eight devices, of 541 and 605 ms, which 7 and 12 µs would give.
    """

    link_gbps: float = 240.0  # assumed: a link of HCCS
    node_link_gbps: float = 100.0  # assumed: RoCE for each device
    latency_us: float = 10.0  # assumed: one hop between devices of a node
    node_latency_us: float = 30.0  # assumed: one hop between nodes
    devices_per_node: int = 8  # 2021 README: Ascend 910 × 8
    cores_per_node: int = 192  # 2021 README: "CPU 2.60GHz, 192cores"
    samples_per_core: float = 6.5  # measured for this project: 13 samples/s on 2 cores, at crop 769


class Workload(NamedTuple):
    """What one training step is, whatever the devices.

    seconds_per_image: of one device. parameters: trained ones. synchronised: batch norms that are over all devices; 0
    with `parallel: false`. A step has no part that is independent of its images, because only one size of step was ever
    published: fewer images than that are estimated too fast.
    """

    seconds_per_image: float
    parameters: int
    synchronised: int


def steps(work: Workload, machines: Machines, images: Mapping[int, int]) -> pd.DataFrame:
    """A row for the training step on each number of devices, one device first; all parts in seconds.

    images: number of devices → images on each. efficiency: images per second of each device, as a share of what one
    device alone does. bound: what to improve first.
    """
    devices, share = np.array(list(images)), np.array(list(images.values()))
    compute = share * work.seconds_per_image
    # The gradients are float32: four bytes each.
    gradients = all_reduce(4 * work.parameters, devices, machines)
    # A batch norm has four sums in a step: mean and variance, forward and backward. They are a few hundred bytes each:
    # only their latency counts.
    sums = 4 * work.synchronised * all_reduce(0, devices, machines)
    # The cores of a node prepare the images of all its devices.
    prepared = machines.cores_per_node * machines.samples_per_core
    data = share * np.minimum(devices, machines.devices_per_node) / prepared
    communication = gradients + sums
    busy = compute + communication
    seconds = np.maximum(busy, data)
    speed = share / seconds
    return pd.DataFrame(
        {
            "devices": devices,
            "images_per_device": share,
            "compute": compute,
            "gradients": gradients,
            "sums": sums,
            "data": data,
            "seconds": seconds,
            "efficiency": speed / speed[0],
            "bound": np.select([data > busy, communication > compute], ["data", "link"], "compute"),
        }
    )


def all_reduce(size: float, devices: Any, machines: Machines) -> Any:
    """Seconds until all devices have the sum of `size` bytes of each. devices: one number, or many."""
    here = np.minimum(devices, machines.devices_per_node)
    nodes = -(-devices // machines.devices_per_node)
    within = ring(size, here, machines.link_gbps, machines.latency_us)
    between = ring(size / here, nodes, machines.node_link_gbps, machines.node_latency_us)
    return within + between


def ring(size: Any, members: Any, gbps: float, latency_us: float) -> Any:
    """Seconds of an all-reduce: 2(n-1) hops, each with an n-th of the bytes."""
    bytes_per_second = gbps * 1e9 / 8
    return 2 * (members - 1) * (size / members / bytes_per_second + latency_us / 1e6)
