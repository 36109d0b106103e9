"""The resumable state: whole or not at all, two kept, locked, bound to its code."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import stat
import subprocess
import sys

import numpy as np
import pytest

from adl import commands
from adl.config.params import load
from adl.errors import AdlError
from adl.files import remove
from adl.launch.topology import local
from adl.training import runs
from adl.training import state as state_module
from adl.training.run import nodes
from adl.training.state import Saved, State, TrainingJob, seal
from tests.conftest import ROOT
from tests.data import largest_file

PARAMS = {
    "epochs": 1,
    "batch_size": 2,
    "bn_momentum": 0.9,
    "seed": 0,
    "device_num": 1,
    "net_arch": "a.npy",
}
OPTIONS = {"save_epochs": 100, "keep_checkpoints": 1, "eval_epochs": 8}
KEY = {"format": 3, "params": PARAMS, "contents": {"net_arch": "0 1", "data": "d"}}


def key_with(contents: dict | None = None, **params) -> dict:
    return {"format": 3, "params": PARAMS | params, "contents": KEY["contents"] | (contents or {})}


def saved(position: int) -> Saved:
    values = np.random.default_rng(position).normal(size=1000).astype(np.float32)
    return Saved(
        {"network/a.b": values, "moments/0000": values * 2},
        {"position": position, "losses": [0.1, 1e-9]},
    )


@pytest.fixture
def own(tmp_path) -> State:
    found = runs.state_of(tmp_path, KEY)
    with found.held():
        runs.prepare(found, KEY, "code", OPTIONS)
    return found


def test_what_is_read_is_what_was_saved_bit_for_bit(own):
    assert own.latest() is None
    own.save(saved(3))
    read = own.latest()
    assert read.meta == saved(3).meta
    assert read.position == 3
    for name, values in saved(3).arrays.items():
        np.testing.assert_array_equal(read.arrays[name], values)


def test_state_is_on_the_disk_before_it_has_its_name(own, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda number: (synced.append((os.fstat(number), own.positions())), fsync(number)),
    )
    own.save(saved(3))
    [(file, named)] = [(file, named) for file, named in synced if stat.S_ISREG(file.st_mode)]
    [path] = own.positions()
    assert os.path.samestat(file, path.stat())
    assert file.st_size == path.stat().st_size
    assert named == []


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
        with pytest.raises(
            AdlError,
            match=f"no state in .* can be read; .* Start over: `adl state drop {own.name}`",
        ):
            own.latest()


def test_damaged_states_alone_are_no_reason_to_begin_anew_under_other_code(own):
    own.save(saved(1))
    own.positions()[-1].write_bytes(b"")
    with pytest.raises(AdlError, match="can be read"):
        own.latest()
    with pytest.raises(AdlError, match=f"adl state drop {own.name}"):
        runs.prepare(own, KEY, "other code", OPTIONS)
    assert len(own.damaged_positions()) == 1


def test_state_that_cannot_be_read_just_now_stays_where_it_is(own, monkeypatch):
    own.save(saved(1))
    with monkeypatch.context() as patch:
        patch.setattr(
            state_module.zipfile,
            "ZipFile",
            lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")),
        )
        with pytest.raises(AdlError, match=r"cannot be read \(I/O error\); it is left as it is"):
            own.latest()
    assert own.latest().position == 1


def test_state_that_is_dropped_while_it_is_locked_is_locked_anew(own, monkeypatch):
    take, locked = fcntl.flock, []

    def dropped_once(file, operation):
        take(file, operation)
        if not locked:
            remove(own.folder)
        locked.append(file)

    monkeypatch.setattr(fcntl, "flock", dropped_once)
    with own.held():
        assert len(locked) == 2
        assert own.holder() == os.getpid()


def test_full_disk_is_an_error_with_advice_and_leaves_the_last_state(own):
    own.save(saved(1))
    message = r"the state cannot be saved \(File too large\); the last good one is .*001"
    with largest_file(2000), pytest.raises(AdlError, match=message):
        own.save(saved(2))
    assert own.latest().position == 1
    assert not list(own.folder.glob(".partial*"))


def test_every_part_of_the_key_gives_another_folder(tmp_path):
    keys = (KEY, {**KEY, "format": 4}, key_with({"data": "e"}), key_with(device_num=2))
    names = {runs.state_of(tmp_path, content).name for content in keys}
    assert len(names) == 4
    assert runs.state_of(tmp_path, dict(reversed(KEY.items()))).name in names


def test_name_of_a_state_is_the_one_under_which_earlier_versions_saved_it(tmp_path):
    assert runs.state_of(tmp_path, KEY).folder == tmp_path / "2b6176666ec6289f"


def test_locked_state_names_its_holder_and_a_dead_holder_leaves_no_lock(own):
    code = (
        "import sys, time; from pathlib import Path; from adl.training.state import State\n"
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


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_file_system_without_locks_is_refused_in_one_message(own, number, monkeypatch, capsys):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setenv("ADL_STATE_DIR", str(own.folder.parent))
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(AdlError, match=r"lock: its file system gives no locks \(.*Point ADL_STATE_DIR to"),
        own.held(),
    ):
        pass
    for command in (["state", "list"], ["stop"]):
        with pytest.raises(SystemExit, match="2"):
            commands.main(command)
        assert "gives no locks" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["a bit", "empty", "missing"])
@pytest.mark.parametrize("name", ["autodeeplab.ckpt", "intermediate/metrics.json", "digests.json"])
def test_damaged_file_of_a_result_makes_the_training_begin_anew(own, name, damage, capsys):
    for file in ("autodeeplab.ckpt", "intermediate/metrics.json"):
        (own.result / file).parent.mkdir(parents=True, exist_ok=True)
        (own.result / file).write_text(file)
    seal(own.result)
    runs.prepare(own, KEY, "code", OPTIONS)
    assert own.finished
    path = own.result / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content if damage == "a bit" else b"")
    if damage == "missing":
        path.unlink()
    runs.prepare(own, KEY, "code", OPTIONS)
    assert not own.finished
    assert "is damaged; training starts over" in capsys.readouterr().out


def test_unfinished_state_is_refused_under_other_code_until_adopted(own, monkeypatch):
    own.save(saved(1))
    with pytest.raises(AdlError, match=f"adl state adopt {own.name}.*adl state drop {own.name}"):
        runs.prepare(own, KEY, "other code", OPTIONS)
    monkeypatch.setattr(runs, "code_digest", lambda: "other code")
    runs.adopt(own)
    runs.prepare(own, KEY, "other code", OPTIONS)
    assert own.latest().position == 1


def test_finished_state_is_dropped_under_other_code(own):
    own.result.mkdir()
    seal(own.result)
    runs.prepare(own, KEY, "code", OPTIONS)
    assert own.finished
    runs.prepare(own, KEY, "other code", OPTIONS)
    assert not own.finished


def test_finished_states_go_when_another_key_finishes_unfinished_ones_stay(tmp_path, own):
    others = []
    for data in ("e", "f"):
        other = runs.state_of(tmp_path, key_with({"data": data}))
        with other.held():
            runs.prepare(other, key_with({"data": data}), "code", OPTIONS)
        others.append(other)
    own.result.mkdir()
    others[0].result.mkdir()
    runs.drop_other_finished(others[0])
    assert [s.name for s in runs.found(tmp_path)] == sorted(s.name for s in others)


def keep_model(state: State) -> None:
    (state.result / "intermediate").mkdir(parents=True)
    (state.result / "intermediate/epoch_00003.ckpt").write_text("model")
    seal(state.result)


def test_finished_state_with_kept_models_stays_and_the_list_says_how_to_use_them(tmp_path, own, monkeypatch, capsys):
    keep_model(own)
    other = runs.state_of(tmp_path, key_with({"data": "e"}))
    with other.held():
        runs.prepare(other, key_with({"data": "e"}), "code", OPTIONS)
    runs.drop_other_finished(other)
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    adl("list")
    model = own.result / "intermediate/epoch_00003.ckpt"
    assert f"--checkpoint {model} --output epoch_00003" in capsys.readouterr().out
    adl("prune")
    assert not own.folder.exists()


def test_the_list_names_a_kept_model_as_a_shell_takes_it(tmp_path, monkeypatch, capsys):
    state = runs.state_of(tmp_path / "of mine", KEY)
    with state.held():
        runs.prepare(state, KEY, "code", OPTIONS)
    keep_model(state)
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path / "of mine"))
    adl("list")
    model = str(state.result / "intermediate/epoch_00003.ckpt")
    last = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(last) == ["--checkpoint", model, "--output", "epoch_00003"]


def test_finished_run_says_which_options_came_too_late(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    content = key_with()
    own = runs.state_of(tmp_path, content)
    trained = load(keep_checkpoints=1, eval_epochs=8)
    options = {name: getattr(trained, name) for name in runs.OPTIONS}
    runs.prepare(own, content, runs.code_digest(), options)
    own.result.mkdir()
    seal(own.result)

    def restored(**changes) -> str:
        job = TrainingJob(
            params=load(**{"keep_checkpoints": 1, "eval_epochs": 8, **changes}),
            record=tmp_path, val_record=tmp_path, key=content, state=own.folder, pretrained=tmp_path, curves=tmp_path,
        )  # fmt: skip
        nodes.lead(own, job, local())
        return capsys.readouterr().out

    assert "without effect" not in restored()
    told = restored(keep_checkpoints=3, eval_epochs=0)
    assert "eval_epochs 0 (trained with 8), keep_checkpoints 3 (trained with 1)" in told


@pytest.mark.parametrize(
    ("contents", "changed", "differing"),
    [
        ({}, {"device_num": 2}, ["device_num: 1 there, 2 now"]),
        ({"net_arch": "0 2"}, {}, ["content of net_arch: 0 1 there, 0 2 now"]),
        # A file of another name has another content: one reason.
        ({"net_arch": "0 2"}, {"net_arch": "b.npy"}, ["net_arch: a.npy there, b.npy now"]),
        ({"data": "e"}, {"seed": 1}, ["seed: 0 there, 1 now", "content of data: d there, e now"]),
    ],
)
def test_keys_differ_in_what_a_person_changed(contents, changed, differing):
    assert runs.differences(KEY, key_with(contents, **changed)) == differing


def test_nearest_training_that_waits_is_an_unfinished_one(tmp_path, own):
    began = key_with(device_num=2, seed=1)
    beginning = runs.state_of(tmp_path, began)
    assert runs.nearest_unfinished(beginning, began) is None, "nothing was saved"
    own.save(saved(1))
    near = runs.state_of(tmp_path, key_with(device_num=2))
    runs.prepare(near, key_with(device_num=2), "code", OPTIONS)
    near.save(saved(1))
    found, differing = runs.nearest_unfinished(beginning, began)
    assert (found.name, differing) == (near.name, ["seed: 0 there, 1 now"])
    near.result.mkdir()
    assert runs.nearest_unfinished(beginning, began)[0].name == own.name


def test_list_shows_what_the_states_differ_in(tmp_path, own, monkeypatch, capsys):
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    adl("list")
    assert "device_num" not in capsys.readouterr().out
    other = runs.state_of(tmp_path, key_with({"data": "e"}, device_num=2))
    runs.prepare(other, key_with({"data": "e"}, device_num=2), "code", OPTIONS)
    adl("list")
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows[own.name].endswith("seed 0, device_num 1, content of data d")
    assert rows[other.name].endswith("seed 0, device_num 2, content of data e")


def test_folder_that_is_no_state_is_neither_listed_nor_dropped(tmp_path, own, monkeypatch):
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    others = {"another": {"key": KEY}, "thesis": {"title": "mine"}, "list": [1]}
    for name, about in others.items():
        (tmp_path / name / "result").mkdir(parents=True)
        (tmp_path / name / "about.json").write_text(json.dumps(about))
    assert [s.name for s in runs.found(tmp_path)] == [own.name]
    runs.drop_other_finished(own)
    adl("drop", "--all")
    assert {path.parent.name for path in tmp_path.glob("*/about.json")} == set(others)


def test_code_digest_follows_the_code_that_dvc_watches_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adl").mkdir()
    (tmp_path / "adl/a.py").write_text("a")
    (tmp_path / "other.py").write_text("a")
    (tmp_path / "dvc.yaml").write_text("stages: {train: {deps: [adl/, data.txt]}}")
    first = runs.code_digest()
    for unrelated in ("adl/a.pyc", "other.py", "data.txt"):
        (tmp_path / unrelated).write_text("x")
    assert runs.code_digest() == first
    (tmp_path / "adl/a.py").write_text("b")
    assert runs.code_digest() != first


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
            assert "or stop it (`adl stop`)" in capsys.readouterr().err
        adl("prune")
        assert (
            f"{own.name}: left as it is: this run is already in progress: process {os.getpid()}"
            in capsys.readouterr().out
        )
    monkeypatch.chdir(ROOT)
    adl("adopt", own.name)
    assert own.about["code"] == runs.code_digest()
    for arguments in (("drop",), ("drop", "nothing")):
        with pytest.raises(SystemExit, match="2"):
            adl(*arguments)
    capsys.readouterr()
    adl("drop", own.name)
    assert capsys.readouterr().out == f"{own.name}: removed\n"
    assert not own.folder.exists()
    with pytest.raises(SystemExit, match="2"):
        commands.main(["stop"])
    assert "no training run is active" in capsys.readouterr().err


def test_stop_asks_the_training_that_runs_and_no_other(tmp_path, own, monkeypatch, capsys):
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path))
    other = runs.state_of(tmp_path, key_with(seed=1))
    with other.held():
        runs.prepare(other, key_with(seed=1), "code", OPTIONS)
    with own.held():
        commands.main(["stop"])
    told = f"{own.name}: process {os.getpid()} will stop after the current epoch"
    assert capsys.readouterr().out.startswith(told)
    assert own.stop_request.exists()
    assert not other.stop_request.exists()
