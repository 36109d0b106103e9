from __future__ import annotations

import shutil
import socket
import types
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from adl import device
from adl.doctor import DEVICES, machine
from tests.doctor.conftest import result

GIB = 2**30


@pytest.fixture
def memory(monkeypatch) -> Callable[[float, float], None]:
    """memory(total, available): bytes that the system states."""

    def state(total: float, available: float) -> None:
        stated = types.SimpleNamespace(total=total, available=available)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: stated)

    return state


@pytest.mark.parametrize(("there", "wanted", "status"), [(0, 1, "problem"), (4, 8, "problem"), (8, 8, "ok")])
def test_lacking_devices_are_a_problem(case, monkeypatch, there, wanted, status):
    monkeypatch.setattr(device, "devices", lambda target: there)
    found = result(machine.devices, case(device_target="Ascend", device_num=wanted, batch_size=16))
    assert found.status == status
    assert str(there) in found.text


def test_idle_ascend_devices_are_mentioned_on_a_cpu(case, monkeypatch):
    monkeypatch.setattr(device, "devices", lambda target: None if target == "CPU" else 8)
    assert result(machine.devices, case()).text.endswith("8 Ascend devices")


def test_devices_are_looked_for_where_linux_has_them():
    assert (DEVICES / "null").is_char_device()


def test_gpus_are_said_to_be_of_no_use(case, write):
    assert "GPU" not in result(machine.devices, case()).text
    write("dev/nvidiactl", "")
    assert "GPU" not in result(machine.devices, case()).text
    for number in (0, 10):
        write(f"dev/nvidia{number}", "")
    found = result(machine.devices, case())
    assert found.status == "ok"
    assert "; 2 GPUs. Since 2.10," in found.text
    assert "MindSpore's wheels have had no GPU back end" in found.text


def test_workers_beyond_the_cores_are_said_to_be_left_out(case, monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 3)
    assert result(machine.cores, case(workers=8)).text == "3 cores; of workers 8, 3 are started"
    assert result(machine.cores, case(workers=2)).text == "3 cores; of workers 2, 2 are started"


@pytest.mark.parametrize(
    ("total", "available", "status"),
    [(64, 60, "ok"), (64, 0.1, "warning"), (0.5, 0.4, "problem")],
)
def test_memory_is_held_against_what_training_takes(case, memory, total, available, status):
    memory(total * GIB, available * GIB)
    found = result(machine.memory, case())
    assert found.status == status
    assert "training takes about 791 MB" in found.text


def test_each_process_on_a_cpu_takes_memory_for_its_share_of_the_images(case, memory):
    memory(2 * GIB, 2 * GIB)
    assert result(machine.memory, case()).status == "ok"
    assert result(machine.memory, case(device_num=4)).status == "problem"
    memory(3 * GIB, 3 * GIB)
    assert result(machine.memory, case(device_num=4)).status == "ok"


def test_devices_have_their_own_memory(case, memory):
    memory(0.5 * GIB, 0.4 * GIB)
    assert result(machine.memory, case(device_target="Ascend")).status == "ok"


@pytest.mark.parametrize(
    ("folder", "limit", "use", "group"),
    [
        ("", "memory.max", "memory.current", "0::/a/b\n"),
        ("", "memory.max", "memory.current", "0::/\n"),
        ("memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "4:memory:/a/b\n"),
    ],
)
def test_limit_of_a_container_counts(write, memory, folder, limit, use, group):
    memory(64 * GIB, 60 * GIB)
    write("proc/self/cgroup", group)
    place = f"sys/fs/cgroup/{folder}{group.strip().split(':/')[1]}"
    write(f"{place}/{limit}", f"{4 * GIB}\n")
    write(f"{place}/{use}", f"{3 * GIB}\n")
    assert machine.total_and_free() == (4 * GIB, 1 * GIB)
    write(f"{place}/memory.stat", f"anon 5\ninactive_file {2 * GIB}\n")
    assert machine.total_and_free() == (4 * GIB, 3 * GIB), "files that were read are no use"
    write(f"{place}/{limit}", "max\n")
    assert machine.total_and_free() == (64 * GIB, 60 * GIB)


@pytest.mark.parametrize(("free", "status"), [(10e9, "ok"), (1e9, "warning"), (1e6, "problem")])
@pytest.mark.parametrize("full", ["", "states", "cache"])
def test_fullest_disk_of_all_that_are_written_to_counts(case, tmp_path, monkeypatch, free, status, full):
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path / "states/of/runs"))
    for name in ("states", "cache", ".dvc"):
        (tmp_path / name).mkdir()
    # As `dvc config cache.dir cache` writes it.
    (tmp_path / ".dvc/config").write_text("[cache]\n    dir = ../cache\n")

    def usage(path: Path):
        return shutil._ntuple_diskusage(1e12, 0, free if path == tmp_path / full else 1e12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    found = result(machine.disk, case())
    assert found.status == status
    assert str(tmp_path / full) in found.text


def test_no_free_port_is_a_problem(case, monkeypatch):
    assert result(machine.port, case()).status == "ok"

    def refuse(self, address):
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    found = result(machine.port, case())
    assert found.status == "problem"
    assert "Cannot assign requested address" in found.text
