"""The state in the store is always one from which a run can resume."""

from __future__ import annotations

import threading

import pytest

from adl.artifacts import write_text
from adl.errors import AdlError
from adl.storage.copying import Copies
from adl.storage.mirror import Mirror
from adl.storage.stores import Store, open_store

RUN = "0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def mirror_in(folder, store) -> Mirror:
    """The mirror of a machine, which has brought what there is."""
    mirror = Mirror(store, folder / "state")
    mirror.bring(Copies(folder / "copied.json"))
    return mirror


def write(folder, **files) -> None:
    for name, content in files.items():
        write_text(folder / "state" / RUN / name.replace("__", "/"), content)


def names(store) -> set[str]:
    return {name.removeprefix(f"state/{RUN}/") for name in store.find()}


def test_another_machine_goes_on_where_the_first_one_was_lost(store, tmp_path):
    first = tmp_path / "first"
    mirror = mirror_in(first, store)
    write(
        first, about="key", position_1="1", position_2="2", lock="", stop="", logs__rank_0="hello"
    )
    mirror.send()
    second = tmp_path / "second"
    mirror = mirror_in(second, store)
    assert (second / "state" / RUN / "position_2").read_text() == "2"
    assert not (second / "state" / RUN / "lock").exists()
    write(second, position_3="3")
    (second / "state" / RUN / "position_1").unlink()
    mirror.send()
    assert names(store) == {"about", "position_2", "position_3", "logs/rank_0"}


def test_what_this_machine_never_had_is_not_removed(store, tmp_path):
    mirror = mirror_in(tmp_path / "first", store)
    other = mirror_in(tmp_path / "other", store)
    write(tmp_path / "other", position_9="9")
    other.send()
    write(tmp_path / "first", position_1="1")
    mirror.send()
    assert names(store) == {"position_1", "position_9"}


def test_a_result_that_did_not_come_whole_is_not_taken(store, tmp_path, monkeypatch):
    first = tmp_path / "first"
    mirror = mirror_in(first, store)
    write(first, position_4="4", result__model="weights", result__digests=".")
    (first / "state" / RUN / "result/digests").rename(first / "state" / RUN / "result/digests.json")

    def lost(path, name, tell, put=Store.put):
        if name.endswith("digests.json"):
            raise AdlError("the machine is gone")
        put(store, path, name, tell)

    with monkeypatch.context() as patch:
        patch.setattr(store, "put", lost)
        with pytest.raises(AdlError, match="gone"):
            mirror.send()
    assert names(store) == {"position_4", "result/model"}
    mirror_in(tmp_path / "second", store)
    assert not (tmp_path / "second/state" / RUN / "result").exists()
    mirror.send()
    mirror_in(tmp_path / "third", store)
    assert (tmp_path / "third/state" / RUN / "result/model").read_text() == "weights"


def test_half_written_files_stay_here(store, tmp_path):
    first = tmp_path / "first"
    mirror = mirror_in(first, store)
    write(first, position_1="1")
    (first / "state" / RUN / ".partial-position_2").write_text("ha")
    write(first, **{".partial-result__model": "lf"})
    mirror.send()
    assert names(store) == {"position_1"}


def test_state_is_copied_while_the_block_runs_and_a_failure_is_no_end(
    store, tmp_path, monkeypatch, capsys
):
    first = tmp_path / "first"
    mirror = mirror_in(first, store)
    arrived, calls = threading.Event(), []

    def fails_once(path, name, tell, put=Store.put):
        calls.append(name)
        if len(calls) == 1:
            raise AdlError("the line is down.")
        put(store, path, name, tell)
        arrived.set()

    monkeypatch.setattr(store, "put", fails_once)
    with mirror.kept(0.05):
        write(first, position_1="1")
        assert arrived.wait(30)
    assert names(store) == {"position_1"}
    assert (
        "warning: the state could not be copied and will be retried: the line is down."
        in capsys.readouterr().out
    )


def test_the_store_is_never_without_a_position(store, tmp_path, monkeypatch):
    """While a large model is copied, training saves and prunes."""
    first = tmp_path / "first"
    mirror = mirror_in(first, store)
    write(first, position_1="1", position_2="2")
    mirror.send()
    write(first, intermediate__epoch="large", position_3="3")
    copied_twice = threading.Event()

    def put(path, name, tell, put=Store.put):
        if name.endswith("epoch") and not (first / "state" / RUN / "position_4").exists():
            write(first, position_4="4", position_5="5")
            for number in (1, 2, 3):
                (first / "state" / RUN / f"position_{number}").unlink()
        put(store, path, name, tell)
        assert [other for other in names(store) if other.startswith("position")]
        if name.endswith("position_5"):
            copied_twice.set()

    monkeypatch.setattr(store, "put", put)
    with mirror.kept(0.05):
        assert copied_twice.wait(30)
    assert names(store) == {"intermediate/epoch", "position_4", "position_5"}


def test_another_node_copies_its_logs_alone(store, tmp_path):
    leader = mirror_in(tmp_path / "leader", store)
    write(tmp_path / "leader", position_1="1", logs__rank_0="0")
    leader.send()
    follower = mirror_in(tmp_path / "follower", store)
    write(tmp_path / "follower", position_0="old", logs__rank_8="8")
    (tmp_path / "follower/state" / RUN / "position_1").unlink()
    follower.send(only_logs=True)
    assert names(store) == {"position_1", "logs/rank_0", "logs/rank_8"}


def test_the_last_copy_must_succeed(store, tmp_path, monkeypatch):
    first = tmp_path / "first"
    mirror = mirror_in(first, store)

    def down(path, name, tell):
        raise AdlError("the line is down.")

    monkeypatch.setattr(store, "put", down)
    with pytest.raises(AdlError, match="line is down"), mirror.kept(60):
        write(first, position_1="1")
