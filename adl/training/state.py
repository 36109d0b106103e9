"""The resumable state of a training run: a folder of its own for all that changes the result, locked while in use.

<ADL_STATE_DIR>/<key>/about.json            what the key is made of, and the digest of the code
                      position_<n>.npz      state after n batches; the last two are kept
                      intermediate/         models that are kept beside the final one
                      result/               appears whole, when the run is complete
                      logs/rank_<r>.log     what each worker printed
                      job.json              what the workers read, while they run
                      lock, stop            held by the process that trains; left by `adl stop`
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

from adl.config.params import Params
from adl.errors import DISK_FULL, AdlError
from adl.files import digest, finite, read_json, remove, replacing, to_disk, write_json
from adl.training import lock

SEAL = "digests.json"
"""File of a result, written last, with the digests of all others."""


class Saved(NamedTuple):
    """arrays: name → values. meta: plain numbers and lists; what is not finite is None when it is read again."""

    arrays: Mapping[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def position(self) -> int:
        return self.meta["position"]

    @classmethod
    def read(cls, path: Path) -> Saved:
        """Raises OSError if the file cannot be read, and whatever a parser meets if it is damaged."""
        arrays = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                # As a whole, because only that compares its checksum.
                arrays[name.removesuffix(".npy")] = np.load(io.BytesIO(archive.read(name)))
        return cls(arrays, json.loads(arrays.pop("meta").tobytes()))


class State:
    """One folder of states. Reading and saving need no lock; `held` takes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.about_file = folder / "about.json"
        self.result = folder / "result"
        self.intermediate = folder / "intermediate"
        self.logs = folder / "logs"
        self.job = folder / "job.json"
        self.stop_request = folder / "stop"

    @property
    def finished(self) -> bool:
        return self.result.is_dir()

    def kept_models(self) -> list[Path]:
        """The models that a finished run kept beside the final one, the oldest first."""
        return sorted((self.result / self.intermediate.name).glob("*.ckpt"))

    def damaged_result(self) -> Path | None:
        """A file of the result that is not what it was when the run was complete; None if there is none."""
        try:
            sealed = read_json(self.result / SEAL)
        except (FileNotFoundError, ValueError):
            return self.result / SEAL
        for name, expected in sealed.items():
            path = self.result / name
            if not path.exists() or digest(path) != expected:
                return path
        return None

    @property
    def about(self) -> dict[str, Any]:
        return read_json(self.about_file)

    def positions(self) -> list[Path]:
        """Saved states, the newest last."""
        return sorted(self.folder.glob("position_*.npz"))

    def damaged_positions(self) -> list[Path]:
        return sorted(self.folder.glob("damaged_position_*.npz"))

    def save(self, saved: Saved) -> None:
        """Write a state whole or not at all, then drop all but the last two. Raises AdlError if the disk is full."""
        path = self.folder / f"position_{saved.position:09d}.npz"
        meta = json.dumps(finite(saved.meta)).encode()
        # In memory first: on a full disk np.savez leaves its archive open, and a second error behind.
        content = io.BytesIO()
        np.savez(content, meta=np.frombuffer(meta, np.uint8), **saved.arrays)
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content.getbuffer())
                to_disk(temporary)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            kept = "none was saved before"
            if self.positions():
                kept = f"the last good one is {self.positions()[-1]}"
            raise AdlError(
                f"{path}: the state cannot be saved ({error.strerror}); {kept}. Make room (`adl state prune` removes "
                "what is not needed), and `dvc repro` resumes from there."
            ) from None
        for old in [*self.positions()[:-2], *self.damaged_positions()]:
            old.unlink()

    def latest(self) -> Saved | None:
        """The newest state that is whole; each that is not is reported and set aside.

        Raises AdlError if none of several is: to start over is for a person to decide.
        """
        for path in reversed(self.positions()):
            try:
                return Saved.read(path)
            except FileNotFoundError:
                continue  # another rank was faster to set it aside
            except Exception as error:
                # An offset that cannot be is the file's fault; any other error of the system may pass.
                if isinstance(error, OSError) and error.errno != errno.EINVAL:
                    raise AdlError(
                        f"{path}: cannot be read ({error.strerror}); it is left as it is. Try again."
                    ) from None
                print(
                    f"warning: {path} is damaged ({error}); falling back to the one before",
                    flush=True,
                )
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_name(f"damaged_{path.name}"))
        damaged = ", ".join(path.name for path in self.damaged_positions())
        if damaged:
            raise AdlError(
                f"no state in {self.folder} can be read; {damaged} are damaged. Start over: `adl state drop "
                f"{self.name}`."
            )
        return None

    def drop_positions(self) -> None:
        for path in self.folder.glob("*position_*.npz"):
            path.unlink()

    def drop_leftovers(self) -> None:
        """What a kill in the middle of writing left."""
        for path in self.folder.glob(".partial-*"):
            remove(path)

    def holder(self) -> int | None:
        """The process that trains here, if one does."""
        return lock.holder(self.folder)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises AdlError if another process does."""
        with lock.held(self.folder):
            remove(self.stop_request)
            yield


def seal(result: Path) -> None:
    """Write the digest of every file into a result that is complete."""
    files = (path for path in sorted(result.rglob("*")) if path.is_file())
    write_json(result / SEAL, {str(path.relative_to(result)): digest(path) for path in files})


class TrainingJob(BaseModel):
    """What every worker of a training run needs to know. All paths are relative to the workspace.

    key: what the name of the state's folder is made of.
    """

    params: Params
    record: Path
    val_record: Path
    key: dict[str, Any]
    state: Path
    pretrained: Path
    curves: Path
