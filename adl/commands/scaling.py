"""On paper: how long a training step takes on many devices. Nothing here is measured on more than one machine.

A step is the slower of two things that run side by side: the devices, which compute and then wait for each other, and
the CPUs, which prepare the next batch. Devices wait for the gradients, which are many bytes once a step, and, with
`parallel: true`, for the sums of batch norm, which are few bytes many times a step. None of this is taken to be hidden
behind computation: the sums cannot be, and the gradients are a few milliseconds.

Each all-reduce is a ring within the node, and a ring over the nodes in which every device sends its share.
"""

from __future__ import annotations

import dataclasses

BATCH_NORM_SUMS = 4
"""All-reduces of a batch norm over devices in a step: mean and variance, forward and backward."""
BYTES_PER_VALUE = 4  # gradients are float32


@dataclasses.dataclass(frozen=True)
class Machines:
    """What the nodes are. Bandwidths in bytes per second and direction, latencies in seconds of one hop of a ring.

    The defaults are assumptions, but for those that name a source. What decides is `latency`: the 2021 README
    has two logs of eight devices, of 541 and 605 ms, which 7 and 12 µs would give.
    """

    devices_per_node: int = 8  # 2021 README: Ascend 910 × 8
    link: float = 30e9  # assumed: 240 Gb/s, a link of HCCS
    node_link: float = 12.5e9  # assumed: 100 Gb/s of RoCE for each device
    latency: float = 10e-6  # assumed: one hop between devices of a node
    node_latency: float = 30e-6  # assumed: one hop between nodes
    cores_per_node: int = 192  # 2021 README: "CPU 2.60GHz, 192cores"
    samples_per_core: float = 6.5  # measured for this project: 13 samples/s on 2 cores, at crop 769


@dataclasses.dataclass(frozen=True)
class Workload:
    """What one training step is, whatever the devices.

    seconds_per_image: of one device. parameters: trained ones. synchronised: batch norms that are over all devices; 0
    with `parallel: false`. A step has no part that is independent of its images, because only one size of step was ever
    published: fewer images than that are estimated too fast.
    """

    seconds_per_image: float
    parameters: int
    synchronised: int


@dataclasses.dataclass(frozen=True)
class Step:
    """A training step on some devices; all parts in seconds."""

    devices: int
    images_per_device: int
    compute: float
    gradients: float
    sums: float
    data: float

    @property
    def communication(self) -> float:
        return self.gradients + self.sums

    @property
    def seconds(self) -> float:
        return max(self.compute + self.communication, self.data)

    @property
    def bound(self) -> str:
        """What to improve first: data, link or compute."""
        if self.data > self.compute + self.communication:
            return "data"
        return "link" if self.communication > self.compute else "compute"


def all_reduce(size: float, devices: int, machines: Machines) -> float:
    """Seconds until all devices have the sum of `size` bytes of each."""
    here = min(devices, machines.devices_per_node)
    nodes = -(-devices // machines.devices_per_node)
    within = ring(size, here, bandwidth=machines.link, latency=machines.latency)
    between = ring(size / here, nodes, bandwidth=machines.node_link, latency=machines.node_latency)
    return within + between


def ring(size: float, members: int, *, bandwidth: float, latency: float) -> float:
    """Seconds of an all-reduce: 2(n-1) hops, each with an n-th of the bytes."""
    hops = 2 * (members - 1)
    return hops * (size / members / bandwidth + latency)


def step(work: Workload, machines: Machines, *, devices: int, images_per_device: int) -> Step:
    images_of_node = images_per_device * min(devices, machines.devices_per_node)
    return Step(
        devices=devices,
        images_per_device=images_per_device,
        compute=images_per_device * work.seconds_per_image,
        gradients=all_reduce(BYTES_PER_VALUE * work.parameters, devices, machines),
        # A few hundred bytes each: only their latency counts.
        sums=BATCH_NORM_SUMS * work.synchronised * all_reduce(0, devices, machines),
        data=images_of_node / (machines.cores_per_node * machines.samples_per_core),
    )


def efficiency(some: Step, alone: Step) -> float:
    """Images per second of each device, as a share of what one device alone does."""
    return (some.images_per_device / some.seconds) / (alone.images_per_device / alone.seconds)
