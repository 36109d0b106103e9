"""Step time on many devices: hand-computed values, and the published run of eight devices predicted from one device."""

from __future__ import annotations

import pytest

from adl.console import scaling
from adl.console.scaling import Machines, Workload

# 1 GB/s and 10 µs within a node, 100 MB/s and 100 µs between nodes.
ROUND = Machines(
    devices_per_node=4,
    link_gbps=8.0,
    node_link_gbps=0.8,
    latency_us=10.0,
    node_latency_us=100.0,
    cores_per_node=10,
    samples_per_core=2.0,
)
WORK = Workload(seconds_per_image=0.1, parameters=1_000_000, synchronised=50)


def test_ring_sends_a_part_to_the_next_in_each_of_its_hops():
    # 2·(4-1) = 6 hops, each of a quarter of 4 MB at 1 GB/s, which is 1 ms, and 10 µs.
    assert scaling.ring(4e6, 4, gbps=8.0, latency_us=10.0) == pytest.approx(6 * 1.01e-3)
    assert scaling.ring(4e6, 1, gbps=8.0, latency_us=10.0) == 0


def test_all_reduce_over_nodes_sends_each_device_its_share():
    # On top of the 6.06 ms within the node: 2 hops of half of 1 MB at 100 MB/s, which is 5 ms, and 100 µs.
    assert scaling.all_reduce(4e6, 8, ROUND) == pytest.approx(6.06e-3 + 2 * 5.1e-3)
    assert scaling.all_reduce(4e6, 4, ROUND) == pytest.approx(6.06e-3)
    assert scaling.all_reduce(4e6, 1, ROUND) == 0


def step_of(work: Workload, machines: Machines, devices: int):
    """A step of two images on each device."""
    [step] = scaling.steps(work, machines, {devices: 2}).itertuples()
    return step


def test_step_is_computation_and_what_is_waited_for():
    step = step_of(WORK, ROUND, devices=4)
    assert step.compute == pytest.approx(0.2)
    assert step.gradients == pytest.approx(6.06e-3)
    assert step.sums == pytest.approx(4 * 50 * 6 * 1e-5)
    # 8 images of a node whose CPUs prepare 20 a second.
    assert step.data == pytest.approx(0.4)
    assert step.seconds == pytest.approx(0.4)
    enough = ROUND._replace(cores_per_node=100)
    alone, step = scaling.steps(WORK, enough, {1: 2, 4: 2}).itertuples()
    assert step.seconds == pytest.approx(0.2 + 6.06e-3 + 12e-3)
    assert alone.seconds == pytest.approx(0.2)
    assert step.efficiency == pytest.approx(0.2 / 0.21806)


def test_the_slowest_part_is_named():
    def bound(work: Workload = WORK, **machines: float) -> str:
        ample = ROUND._replace(cores_per_node=1000, **machines)
        return step_of(work, ample, devices=8).bound

    assert bound() == "compute"
    assert bound(samples_per_core=0.01) == "data"
    assert bound(node_link_gbps=0.008) == "link"
    assert bound(node_latency_us=1e4) == "link"
    assert bound(WORK._replace(synchronised=0), node_latency_us=1e4) == "compute"


@pytest.mark.parametrize("name", ["link_gbps", "node_link_gbps", "cores_per_node", "samples_per_core"])
def test_better_machines_are_never_slower(name):
    better = ROUND._replace(**{name: 2 * getattr(ROUND, name)})
    images = dict.fromkeys((1, 4, 8, 64), 2)
    now, then = (scaling.steps(WORK, machines, images).seconds for machines in (ROUND, better))
    assert (then <= now).all()


def test_more_devices_are_never_more_efficient():
    images = {2**n: 2 for n in range(9)}
    shares = scaling.steps(WORK, Machines(), images).efficiency.tolist()
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1
