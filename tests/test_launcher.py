"""The launcher on small programs: exit codes, logs, signals, nobody left behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import psutil
import pytest

from adl import params
from adl import preflight
from adl import runtime
from adl.errors import AdlError
from adl.processes.launcher import Launcher, group_of, plan
from adl.runtime import Independent
from tests.conftest import ROOT
from tests.test_pipeline import wait_for
from tests.workspace import alive

LAUNCH = """
import sys
from pathlib import Path
from adl.processes import launcher
launcher.GRACE = 1.0
group = launcher.group_of(int(sys.argv[2]), "CPU")
sys.exit(launcher.Launcher(Path(sys.argv[1])).run([sys.executable, *sys.argv[3:]], group))
"""


@pytest.fixture
def program(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "program.py"
        path.write_text("import os, signal, sys, time\n" + text)
        return str(path)

    return write


def launch(tmp_path, program: str, size: int = 1, before: str = "") -> subprocess.Popen:
    """before: what the launcher's process does first."""
    command = [sys.executable, "-c", f"{before}\n{LAUNCH}", str(tmp_path / "logs"), str(size), program]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("body", "code"), [("", 0), ("sys.exit(2)", 2), ("1/0", 1)])
def test_exit_code_is_the_workers(tmp_path, program, body, code):
    process = launch(tmp_path, program("print('hello', flush=True)\n" + body))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "hello" in out
    assert (tmp_path / "logs/rank_0.log").read_text() == out


def test_killed_worker_is_a_failure_that_says_so(tmp_path, program):
    process = launch(tmp_path, program("os.kill(os.getpid(), signal.SIGKILL)"))
    assert "error: rank 0 was ended by SIGKILL" in process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGKILL


STUBBORN = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_worker_that_does_not_listen_is_ended_with_all_that_it_started(tmp_path, program, number):
    process = launch(tmp_path, program(STUBBORN))
    ready = process.stdout.readline().split()
    family = [psutil.Process(int(ready[1])), *psutil.Process(process.pid).children()]
    process.send_signal(number)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + number
    assert "ended before it could save; what was saved earlier stays" in told
    wait_for(lambda: not alive(family))


def test_worker_is_asked_first_and_may_save(tmp_path, program):
    body = f"""
def save(*_):
    open({str(tmp_path / "saved")!r}, "w").close()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""
    process = launch(tmp_path, program(body))
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()
    assert "ended before it could save" not in told


def test_hangup_that_was_ignored_at_the_start_stays_ignored(tmp_path, program):
    process = launch(
        tmp_path,
        program("print('ready', flush=True)\ntime.sleep(2)\nprint('done', flush=True)"),
        before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert "done" in process.communicate(timeout=20)[0]
    assert process.returncode == 0


def test_killed_launcher_takes_its_workers_along(tmp_path, program):
    process = launch(tmp_path, program("print(os.getpid(), flush=True)\ntime.sleep(600)"))
    worker = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate(timeout=20)
    wait_for(lambda: not alive([worker]))


def test_worker_whose_launcher_is_gone_before_it_begins_does_nothing(tmp_path):
    command = runtime.tied(["touch", str(tmp_path / "begun")])
    # A shell in between is another parent than the one that it was tied to.
    done = subprocess.run(["sh", "-c", f"{shlex.join(command)}; exit 5"], capture_output=True)
    assert done.returncode == 5
    assert not (tmp_path / "begun").exists()
    subprocess.run(command, check=True)
    assert (tmp_path / "begun").exists()


def test_scheduler_that_ends_is_a_failure_with_its_log(tmp_path, monkeypatch, capfd):
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(0)"]
    monkeypatch.setattr(runtime, "scheduler_command", lambda: command)
    assert Launcher(tmp_path / "logs").run(["touch", str(tmp_path / "begun")], group_of(2, "CPU")) == 1
    assert "the scheduler ended; the end of its log:\nno such port\n" in capfd.readouterr().err
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize(
    ("task", "work"),
    [
        ("synthetic._write_scene", "synthetic.write(Path('raw'), images={'train': 9}, height=64, seed=0, workers=2)"),
        ("baselines._tally", "baselines.score(Path('train'), Path('val'), processes=2)"),
    ],
)
def test_killed_stage_takes_the_processes_along_that_draw_or_count(tmp_path, task, work):
    (tmp_path / "work.py").write_text(
        f"""
import time
from pathlib import Path
from adl.scoring.confusion import baselines
from adl import synthetic

def task(*_):
    Path("begun").touch()
    time.sleep(600)

{task} = task
task.__module__, task.__qualname__ = "adl.{task.split(".")[0]}", "{task.split(".")[1]}"
if __name__ == "__main__":
    {work}
"""
    )
    process = psutil.Popen([sys.executable, "work.py"], env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for((tmp_path / "begun").exists, 60)
    children = process.children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not alive(children))


COLLECTIVE = """
from adl import runtime
from adl.parallel.collective import AllSum
import numpy as np
from mindspore import Tensor
world = runtime.world()
runtime.start("CPU", graph=False, world=world)
total = AllSum(world)(Tensor(np.array([1.0 + world.rank], np.float32)))
print("sum", total.asnumpy().tolist(), flush=True)
if world.rank == 1:
    time.sleep(1)
    raise ValueError("rank 1 has a fault of its own")
AllSum(world)(Tensor(np.zeros(1, np.float32)))
"""


def test_failing_rank_ends_all_within_15_seconds_with_its_traceback(tmp_path, program, monkeypatch):
    # What another launcher left in the environment must not confuse ours.
    for name, value in {"MS_ROLE": "MS_WORKER", "MS_SCHED_PORT": "1", "RANK_ID": "7", "MS_WORKER_NUM": "9"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = launch(tmp_path, program(COLLECTIVE), size=2)
    wait_for(lambda: "sum [3.0]" in log(tmp_path, 1), seconds=60)
    family = psutil.Process(process.pid).children(recursive=True)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "rank 1 failed; the end of its log:" in err
    assert "ValueError: rank 1 has a fault of its own" in err
    assert "sum [3.0]" in out
    assert not alive(family)


def log(tmp_path, rank: int) -> str:
    path = tmp_path / f"logs/rank_{rank}.log"
    return path.read_text() if path.exists() else ""


def test_one_worker_sees_no_cluster(tmp_path, program, monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    names = program("print(sorted(n for n in os.environ if n.startswith(('MS_', 'RANK_'))), flush=True)")
    assert Launcher(tmp_path / "logs").run([sys.executable, names], Independent()) == 0
    assert log(tmp_path, 0) == "[]\n"
    assert os.environ["MS_ROLE"] == "MS_WORKER"


PATIENCE = "MS_CPU_COMM_OP_TIMEOUT=600 HCCL_CONNECT_TIMEOUT=1800 HCCL_EXEC_TIMEOUT=1800"


def test_person_decides_how_long_ranks_wait(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "7200")
    assert "HCCL_CONNECT_TIMEOUT=7200 HCCL_EXEC_TIMEOUT=1800" in plan(["worker"], group_of(2, "Ascend"))


@pytest.fixture
def undecided(monkeypatch):
    """As in a launcher, which never imports MindSpore: that sets the variable where a person has not."""
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)


@pytest.mark.usefixtures("undecided")
def test_each_of_two_nodes_starts_its_own_workers_and_the_first_the_scheduler():
    def of_node(rank: int) -> list[str]:
        group = group_of(4, "Ascend", nodes=2, node_rank=rank, master="10.0.0.1:8118", first_device=2)
        return plan(["python", "-m", "adl.worker", "job.json"], group).splitlines()

    address = "MS_SCHED_HOST=10.0.0.1 MS_SCHED_PORT=8118 MS_WORKER_NUM=4"
    scheduler, *first = of_node(0)
    assert scheduler.startswith(f"scheduler: MS_ROLE=MS_SCHED {address} ")
    assert first[1] == (
        f"rank 1: ADL_RANK=1 ADL_WORLD_SIZE=4 ADL_DEVICE=3 {address} MS_ROLE=MS_WORKER MS_NODE_ID=1 "
        f"{PATIENCE} python -m adl.worker job.json"
    )
    second = of_node(1)
    assert [line.split(":")[0] for line in first + second] == ["rank 0", "rank 1", "rank 2", "rank 3"]
    assert "ADL_DEVICE=2" in second[0]


def rank_table(path, devices: list[list[int]]):
    ranks = iter(range(9))
    servers = [
        {
            "server_id": f"10.0.0.{i}",
            "device": [{"device_id": str(d), "device_ip": f"192.{i}.{d}.6", "rank_id": str(next(ranks))} for d in ids],
        }
        for i, ids in enumerate(devices)
    ]
    path.write_text(json.dumps({"version": "1.0", "server_count": str(len(servers)), "server_list": servers}))
    return path


@pytest.mark.usefixtures("undecided")
def test_rank_table_names_each_workers_device(tmp_path):
    path = rank_table(tmp_path / "table.json", [[0, 1], [4, 5]])
    table = json.loads(path.read_text())
    # Ranks may be numbered across the nodes.
    for server, ranks in zip(table["server_list"], ((0, 2), (1, 3)), strict=True):
        for device, rank in zip(server["device"], ranks, strict=True):
            device["rank_id"] = str(rank)
    path.write_text(json.dumps(table))
    lines = plan(["worker"], group_of(4, "Ascend", nodes=2, node_rank=1, rank_table=path)).splitlines()
    assert lines == [
        f"rank {rank}: ADL_RANK={rank} ADL_WORLD_SIZE=4 ADL_DEVICE={device} RANK_TABLE_FILE={path} RANK_SIZE=4 "
        f"RANK_ID={rank} DEVICE_ID={device} {PATIENCE} worker"
        for rank, device in ((1, 4), (3, 5))
    ]


def test_each_rank_takes_its_own_device(monkeypatch):
    taken, modes = [], []
    monkeypatch.setattr(runtime, "check_device_target", lambda target: None)
    monkeypatch.setattr(ms, "set_device", lambda target, number: taken.append((target, number)))
    monkeypatch.setattr(ms.communication, "init", lambda: None)
    monkeypatch.setattr(ms, "set_auto_parallel_context", lambda **mode: modes.append(mode))
    for rank in range(2):
        own = Independent(2, first_device=4).worker(rank)
        with monkeypatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            patch.setattr(ms.communication, "get_rank", lambda rank=rank: rank)
            runtime.start("Ascend", graph=False, world=runtime.world())
    assert taken == [("Ascend", 4), ("Ascend", 5)]
    assert modes == 2 * [{"parallel_mode": ms.ParallelMode.DATA_PARALLEL, "device_num": 2}]


def test_only_devices_that_are_visible_count(monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path(f"/dev/davinci{i}") for i in range(8)])
    assert runtime.devices("Ascend") == 8
    for visible, expected in {"0,2,5": 3, "7": 1, "": 0}.items():
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
        assert runtime.devices("Ascend") == expected


def test_no_more_workers_than_cores_that_may_be_used():
    usable = os.sched_getaffinity(0)
    assert runtime.cores() == len(usable)
    assert [runtime.workers(requested) for requested in (0, 1, 999)] == [1, 1, len(usable)]
    os.sched_setaffinity(0, {min(usable)})
    try:
        assert runtime.cores() == runtime.workers(999) == 1
    finally:
        os.sched_setaffinity(0, usable)


@pytest.mark.skipif(bool(runtime.devices("Ascend")), reason="this machine has Ascend devices")
def test_device_that_the_machine_lacks_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for check in (runtime.check_device_target, runtime.start):
        with pytest.raises(AdlError, match="device_target Ascend: this machine has 0 such devices"):
            check("Ascend")
    runtime.check_device_target("CPU", 99)
    p = params.load(ROOT / "params.yaml", device_target="Ascend")
    with pytest.raises(AdlError, match="device_target Ascend"):
        preflight.check(p, pretrained=ROOT / "pretrained", synthetic=ROOT / p.data_path, records=ROOT, states=tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 3}, "device_num: 4 devices cannot be shared out evenly to --nodes 3"),
        ({"nodes": 2, "node_rank": 2, "master": "a:1"}, "--node-rank: 2 is not one of the nodes 0 to 1"),
        ({"nodes": 2}, "--nodes 2 needs --master HOST:PORT, or --rank-table-file"),
        ({"master": "10.0.0.1"}, "--master: 10.0.0.1 is not HOST:PORT"),
        ({"rank_table": "table.json", "device_target": "CPU"}, "--rank-table-file needs device_target Ascend"),
        ({"first_device": 1, "device_target": "CPU"}, "--device-id needs device_target Ascend"),
        ({"rank_table": "table.json"}, r"table.json: names the ranks \[0, 1, 2\], but device_num is 4"),
        ({"rank_table": "none.json"}, "none.json: not a rank table with a node 0"),
        ({"rank_table": "broken.json"}, "broken.json: not a rank table with a node 0"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(tmp_path, values, message):
    rank_table(tmp_path / "table.json", [[0, 1, 2]])
    (tmp_path / "broken.json").write_text("[]")
    settings = {"device_target": "Ascend"} | values
    if "rank_table" in values:
        settings["rank_table"] = tmp_path / values["rank_table"]
    with pytest.raises(AdlError, match=message):
        group_of(4, settings.pop("device_target"), **settings)
