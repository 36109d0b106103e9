"""Devices and cores of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import mindspore as ms
import pytest

from adl import device, preflight
from adl.config import params
from adl.errors import AdlError
from adl.launch.topology import local
from adl.parallel.world import from_environment
from tests.conftest import ROOT


def test_only_devices_that_are_visible_count(monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path(f"/dev/davinci{i}") for i in range(8)])
    assert device.devices("Ascend") == 8
    for visible, expected in {"0,2,5": 3, "7": 1, "": 0}.items():
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
        assert device.devices("Ascend") == expected


def test_no_more_workers_than_cores_that_may_be_used():
    usable = os.sched_getaffinity(0)
    assert device.cores() == len(usable)
    assert [device.workers(requested) for requested in (0, 1, 999)] == [1, 1, len(usable)]
    os.sched_setaffinity(0, {min(usable)})
    try:
        assert device.cores() == device.workers(999) == 1
    finally:
        os.sched_setaffinity(0, usable)


@pytest.mark.skipif(bool(device.devices("Ascend")), reason="this machine has Ascend devices")
def test_device_that_the_machine_lacks_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    for check in (device.check_device_target, device.start):
        with pytest.raises(AdlError, match="device_target Ascend: this machine has 0 such devices"):
            check("Ascend")
    device.check_device_target("CPU", 99)
    p = params.load(ROOT / "params.yaml", device_target="Ascend")
    with pytest.raises(AdlError, match="device_target Ascend"):
        preflight.check(p)


def test_each_rank_takes_its_own_device(monkeypatch):
    taken, modes = [], []
    monkeypatch.setattr(device, "check_device_target", lambda target: None)
    monkeypatch.setattr(ms, "set_device", lambda target, number: taken.append((target, number)))
    monkeypatch.setattr(ms.communication, "init", lambda: None)
    monkeypatch.setattr(ms, "set_auto_parallel_context", lambda **mode: modes.append(mode))
    for rank in range(2):
        own = local(2, first_device=4).workers[rank]
        with monkeypatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            patch.setattr(ms.communication, "get_rank", lambda rank=rank: rank)
            device.start("Ascend", graph=False, world=from_environment())
    assert taken == [("Ascend", 4), ("Ascend", 5)]
    assert modes == 2 * [{"parallel_mode": ms.ParallelMode.DATA_PARALLEL, "device_num": 2}]
