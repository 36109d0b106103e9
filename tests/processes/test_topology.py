"""Which processes are started, and what each finds in its environment."""

from __future__ import annotations

import json

import pytest

from adl.errors import AdlError
from adl.processes.topology import child_environment, inherited, plan, topology
from tests.workspace import rank_table

PATIENCE = "MS_CPU_COMM_OP_TIMEOUT=600 HCCL_CONNECT_TIMEOUT=1800 HCCL_EXEC_TIMEOUT=1800"


def test_what_another_launcher_left_is_told_and_handed_to_no_child(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    monkeypatch.setenv("MS_OTHER", "no launcher's")
    assert inherited() == {"MS_ROLE": "MS_SCHED"}
    assert "MS_ROLE" not in child_environment({})
    assert child_environment({})["MS_OTHER"] == "no launcher's"


def test_person_decides_how_long_ranks_wait(monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "7200")
    assert "HCCL_CONNECT_TIMEOUT=7200 HCCL_EXEC_TIMEOUT=1800" in plan(
        ["worker"], topology(2, "Ascend")
    )


@pytest.fixture
def undecided(monkeypatch):
    """As in a launcher, which never imports MindSpore: that sets the variable where a person has not."""
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)


@pytest.mark.usefixtures("undecided")
def test_each_of_two_nodes_starts_its_own_workers_and_the_first_the_scheduler():
    def of_node(rank: int) -> list[str]:
        nodes = topology(
            4, "Ascend", nodes=2, node_rank=rank, master="10.0.0.1:8118", first_device=2
        )
        return plan(["python", "-m", "adl.processes.worker", "job.json"], nodes).splitlines()

    address = "MS_SCHED_HOST=10.0.0.1 MS_SCHED_PORT=8118 MS_WORKER_NUM=4"
    scheduler, *first = of_node(0)
    assert scheduler.startswith(f"scheduler: MS_ROLE=MS_SCHED {address} ")
    assert first[1] == (
        f"rank 1: ADL_RANK=1 ADL_WORLD_SIZE=4 ADL_DEVICE=3 {address} MS_ROLE=MS_WORKER MS_NODE_ID=1 "
        f"{PATIENCE} python -m adl.processes.worker job.json"
    )
    second = of_node(1)
    assert [line.split(":")[0] for line in first + second] == [
        "rank 0",
        "rank 1",
        "rank 2",
        "rank 3",
    ]
    assert "ADL_DEVICE=2" in second[0]


@pytest.mark.usefixtures("undecided")
def test_rank_table_names_each_workers_device(tmp_path):
    path = rank_table(tmp_path / "table.json", [[0, 1], [4, 5]])
    table = json.loads(path.read_text())
    # Ranks may be numbered across the nodes.
    for server, ranks in zip(table["server_list"], ((0, 2), (1, 3)), strict=True):
        for device, rank in zip(server["device"], ranks, strict=True):
            device["rank_id"] = str(rank)
    path.write_text(json.dumps(table))
    lines = plan(
        ["worker"], topology(4, "Ascend", nodes=2, node_rank=1, rank_table=path)
    ).splitlines()
    assert lines == [
        f"rank {rank}: ADL_RANK={rank} ADL_WORLD_SIZE=4 ADL_DEVICE={device} RANK_TABLE_FILE={path} RANK_SIZE=4 "
        f"RANK_ID={rank} DEVICE_ID={device} {PATIENCE} worker"
        for rank, device in ((1, 4), (3, 5))
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 3}, "device_num: 4 devices cannot be divided evenly among --nodes 3"),
        (
            {"nodes": 2, "node_rank": 2, "master": "a:1"},
            "--node-rank: 2 is not one of the nodes 0 to 1",
        ),
        ({"nodes": 2}, "--nodes 2 needs --master HOST:PORT, or --rank-table-file"),
        ({"master": "10.0.0.1"}, "--master: 10.0.0.1 is not HOST:PORT"),
        (
            {"rank_table": "table.json", "device_target": "CPU"},
            "--rank-table-file needs device_target Ascend",
        ),
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
