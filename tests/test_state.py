"""The resumable state: whole or not at all, two kept, locked, bound to its code."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from adl import commands, state
from adl.artifacts import remove
from adl.errors import AdlError
from adl.state import Saved, State
from tests.conftest import ROOT

KEY = {"params": {"epochs": 1, "batch_size": 2, "bn_momentum": 0.9, "seed": 0}, "data": "d"}


def saved(position: int) -> Saved:
    values = np.random.default_rng(position).normal(size=1000).astype(np.float32)
    return Saved({"network/a.b": values, "moments/0000": values * 2}, {"position": position, "losses": [0.1, 1e-9]})


@pytest.fixture
def own(tmp_path) -> State:
    found = state.of_key(tmp_path, KEY)
    with found.held():
        state.prepare(found, KEY, "code")
    return found


def test_what_is_read_is_what_was_saved_bit_for_bit(own):
    assert own.latest() is None
    own.save(saved(3))
    read = own.latest()
    assert read.meta == saved(3).meta
    assert read.position == 3
    for name, values in saved(3).arrays.items():
        np.testing.assert_array_equal(read.arrays[name], values)


def test_last_two_are_kept(own):
    for position in (1, 20, 300):
        own.save(saved(position))
    assert [p.name for p in own.positions()] == ["position_000000020.npz", "position_000000300.npz"]
    assert own.latest().position == 300


@pytest.mark.parametrize("damage", ["truncated", "a bit", "empty"])
def test_damaged_newest_state_falls_back_with_a_warning(own, capsys, damage):
    own.save(saved(1))
    own.save(saved(2))
    newest = own.positions()[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes({"truncated": newest.read_bytes()[:-100], "a bit": bytes(content), "empty": b""}[damage])
    assert own.latest().position == 1
    assert f"warning: {newest} is damaged" in capsys.readouterr().out
    # A run that goes on from the older one saves below the damaged one's position: that must not count as the newest.
    own.positions()[-1].rename(own.folder / "position_000000000.npz")
    for position in (0, 1):
        own.save(saved(position))
    assert [p.name for p in own.positions()] == ["position_000000000.npz", "position_000000001.npz"]
    assert not own.damaged_positions()


def test_training_whose_every_state_is_damaged_does_not_begin_anew_by_itself(own):
    for position in (1, 2):
        own.save(saved(position))
        own.positions()[-1].write_bytes(b"")
    for _ in range(2):
        with pytest.raises(AdlError, match=f"no state in .* can be read; .* Begin anew: `adl state drop {own.name}`"):
            own.latest()


def test_damaged_states_alone_are_no_reason_to_begin_anew_under_other_code(own):
    own.save(saved(1))
    own.positions()[-1].write_bytes(b"")
    with pytest.raises(AdlError, match="can be read"):
        own.latest()
    with pytest.raises(AdlError, match=f"adl state drop {own.name}"):
        state.prepare(own, KEY, "other code")
    assert len(own.damaged_positions()) == 1


def test_state_that_cannot_be_read_just_now_stays_where_it_is(own, monkeypatch):
    own.save(saved(1))
    with monkeypatch.context() as patch:
        patch.setattr(state.zipfile, "ZipFile", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(AdlError, match=r"cannot be read \(I/O error\); it is left as it is"):
            own.latest()
    assert own.latest().position == 1


def test_state_that_is_dropped_while_it_is_locked_is_locked_anew(own, monkeypatch):
    lock, locked = State._lock, []

    def dropped_once(self, file):
        lock(self, file)
        if not locked:
            remove(self.folder)
        locked.append(file)

    monkeypatch.setattr(State, "_lock", dropped_once)
    with own.held():
        assert len(locked) == 2
        assert own.holder() == os.getpid()


def test_full_disk_is_an_error_with_advice_and_leaves_the_last_state(own):
    own.save(saved(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(AdlError, match=r"the state cannot be saved \(File too large\); the last good one is .*001"):
            own.save(saved(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert own.latest().position == 1
    assert not list(own.folder.glob(".partial*"))


def test_every_part_of_the_key_gives_another_folder(tmp_path):
    names = {state.of_key(tmp_path, key).name for key in (KEY, {**KEY, "data": "e"}, {**KEY, "world": 2})}
    assert len(names) == 3
    assert state.of_key(tmp_path, dict(reversed(KEY.items()))).name in names


def test_locked_state_names_its_holder_and_a_dead_holder_leaves_no_lock(own):
    code = (
        "import sys, time; from pathlib import Path; from adl.state import State\n"
        "with State(Path(sys.argv[1])).held(): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(own.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert own.holder() == holder.pid
        with pytest.raises(AdlError, match=f"process {holder.pid} holds"), own.held():
            pass
        holder.kill()
        holder.wait()
        assert own.holder() is None
        with own.held():
            pass


def test_unfinished_state_is_refused_under_other_code_until_adopted(own):
    own.save(saved(1))
    with pytest.raises(AdlError, match=f"adl state adopt {own.name}.*adl state drop {own.name}"):
        state.prepare(own, KEY, "other code")
    state.adopt(own, "other code")
    state.prepare(own, KEY, "other code")
    assert own.latest().position == 1


def test_finished_state_is_dropped_under_other_code(own):
    own.result.mkdir()
    state.prepare(own, KEY, "code")
    assert own.finished
    state.prepare(own, KEY, "other code")
    assert not own.finished


def test_finished_states_go_when_another_key_finishes_unfinished_ones_stay(tmp_path, own):
    others = []
    for data in ("e", "f"):
        other = state.of_key(tmp_path, {**KEY, "data": data})
        with other.held():
            state.prepare(other, {**KEY, "data": data}, "code")
        others.append(other)
    own.result.mkdir()
    others[0].result.mkdir()
    state.drop_other_finished(tmp_path, others[0])
    assert [s.name for s in state.states(tmp_path)] == sorted(s.name for s in others)


def test_code_digest_follows_the_code_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adl").mkdir()
    (tmp_path / "adl/a.py").write_text("a")
    first = state.code_digest([(tmp_path / "adl")])
    (tmp_path / "adl/a.pyc").write_text("x")
    assert state.code_digest([(tmp_path / "adl")]) == first
    (tmp_path / "adl/a.py").write_text("b")
    assert state.code_digest([(tmp_path / "adl")]) != first


def test_code_of_the_training_is_what_dvc_watches():
    files = {str(p) for p in state.train_code(ROOT / "dvc.yaml")}
    assert {"pipeline/train.py", "adl/training", "adl/network", "adl/state.py"} <= files
    assert all((ROOT / name).exists() for name in files)


def adl(*arguments) -> None:
    commands.main(["state", *arguments])


def test_list_adopt_drop_and_prune(tmp_path, own, monkeypatch, capsys):
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    own.save(saved(1))
    own.save(saved(1200))
    adl("list")
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.split()[:5] == [own.name, "unfinished", "step", "1,200", "2"]
    own.save(saved(1300))
    own.positions()[-1].write_bytes(b"")
    adl("prune")
    assert [p.name for p in own.positions()] == ["position_000001200.npz"], "the newest that can be read"
    assert not own.damaged_positions()
    sound = own.positions()[-1].read_bytes()
    own.positions()[-1].write_bytes(b"")
    adl("prune")
    assert "left as it is: no state in" in capsys.readouterr().out
    assert len(own.damaged_positions()) == 1
    own.damaged_positions()[0].rename(own.folder / "position_000001200.npz")
    own.positions()[-1].write_bytes(sound)
    with own.held():
        for action in ("adopt", "drop"):
            with pytest.raises(SystemExit, match="2"):
                adl(action, own.name)
            assert "trains there. Stop it first" in capsys.readouterr().err
    monkeypatch.chdir(ROOT)
    adl("adopt", own.name)
    assert own.about["code"] == state.code_digest(state.train_code())
    for arguments in (("drop",), ("drop", "nothing")):
        with pytest.raises(SystemExit, match="2"):
            adl(*arguments)
    adl("drop", own.name)
    assert not own.folder.exists()
    with pytest.raises(SystemExit, match="2"):
        commands.main(["stop"])
    assert "no training runs" in capsys.readouterr().err
