"""Step time on many devices: hand-computed values, and the published run of eight devices predicted from one device."""

from __future__ import annotations

import dataclasses

import pytest

from adl.commands import scaling
from adl.commands.scaling import Machines, Workload

ROUND = Machines(
    devices_per_node=4,
    link=1e9,
    node_link=1e8,
    latency=1e-5,
    node_latency=1e-4,
    cores_per_node=10,
    samples_per_core=2.0,
)
WORK = Workload(seconds_per_image=0.1, parameters=1_000_000, synchronised=50)


def test_ring_sends_a_part_to_the_next_in_each_of_its_hops():
    # 2·(4-1) = 6 hops, each of a quarter of 4 MB at 1 GB/s, which is 1 ms, and 10 µs.
    assert scaling.ring(4e6, 4, bandwidth=1e9, latency=1e-5) == pytest.approx(6 * 1.01e-3)
    assert scaling.ring(4e6, 1, bandwidth=1e9, latency=1e-5) == 0


def test_all_reduce_over_nodes_sends_each_device_its_share():
    # On top of the 6.06 ms within the node: 2 hops of half of 1 MB at 100 MB/s, which is 5 ms, and 100 µs.
    assert scaling.all_reduce(4e6, 8, ROUND) == pytest.approx(6.06e-3 + 2 * 5.1e-3)
    assert scaling.all_reduce(4e6, 4, ROUND) == pytest.approx(6.06e-3)
    assert scaling.all_reduce(4e6, 1, ROUND) == 0


def test_step_is_computation_and_what_is_waited_for():
    step = scaling.step(WORK, ROUND, devices=4, images_per_device=2)
    assert step.compute == pytest.approx(0.2)
    assert step.gradients == pytest.approx(6.06e-3)
    assert step.sums == pytest.approx(4 * 50 * 6 * 1e-5)
    # 8 images of a node whose CPUs prepare 20 a second.
    assert step.data == pytest.approx(0.4)
    assert step.seconds == pytest.approx(0.4)
    enough = dataclasses.replace(ROUND, cores_per_node=100)
    step = scaling.step(WORK, enough, devices=4, images_per_device=2)
    assert step.seconds == pytest.approx(0.2 + 6.06e-3 + 12e-3)
    alone = scaling.step(WORK, enough, devices=1, images_per_device=2)
    assert alone.seconds == pytest.approx(0.2)
    assert scaling.efficiency(step, alone) == pytest.approx(0.2 / 0.21806)


def test_the_slowest_part_is_named():
    def bound(work: Workload = WORK, **machines: float) -> str:
        ample = dataclasses.replace(ROUND, cores_per_node=1000, **machines)
        return scaling.step(work, ample, devices=8, images_per_device=2).bound

    assert bound() == "compute"
    assert bound(samples_per_core=0.01) == "data"
    assert bound(node_link=1e6) == "link"
    assert bound(node_latency=1e-2) == "link"
    assert bound(dataclasses.replace(WORK, synchronised=0), node_latency=1e-2) == "compute"


@pytest.mark.parametrize("name", ["link", "node_link", "cores_per_node", "samples_per_core"])
def test_better_machines_are_never_slower(name):
    better = dataclasses.replace(ROUND, **{name: 2 * getattr(ROUND, name)})
    for devices in (1, 4, 8, 64):
        now, then = (
            scaling.step(WORK, machines, devices=devices, images_per_device=2).seconds
            for machines in (ROUND, better)
        )
        assert then <= now


def test_more_devices_are_never_more_efficient():
    steps = [scaling.step(WORK, Machines(), devices=2**n, images_per_device=2) for n in range(9)]
    shares = [scaling.efficiency(step, steps[0]) for step in steps]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
