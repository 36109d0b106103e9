"""The resumable state of a training: a folder of its own for all that changes the result, locked while in use.

<ADL_STATE_DIR>/<key>/about.json            what the key is made of, the digest of the code, when it began
                      position_<n>.npz      state after n batches; the last two are kept
                      intermediate/         models that are kept beside the final one
                      result/               appears whole, when the training is complete
                      logs/rank_<r>.log     what each worker printed
                      job.json              what the workers are told, while they run
                      lock, stop            held by the process that trains; left by `adl stop`
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from ruamel.yaml import YAML

from adl.artifacts import digest, finite, remove, replacing, write_json
from adl.errors import DISK_FULL, AdlError

FORMAT = 3
KEPT = 2
_META = "meta"
_SEAL = "digests.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclasses.dataclass(frozen=True)
class Saved:
    """arrays: name → values. meta: plain numbers and lists; what is not finite is None when it is read again."""

    arrays: Mapping[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def position(self) -> int:
        return self.meta["position"]


class State:
    """One folder of states. Reading and saving need no lock; `held` takes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def root(self) -> Path:
        """The folder of all states."""
        return self.folder.parent

    @property
    def result(self) -> Path:
        return self.folder / "result"

    @property
    def intermediate(self) -> Path:
        """Models that `keep_checkpoints` keeps beside the final one."""
        return self.folder / "intermediate"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def job(self) -> Path:
        """What node 0 tells the workers of all nodes, as long as it trains."""
        return self.folder / "job.json"

    @property
    def stop_request(self) -> Path:
        return self.folder / "stop"

    @property
    def finished(self) -> bool:
        return self.result.is_dir()

    def damaged_result(self) -> Path | None:
        """A file of the result that is not what it was when the training was complete, if there is one."""
        try:
            sealed = json.loads((self.result / _SEAL).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return self.result / _SEAL
        for name, expected in sealed.items():
            path = self.result / name
            if not path.exists() or digest(path) != expected:
                return path
        return None

    @property
    def about(self) -> dict[str, Any]:
        return json.loads((self.folder / "about.json").read_text(encoding="utf-8"))

    def is_named_by_its_key(self) -> bool:
        try:
            return of_key(self.root, self.about["key"]).name == self.name
        except (KeyError, TypeError, ValueError):
            return False

    def positions(self) -> list[Path]:
        """Saved states, the newest last."""
        return sorted(self.folder.glob("position_*.npz"))

    def save(self, saved: Saved) -> None:
        """Write a state whole or not at all, then drop all but the last two. Raises AdlError where the disk is full."""
        path = self.folder / f"position_{saved.position:09d}.npz"
        meta = np.frombuffer(json.dumps(finite(saved.meta), allow_nan=False).encode(), np.uint8)
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                _write_npz(file, {_META: meta, **saved.arrays})
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            kept = f"the last good one is {self.positions()[-1]}" if self.positions() else "none was saved before"
            raise AdlError(
                f"{path}: the state cannot be saved ({error.strerror}); {kept}. Make room (`adl state prune` removes "
                "what is not needed), and `dvc repro` goes on from there."
            ) from None
        for old in [*self.positions()[:-KEPT], *self.damaged_positions()]:
            old.unlink()

    def latest(self) -> Saved | None:
        """The newest state that is whole; each that is not is reported and put aside.

        Raises AdlError where none of several is: to begin anew is for a person to decide.
        """
        for path in reversed(self.positions()):
            try:
                if fault := _damage(path):
                    print(f"warning: {path} is damaged ({fault}); falling back to the one before", flush=True)
                    path.rename(path.with_name(f"damaged_{path.name}"))
                    continue
                with np.load(path, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in file.files}
                return Saved(arrays, json.loads(arrays.pop(_META).tobytes()))
            except FileNotFoundError:  # another rank was faster to put it aside
                continue
            except OSError as error:
                raise AdlError(f"{path}: cannot be read ({error.strerror}); it is left as it is. Try again.") from None
        if aside := self.damaged_positions():
            raise AdlError(
                f"no state in {self.folder} can be read; {', '.join(path.name for path in aside)} are damaged. Begin "
                f"anew: `adl state drop {self.name}`."
            )
        return None

    def damaged_positions(self) -> list[Path]:
        return sorted(self.folder.glob("damaged_position_*.npz"))

    def drop_positions(self) -> None:
        for path in [*self.positions(), *self.damaged_positions()]:
            path.unlink()

    def drop_leftovers(self) -> None:
        """What a kill in the middle of writing left."""
        for path in self.folder.glob(".partial-*"):
            remove(path)

    def holder(self) -> int | None:
        """The process that trains here, if one does."""
        try:
            with (self.folder / "lock").open("r+") as file:
                _flock(file)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return int((self.folder / "lock").read_text(encoding="utf-8") or 0)
        return None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises AdlError where another process does."""
        with self._locked():
            remove(self.stop_request)
            yield

    def _locked(self) -> IO[str]:
        """The file of the lock, which is ours as long as it is open."""
        path = self.folder / "lock"
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A state that another process drops in between takes its lock along: then anew.
            with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
                file = stack.enter_context(path.open("a+"))
                self._lock(file)
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    stack.pop_all()
                    return file

    def _lock(self, file: IO[str]) -> None:
        deadline = time.monotonic() + 1  # `holder` has the lock for a moment
        while True:
            try:
                _flock(file)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                file.seek(0)
                raise AdlError(
                    f"this very training runs already: process {file.read().strip()} holds {self.folder}. Wait for it, "
                    "or stop it (`adl stop`)."
                ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()


def _flock(file: IO[str]) -> None:
    """Raises BlockingIOError where another process has the lock, AdlError where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise AdlError(
            f"{file.name}: its file system gives no locks ({error.strerror}), so two trainings there could overwrite "
            "each other. Point ADL_STATE_DIR to a folder on one that does: a local disk, or Lustre mounted with the "
            "option flock."
        ) from None


def _damage(path: Path) -> str | None:
    """What is wrong with an archive whose every member has a checksum; None: nothing. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:  # an offset that cannot be
            raise
        return str(error)
    except Exception as error:  # a damaged archive raises whatever its parser meets
        return str(error)
    return f"wrong checksum of {member}" if member else None


def _write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """What np.savez writes; where the disk is full, that one leaves its archive open, and a second error behind."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def of_key(root: Path, key: Mapping[str, Any]) -> State:
    """The state that belongs to all that changes a result."""
    text = json.dumps(key, sort_keys=True)
    return State(root / hashlib.sha256(text.encode()).hexdigest()[:16])


def parts(key: Mapping[str, Any]) -> dict[str, Any]:
    """What the key is made of, under the names that people know; where a file is named, its content as well."""
    contents = {f"content of {name}": content for name, content in key.get("contents", {}).items()}
    return {"format": key["format"], **key["params"], **contents}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two keys differ in, with both values. A file's content counts where both name the same file."""
    before, now = parts(old), parts(new)
    differing = [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
    return [
        f"{name}: {before.get(name)} there, {now.get(name)} now"
        for name in differing
        if name.removeprefix("content of ") not in set(differing) - {name}
    ]


def nearest_waiting(own: State, key: Mapping[str, Any]) -> tuple[State, list[str]] | None:
    """The unfinished training that differs least from the one that begins, and what it differs in."""
    waiting = [s for s in states(own.root) if s.name != own.name and not s.finished and s.positions()]
    found = [(s, differences(s.about["key"], key)) for s in waiting]
    return min(found, key=lambda pair: len(pair[1]), default=None)


def prepare(state: State, key: Mapping[str, Any], code: str) -> None:
    """Make the state fit for a training with this code; call it with the lock held.

    A training that was finished with other code is dropped: this one starts at step 0. Raises AdlError where one is
    unfinished under other code.
    """
    state.drop_leftovers()
    if (state.folder / "about.json").exists():
        if state.finished and (damaged := state.damaged_result()):
            print(f"warning: {damaged} is damaged; the training begins anew", flush=True)
            remove(state.result)
        if state.about["code"] == code:
            return
        if not state.finished and (state.positions() or state.damaged_positions()):
            raise AdlError(
                f"an unfinished training waits in {state.folder}, but the code that it depends on has changed since. "
                f"Go on with the new code: `adl state adopt {state.name}`. Begin anew: `adl state drop {state.name}`."
            )
        state.drop_positions()
        for path in (state.result, state.intermediate):
            remove(path)
    write_json(state.folder / "about.json", {"key": dict(key), "code": code})


def adopt(state: State, code: str) -> None:
    """Let a training go on under the present code."""
    write_json(state.folder / "about.json", {**state.about, "code": code})


def seal(result: Path) -> None:
    """Write the digest of every file into a result that is complete."""
    files = sorted(path for path in result.rglob("*") if path.is_file())
    write_json(result / _SEAL, {str(path.relative_to(result)): digest(path) for path in files})


def states(root: Path) -> list[State]:
    """Every state, by name; a folder of another kind is not one, whatever it holds."""
    found = [State(path.parent) for path in sorted(root.glob("*/about.json"))]
    return [state for state in found if state.is_named_by_its_key()]


def drop_other_finished(kept: State) -> None:
    """A finished state is kept until a training with another key finishes."""
    for state in states(kept.root):
        if state.folder != kept.folder and state.finished and state.holder() is None:
            with contextlib.suppress(AdlError), state.held():  # one that was just taken is in use
                remove(state.folder)


def code_digest(files: list[Path]) -> str:
    """Of the code that a training depends on; folders stand for the Python files below them."""
    sha = hashlib.sha256()
    for path in sorted(p for f in files for p in ([f] if f.is_file() else f.rglob("*.py"))):
        sha.update(f"{path} {digest(path)}\n".encode())
    return sha.hexdigest()


def train_code(stages: Path = Path("dvc.yaml")) -> list[Path]:
    """The code that the stage `train` depends on, as dvc.yaml lists it."""
    deps = YAML(typ="safe").load(stages)["stages"]["train"]["deps"]
    return [Path(dep) for dep in deps if dep.startswith(("adl/", "pipeline/"))]
