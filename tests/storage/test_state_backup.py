"""The state in the store is always one from which a run can resume."""

from __future__ import annotations

import threading
import time

import pytest
from fsspec.callbacks import DEFAULT_CALLBACK

from adl.errors import AdlError
from adl.files import write_text
from adl.storage import state_backup
from adl.storage.places import Abandoned, Place, open_place
from adl.storage.state_backup import StateBackup
from adl.training.state import SEAL, State, seal
from tests.conftest import ROOT

RUN = "0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    return open_place(str(tmp_path / "store"))


def backup_in(folder, store) -> StateBackup:
    """The backup of a machine, which has downloaded what there is."""
    backup = StateBackup(store, State(folder / "state" / RUN))
    backup.restore()
    return backup


def write(folder, **files) -> None:
    for name, content in files.items():
        name = f"{name}.npz" if name.startswith("position") else name
        write_text(folder / "state" / RUN / name.replace("__", "/"), content)


def names(store) -> set[str]:
    return {str(path) for path in (store / "state" / RUN).find()}


def test_another_machine_goes_on_where_the_first_one_was_lost(store, tmp_path):
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, about="key", position_1="1", position_2="2", lock="", stop="", logs__rank_0="hello")
    backup.upload_new()
    second = tmp_path / "second"
    backup = backup_in(second, store)
    assert (second / "state" / RUN / "position_2.npz").read_text() == "2"
    assert not (second / "state" / RUN / "lock").exists()
    write(second, position_3="3")
    (second / "state" / RUN / "position_1.npz").unlink()
    backup.upload_new()
    assert names(store) == {"about", "position_2.npz", "position_3.npz", "logs/rank_0"}


def test_what_this_machine_never_had_is_not_removed(store, tmp_path):
    backup = backup_in(tmp_path / "first", store)
    other = backup_in(tmp_path / "other", store)
    write(tmp_path / "other", position_9="9")
    other.upload_new()
    write(tmp_path / "first", position_1="1")
    backup.upload_new()
    assert names(store) == {"position_1.npz", "position_9.npz"}


def test_what_comes_back_while_other_files_are_copied_is_not_removed(store, tmp_path, monkeypatch):
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, position_1="1")
    backup.upload_new()
    (first / "state" / RUN / "position_1.npz").unlink()
    write(first, position_2="2")

    def put(place, path, progress, upload=Place.upload):
        write(first, position_1="1")
        upload(place, path, progress)

    monkeypatch.setattr(Place, "upload", put)
    backup.upload_new()
    assert names(store) == {"position_1.npz", "position_2.npz"}


def test_a_result_that_did_not_come_whole_is_not_taken(store, tmp_path, monkeypatch):
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, position_4="4", result__model="weights")
    seal(first / "state" / RUN / "result")

    def lost(place, path, progress, upload=Place.upload):
        if path.name == SEAL:
            raise AdlError("the machine is gone")
        upload(place, path, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Place, "upload", lost)
        with pytest.raises(AdlError, match="gone"):
            backup.upload_new()
    assert names(store) == {"position_4.npz", "result/model"}
    backup_in(tmp_path / "second", store)
    assert not (tmp_path / "second/state" / RUN / "result").exists()
    backup.upload_new()
    backup_in(tmp_path / "third", store)
    assert (tmp_path / "third/state" / RUN / "result/model").read_text() == "weights"


def test_half_written_files_stay_here(store, tmp_path):
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, position_1="1")
    (first / "state" / RUN / ".partial-position_2").write_text("ha")
    write(first, **{".partial-result__model": "lf"})
    backup.upload_new()
    assert names(store) == {"position_1.npz"}


def test_state_is_copied_while_the_block_runs_and_a_failure_is_no_end(store, tmp_path, monkeypatch, capsys):
    first = tmp_path / "first"
    backup = backup_in(first, store)
    arrived, calls = threading.Event(), []

    def fails_once(place, path, progress, upload=Place.upload):
        calls.append(path)
        if len(calls) == 1:
            raise AdlError("the line is down.")
        upload(place, path, progress)
        arrived.set()

    monkeypatch.setattr(Place, "upload", fails_once)
    with backup.running(0.05):
        write(first, position_1="1")
        assert arrived.wait(30)
    assert names(store) == {"position_1.npz"}
    assert "warning: the state could not be copied and will be retried: the line is down." in capsys.readouterr().out


def test_the_store_is_never_without_a_position_or_a_result(store, tmp_path, monkeypatch):
    """While one large model is copied, training saves and prunes; while the next one is, it finishes."""
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, position_1="1", position_2="2", intermediate__epoch_1="large")
    result = {"result/model", "result/digests.json"}
    seen, is_over = [], threading.Event()

    def put(place, path, progress, upload=Place.upload):
        new = {"epoch_1": ["position_3", "intermediate__epoch_2"], "epoch_2": result}
        if new := new.get(path.name):
            write(first, **dict.fromkeys(new, "x"))
            for position in (first / "state" / RUN).glob("position_*"):
                if position.name != "position_3.npz" or path.name == "epoch_2":
                    position.unlink()
        upload(place, path, progress)
        seen.append(names(store))

    def remove(place, remove=Place.remove):
        remove(place)
        seen.append(names(store))
        if not any(name.startswith("position") for name in names(store)):
            is_over.set()

    monkeypatch.setattr(Place, "upload", put)
    monkeypatch.setattr(Place, "remove", remove)
    with backup.running(0.05):
        assert is_over.wait(30)
    assert names(store) == {"intermediate/epoch_1", "intermediate/epoch_2", *result}
    assert [
        present for present in seen if not (result <= present or any(name.startswith("position") for name in present))
    ] == []


@pytest.mark.parametrize("can_end", [True, False])
def test_at_the_end_the_newest_position_waits_for_no_other_copy(store, tmp_path, monkeypatch, capsys, can_end):
    """As when a machine is taken away. A back end that cannot end a copy that it began is not waited for."""
    first = tmp_path / "first"
    backup = backup_in(first, store)
    write(first, a_note="x", intermediate__epoch="large", **{"about.json": "key"})
    came, how_it_went_on = [], []
    began, newest_came = threading.Event(), threading.Event()

    def put(place, path, progress=DEFAULT_CALLBACK, upload=Place.upload):
        if path.name == "epoch" and not began.is_set():
            began.set()
            try:
                for _ in range(1000 * can_end):
                    progress.relative_update(0)
                    time.sleep(0.01)
            except Abandoned:
                how_it_went_on.append("was ended")
                raise
            how_it_went_on.append("newest came" if newest_came.wait(10) else "waited in vain")
        upload(place, path, progress)
        came.append(path.name)
        if path.name == "position_2.npz":
            newest_came.set()

    monkeypatch.setattr(Place, "upload", put)
    with backup.running(0.01):
        assert began.wait(10)
        write(first, position_1="1", position_2="2")
    assert how_it_went_on == ["was ended" if can_end else "newest came"]
    assert came.index("position_2.npz") < came.index("epoch")
    assert came.index("position_2.npz") < came.index("position_1.npz")
    assert came.index("about.json") < came.index("a_note")
    everything = {"a_note", "about.json", "position_1.npz", "position_2.npz", "intermediate/epoch"}
    assert names(store) == everything
    assert "could not be copied" not in capsys.readouterr().out


def test_the_state_is_copied_as_often_as_the_documentation_says():
    text = (ROOT / "docs/tutorials/modelarts.md").read_text()
    assert "every ten seconds" in text
    assert state_backup.EVERY == 10


def test_other_runs_are_neither_copied_nor_removed(store, tmp_path):
    for name in ("fedcba9876543210/position_7.npz", "fedcba9876543210/about.json"):
        write_text(tmp_path / "store/state" / name, "another's")
    backup = backup_in(tmp_path / "first", store)
    assert not (tmp_path / "first/state").exists()
    write_text(tmp_path / "first/state/00000000aaaaaaaa/about.json", "left by an earlier job")
    write(tmp_path / "first", position_1="1")
    backup.upload_new()
    (tmp_path / "first/state" / RUN / "position_1.npz").unlink()
    backup.upload_new()
    assert {str(path) for path in store.find()} == {
        "state/fedcba9876543210/position_7.npz",
        "state/fedcba9876543210/about.json",
    }


def test_another_node_copies_its_logs_alone(store, tmp_path):
    leader = backup_in(tmp_path / "leader", store)
    write(tmp_path / "leader", position_1="1", logs__rank_0="0")
    leader.upload_new()
    follower = backup_in(tmp_path / "follower", store)
    write(tmp_path / "follower", position_0="old", logs__rank_8="8")
    (tmp_path / "follower/state" / RUN / "position_1.npz").unlink()
    follower.upload_logs()
    assert names(store) == {"position_1.npz", "logs/rank_0", "logs/rank_8"}


def test_the_last_copy_must_succeed(store, tmp_path, monkeypatch):
    first = tmp_path / "first"
    backup = backup_in(first, store)

    def down(place, path, progress):
        raise AdlError("the line is down.")

    monkeypatch.setattr(Place, "upload", down)
    with pytest.raises(AdlError, match="line is down"), backup.running(60):
        write(first, position_1="1")
