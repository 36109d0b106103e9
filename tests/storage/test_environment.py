"""A job knows its place from ModelArts' variables, and gives it to the stage `train`."""

from __future__ import annotations

import json
import socket

import pytest

from adl.errors import AdlError
from adl.storage import environment
from adl.storage.environment import this_node

TWO_BY_EIGHT = {
    "MA_NUM_HOSTS": "2",
    "MA_NUM_GPUS": "8",
    "VC_TASK_INDEX": "1",
    "VC_WORKER_HOSTS": "job-0.vc,job-1.vc",
    "MA_CURRENT_IP": "10.0.0.2",
}


def table_of(servers: list[str], **fields) -> dict:
    """A rank table of eight devices on each server."""
    listed = [
        {
            "server_id": server,
            "device": [
                {"device_id": str(i), "device_ip": f"192.1.{n}.{i}", "rank_id": str(8 * n + i)} for i in range(8)
            ],
        }
        for n, server in enumerate(servers)
    ]
    return {"status": "completed", "version": "1.0", "server_list": listed} | fields


def test_alone_without_accelerators_nothing_is_taken_over():
    here = this_node({})
    assert (here.nodes, here.rank, here.arguments(), here.devices) == (1, 0, [], 0)


def test_eight_devices_of_one_node_are_all_used():
    here = this_node({"MA_NUM_GPUS": "8"})
    assert (here.arguments(), here.devices) == ([], 8)


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Names have addresses at the second question."""
    asked = []

    def known(host, *others, **named):
        asked.append(host)
        if len(asked) == 1:
            raise OSError("Name or service not known")
        return ask(host if ":" in host else "10.0.0.1", *others, **named)

    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", known)
    monkeypatch.setattr(environment.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(environment, "LONGEST_WAIT", 5)
    return asked


def test_nodes_find_each_other_by_the_list_of_hosts(names):
    here = this_node(TWO_BY_EIGHT)
    assert here.devices == 8
    assert here.arguments() == ["--nodes", "2", "--node-rank", "1", "--master", "10.0.0.1:8118"]
    assert names == ["job-0.vc", "job-0.vc"]


@pytest.mark.parametrize(
    ("first", "master"),
    [("fd00::1", ["[fd00::1]:8118"]), ("::1", ["[::1]:8118", "--loopback"])],
)
def test_a_host_of_ipv6_is_an_address_with_brackets(first, master):
    here = this_node(TWO_BY_EIGHT | {"VC_WORKER_HOSTS": f"{first},fd00::2"})
    assert here.arguments()[4:] == ["--master", *master]


def test_a_name_that_never_has_an_address_is_given_up(monkeypatch):
    monkeypatch.setattr(environment, "LONGEST_WAIT", 0)
    with pytest.raises(AdlError, match=r"VC_WORKER_HOSTS: job-0.vc has no address \(Name or"):
        this_node(TWO_BY_EIGHT).arguments()


def test_a_node_without_a_number_finds_it_in_the_rank_table(tmp_path):
    table = tmp_path / "table.json"
    table.write_text(json.dumps(table_of(["10.0.0.1", "10.0.0.2"])))
    unnumbered = TWO_BY_EIGHT | {"VC_TASK_INDEX": "", "RANK_TABLE_FILE": str(table)}
    assert this_node(unnumbered).rank == 1
    with pytest.raises(AdlError, match="VC_TASK_INDEX: not set"):
        this_node(unnumbered | {"MA_CURRENT_IP": "10.0.0.3"})


@pytest.mark.parametrize(
    ("servers", "rank"), [(["10.0.0.1", "10.0.0.2"], 1), (["10.0.0.2", "10.0.0.1"], 0), (["a", "b"], 1)]
)  # fmt: skip
def test_the_rank_table_says_which_server_this_is(tmp_path, servers, rank):
    table = tmp_path / "table.json"
    table.write_text(json.dumps(table_of(servers)))
    here = this_node(TWO_BY_EIGHT | {"RANK_TABLE_FILE": str(table)})
    expected = ["--nodes", "2", "--node-rank", str(rank), "--rank-table-file", str(table)]
    assert (here.rank, here.arguments()) == (rank, expected)


def test_a_table_that_is_not_complete_yet_is_waited_for(tmp_path, monkeypatch):
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"status": "initializing"}))

    def completed(seconds: float) -> None:
        table.write_text(json.dumps(table_of(["10.0.0.1", "10.0.0.2"])))

    monkeypatch.setattr(environment.time, "sleep", completed)
    assert this_node(TWO_BY_EIGHT | {"RANK_TABLE_FILE": str(table)}).rank_table == table


def test_a_table_of_the_older_form_leaves_it_to_the_list_of_hosts(tmp_path):
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"status": "completed", "group_list": []}))
    here = this_node(TWO_BY_EIGHT | {"RANK_TABLE_FILE": str(table)})
    assert "--master" in here.arguments()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"VC_WORKER_HOSTS": "job-0.vc"},
            "VC_WORKER_HOSTS: names 1 hosts, but the job has 2 nodes",
        ),
        ({"VC_TASK_INDEX": "2"}, "VC_TASK_INDEX: 2, but the job has 2 nodes"),
        ({"VC_TASK_INDEX": ""}, "VC_TASK_INDEX: not set, but the job has 2 nodes"),
        ({"MA_NUM_HOSTS": "1"}, "VC_WORKER_HOSTS: names 2 hosts, but the job has 1 nodes"),
        ({"MA_NUM_GPUS": "eight"}, "MA_NUM_GPUS: eight is not a whole number"),
    ],
)
def test_variables_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(AdlError, match=message):
        this_node(TWO_BY_EIGHT | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "RANK_TABLE_FILE: .* is no JSON"),
        (json.dumps(table_of(["10.0.0.1"], status="initializing")), "did not become complete"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(environment, "LONGEST_WAIT", 0.05)
    table = tmp_path / "table.json"
    table.write_text(text)
    with pytest.raises(AdlError, match=message):
        this_node(TWO_BY_EIGHT | {"RANK_TABLE_FILE": str(table)})


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        (
            {"S3_ENDPOINT": "obs.cn-north-4.myhuaweicloud.com"},
            "https://obs.cn-north-4.myhuaweicloud.com",
        ),
        ({"S3_ENDPOINT": "x.y", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
    ],
)
def test_the_endpoint_is_the_one_that_the_environment_names(monkeypatch, variables, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment.endpoint() == url
