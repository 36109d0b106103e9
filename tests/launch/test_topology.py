"""Which processes are started, and what each finds in its environment."""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from adl.config import params
from adl.device import TERMINAL
from adl.errors import AdlError
from adl.launch import topology as topology_module
from adl.launch.environment import child_environment, inherited, plan
from adl.launch.topology import topology
from pipeline import modelarts, train
from tests.conftest import ROOT
from tests.workspace import rank_table


def test_what_another_launcher_left_is_told_and_handed_to_no_child(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    monkeypatch.setenv("MS_OTHER", "no launcher's")
    assert inherited() == {"MS_ROLE": "MS_SCHED"}
    assert "MS_ROLE" not in child_environment({})
    assert child_environment({})["MS_OTHER"] == "no launcher's"


def test_person_decides_how_long_ranks_wait(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "7200")
    assert "HCCL_CONNECT_TIMEOUT=7200 HCCL_EXEC_TIMEOUT=1800" in plan(["worker"], topology(2, "Ascend"))


@pytest.fixture
def undecided(monkeypatch):
    """As in a launcher without a terminal, which never imports MindSpore: that sets a variable of these itself."""
    for name in ("HCCL_CONNECT_TIMEOUT", "HCCL_EXEC_TIMEOUT", "MS_CPU_COMM_OP_TIMEOUT", TERMINAL):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    for name in inherited():
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stderr", io.StringIO())


EXPECTED = Path(__file__).parent / "expected"
WORKER = ["python", "-m", "adl.training.run.worker", "job.json"]
TWO_NODES = {"nodes": 2, "master": "10.0.0.1:8118"}


def expected(name: str, **values: object) -> str:
    """A file of tests/processes/expected; {python} and {port} in it depend on the machine, {table} on the test."""
    text = (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")
    for key, value in ({"python": sys.executable} | values).items():
        text = text.replace(f"{{{key}}}", str(value))
    return text.removesuffix("\n")


@pytest.mark.usefixtures("undecided")
def test_plan_of_one_device():
    assert plan(WORKER, topology(1, "Ascend")) == expected("1_device")


@pytest.mark.usefixtures("undecided")
def test_plan_of_eight_devices_has_a_free_port():
    chosen = topology(8, "Ascend")
    assert plan(WORKER, chosen) == expected("8_devices", port=chosen.scheduler["MS_SCHED_PORT"])


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize("node", [0, 1])
def test_plan_of_two_nodes_of_eight_devices(node):
    chosen = topology(16, "Ascend", node_rank=node, **TWO_NODES)
    assert plan(WORKER, chosen) == expected(f"2x8_devices_node_{node}")


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize("node", [0, 1])
def test_plan_of_a_rank_table_of_two_nodes_of_eight_devices(tmp_path, node):
    path = rank_table(tmp_path / "table.json", [range(8), range(8)])
    chosen = topology(16, "Ascend", nodes=2, node_rank=node, rank_table=path)
    assert plan(WORKER, chosen) == expected(f"2x8_rank_table_node_{node}", table=path)


@pytest.fixture
def dry_run(monkeypatch, tmp_path, capsys):
    """dry_run(device_num, arguments) -> what `python -m pipeline.train --dry-run` prints in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(topology_module, "free_port", lambda: 12345)
    load = functools.partial(params.load, ROOT / "params.yaml", batch_size=16, device_target="Ascend")

    def printed(device_num: int, *arguments: str) -> str:
        p = load(device_num=device_num)
        monkeypatch.setattr(train.params, "load", lambda: p)
        monkeypatch.setattr(sys, "argv", ["train", "--dry-run", *arguments])
        train.main()
        assert [path.name for path in tmp_path.iterdir()] == ["datasets"]
        program = f"{sys.executable} -m adl.training.run.worker .adl/state/KEY/job.json"
        return capsys.readouterr().out.removesuffix("\n").replace(program, " ".join(WORKER))

    return printed


@pytest.mark.usefixtures("undecided")
@pytest.mark.parametrize(
    ("device_num", "arguments", "name"),
    [
        (1, "", "1_device"),
        (8, "", "8_devices"),
        (16, "--nodes 2 --node-rank 0 --master 10.0.0.1:8118", "2x8_devices_node_0"),
        (16, "--nodes 2 --node-rank 1 --master 10.0.0.1:8118", "2x8_devices_node_1"),
    ],
)
def test_dry_run_prints_the_plan_also_where_nothing_was_made_yet(dry_run, device_num, arguments, name):
    assert dry_run(device_num, *arguments.split()) == expected(name, port=12345)


@pytest.mark.usefixtures("undecided")
def test_dry_run_of_a_rank_table_that_is_not_written_yet_takes_its_devices_in_order(dry_run):
    nodes = ("--nodes", "2", "--node-rank", "1", "--rank-table-file", "table.json")
    lines = dry_run(16, *nodes).splitlines()
    found = [re.search(r"^rank (\d+): .* RANK_ID=(\d+) DEVICE_ID=ID ", line) for line in lines]
    assert [each.groups() for each in found] == [(str(n), str(n)) for n in range(8, 16)]


@pytest.mark.parametrize(
    ("master", "host", "port"),
    [
        ("10.0.0.1:1", "10.0.0.1", "1"),
        ("10.0.0.1:65535", "10.0.0.1", "65535"),
        ("[fd00::1]:8118", "fd00::1", "8118"),
        ("node-0:8118", "10.0.0.7", "8118"),
    ],
)
def test_scheduler_s_address_becomes_a_number(dry_run, monkeypatch, master, host, port):
    """MindSpore takes nothing else."""
    asked = topology_module.address.socket.getaddrinfo

    def known(name, *others, **named):
        return asked("10.0.0.7" if name == "node-0" else name, *others, **named)

    monkeypatch.setattr(topology_module.address.socket, "getaddrinfo", known)
    printed = dry_run(16, "--nodes", "2", "--master", master)
    assert f" MS_SCHED_HOST={host} MS_SCHED_PORT={port} " in printed


FORM = "is not HOST:PORT, such as 10.0.0.1:8118 or [fd00::1]:8118."
FROM_HERE = "can be reached from this machine only; use an address that the other nodes reach"


@pytest.mark.parametrize(
    ("master", "message"),
    [
        ("10.0.0.1:0", "--master: 0 is no port; they go from 1 to 65535."),
        ("10.0.0.1:65536", "65536 is no port"),
        ("10.0.0.1:99999", "99999 is no port"),
        ("http://10.0.0.1:8118", FORM),
        ("10.0.0.1:8118:9", FORM),
        ("10.0.0.1:8118/", FORM),
        ("10.0.0.1: 8118", FORM),
        ("node 0:8118", FORM),
        ("10.0.0.1:-1", FORM),
        ("10.0.0.1:", FORM),
        (":8118", FORM),
        ("fd00::1", FORM),
        ("fd00::1:8118", FORM),
        ("[fd00::1]", FORM),
        ("no-such-node.invalid:8118", "--master: no-such-node.invalid has no address ("),
        ("10.0.0.256:8118", "--master: 10.0.0.256 has no address ("),
        ("1:8118", "--master: 1 is no whole address; write it as in 10.0.0.1."),
        ("10.1:8118", "--master: 10.1 is no whole address"),
        ("[fe80::1%lo]:8118", "--master: fe80::1%lo has a scope, which holds on one machine only"),
        (f"{'a' * 64}.example:8118", "has no address ("),
        ("0.0.0.0:8118", "--master: 0.0.0.0 is no address of a machine"),
        ("[::]:8118", "--master: :: is no address of a machine"),
        ("127.0.0.1:8118", f"--master: 127.0.0.1 {FROM_HERE}"),
        ("[::1]:8118", f"--master: ::1 {FROM_HERE}"),
        ("localhost:8118", f"--master: localhost is 127.0.0.1, which {FROM_HERE}"),
    ],
)
def test_address_at_which_nodes_cannot_meet_is_refused_before_anything_starts(dry_run, master, message):
    with pytest.raises(AdlError) as refused:
        dry_run(16, "--nodes", "2", "--master", master)
    assert message in str(refused.value)


def test_loopback_joins_nodes_on_one_machine_on_request_only(dry_run):
    on_one = ("--nodes", "2", "--master", "127.0.0.1:8118", "--loopback")
    assert "MS_SCHED_HOST=127.0.0.1 " in dry_run(16, *on_one)
    # One node needs no request.
    assert "MS_SCHED_HOST=127.0.0.1 " in dry_run(16, "--master", "127.0.0.1:8118")
    for arguments, message in (
        (("--nodes", "2", "--master", "10.0.0.1:8118", "--loopback"), "is no loopback address"),
        (("--loopback",), "says what --master is"),
    ):
        with pytest.raises(AdlError, match=f"--loopback: .*{message}"):
            dry_run(16, *arguments)


def test_address_for_one_process_alone_is_refused_and_not_ignored(dry_run):
    with pytest.raises(AdlError, match="--master: device_num is 1"):
        dry_run(1, "--master", "10.0.0.1:8118")


@pytest.mark.parametrize("port", ["0", "99999", "many"])
def test_port_of_a_modelarts_job_is_checked_before_anything_is_copied(monkeypatch, tmp_path, capsys, port):
    monkeypatch.setattr(sys, "argv", ["modelarts", "train", "--master_port", port])
    with pytest.raises(SystemExit, match="2"):
        modelarts.main()
    assert "argument --master_port: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


@pytest.mark.usefixtures("undecided")
def test_first_device_is_where_a_node_begins():
    chosen = topology(16, "Ascend", node_rank=1, first_device=2, **TWO_NODES)
    devices = re.findall(r"ADL_DEVICE=(\d+)", plan(WORKER, chosen))
    assert devices == [str(device) for device in range(2, 10)]


@pytest.mark.usefixtures("undecided")
def test_rank_table_may_number_the_ranks_across_the_nodes(tmp_path):
    path = rank_table(tmp_path / "table.json", [[0, 1], [4, 5]])
    table = json.loads(path.read_text())
    for server, ranks in zip(table["server_list"], ((0, 2), (1, 3)), strict=True):
        for device, rank in zip(server["device"], ranks, strict=True):
            device["rank_id"] = str(rank)
    path.write_text(json.dumps(table))
    lines = plan(["worker"], topology(4, "Ascend", nodes=2, node_rank=1, rank_table=path))
    assert re.findall(r"^(rank \d):.* RANK_ID=(\d) DEVICE_ID=(\d) ", lines, re.MULTILINE) == [
        ("rank 1", "1", "4"),
        ("rank 3", "3", "5"),
    ]


@pytest.mark.usefixtures("undecided")
def test_plan_takes_out_what_another_launcher_left(monkeypatch):
    monkeypatch.setenv("RANK_TABLE_FILE", "other.json")
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    start = "rank 0: env -u MS_ROLE -u RANK_TABLE_FILE ONEDNN_MAX_CPU_ISA=AVX2 ADL_RANK=0 "
    assert plan(["worker"], topology(1, "CPU")).startswith(start)
    # What a process gets anew is not taken out.
    scheduler, first, _ = plan(["worker"], topology(2, "CPU")).splitlines()
    for line in (scheduler, first):
        assert re.search(r"env -u RANK_TABLE_FILE ONEDNN.* MS_ROLE=MS_\w+ ", line)


@pytest.mark.usefixtures("undecided")
def test_on_a_terminal_the_worker_that_is_seen_is_told_its_width(monkeypatch):
    monkeypatch.setenv(TERMINAL, "1")
    monkeypatch.setenv("COLUMNS", "132")
    _, first, second = plan(["worker"], topology(2, "CPU")).splitlines()
    assert f" {TERMINAL}=1 COLUMNS=132 " in first
    assert "COLUMNS" not in second


WHOLE = """
import json, os, sys
before = dict(os.environ)
from adl.launch.environment import child_environment, plan
from adl.launch.topology import topology
chosen = topology(2, "CPU")
variables = {"scheduler": chosen.scheduler} | {f"rank {rank}": own for rank, own in chosen.workers.items()}
after = {name: child_environment(own, shown=name == "rank 0") for name, own in variables.items()}
print(json.dumps([before, after, plan(["worker"], chosen)]))
"""


@pytest.mark.parametrize("given", [{}, {TERMINAL: "1", "MS_ROLE": "MS_SCHED", "DEVICE_ID": "3"}])
def test_plan_is_the_whole_difference_between_our_environment_and_a_process_s(given):
    """Of a launcher whose environment is bare but for `given`, from before it imported anything of ours."""
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | given
    command = [sys.executable, "-c", WHOLE]
    printed = subprocess.run(command, env=bare, capture_output=True, check=True, text=True).stdout
    before, after, lines = json.loads(printed)
    for line in lines.splitlines():
        name, _, command = line.partition(": ")
        words = shlex.split(command)
        removed = {word for option, word in itertools.pairwise(words) if option == "-u"}
        rest = {key: value for key, value in before.items() if key not in removed}
        stated = dict(re.findall(r"(?:^|\s)([A-Z_a-z0-9]+)=(\S+)", command.split(" -c ")[0]))
        assert rest | stated == after[name], name
        # Nothing is stated that is not so.
        assert removed == {key for key in before if key not in after[name]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 0}, "--nodes: 0; at least 1"),
        ({"nodes": -2}, "--nodes: -2; at least 1"),
        ({"nodes": 3}, "device_num: 4 devices cannot be divided evenly among --nodes 3"),
        (
            {"nodes": 2, "node_rank": 2, "master": "a:1"},
            "--node-rank: 2 is not one of the nodes 0 to 1",
        ),
        ({"nodes": 2}, "--nodes 2 needs --master HOST:PORT, or --rank-table-file"),
        ({"master": "10.0.0.1"}, "--master: 10.0.0.1 is not HOST:PORT"),
        ({"master": ""}, "--master:  is not HOST:PORT"),
        ({"master": "", "rank_table": "table.json"}, "use only one of the two"),
        (
            {"rank_table": "table.json", "device_target": "CPU"},
            "--rank-table-file needs device_target Ascend",
        ),
        ({"first_device": -1}, "--device-id: -1; they are numbered from 0"),
        ({"first_device": 1, "device_target": "CPU"}, "--device-id needs device_target Ascend"),
        (
            {"rank_table": "table.json"},
            r"table.json: names the ranks \[0, 1, 2\], but device_num is 4",
        ),
        ({"rank_table": "none.json"}, "none.json: not a rank table with an entry for node 0"),
        ({"rank_table": "broken.json"}, "broken.json: not a rank table with an entry for node 0"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(tmp_path, values, message):
    rank_table(tmp_path / "table.json", [[0, 1, 2]])
    (tmp_path / "broken.json").write_text("[]")
    settings = {"device_target": "Ascend"} | values
    if "rank_table" in values:
        settings["rank_table"] = tmp_path / values["rank_table"]
    with pytest.raises(AdlError, match=message):
        topology(4, settings.pop("device_target"), **settings)
