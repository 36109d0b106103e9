"""The state of a training run, kept in a store too, so that a job that lost its machine resumes."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from adl.storage.copying import Copies, Copy, Wanted, run
from adl.storage.flow import files_below
from adl.storage.stores import Store, Tell

NAME = "state"
"""Folder of the store."""
EVERY = 10.0
"""Default number of seconds between two copies."""
_OF_THIS_MACHINE = ("lock", "stop")
_SEAL = "result/digests.json"  # written last, when a result is whole


class Mirror:
    """folder: holds all states on this machine.

    A file that is removed here is removed from the store too, if this machine copied it there or brought it from there.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.there: dict[str, tuple[int, int]] = {}
        self.ending = threading.Event()

    def bring(self, copies: Copies) -> None:
        """Copy what is there; a result that is not whole is left."""
        found = self.store.find(NAME)
        whole = {name.removesuffix(_SEAL) for name in found if name.endswith(f"/{_SEAL}")}
        wanted = []
        for name, entry in found.items():
            run_of_result = name[: name.index("/result/") + 1] if "/result/" in name else None
            if run_of_result is None or run_of_result in whole:
                wanted.append(Wanted(self.store, name, entry, self._here(name)))
        copies.bring(wanted, f"copying the state from {self.store.url}")
        self.there = {one.name: _version(one.target) for one in wanted}

    @contextlib.contextmanager
    def kept(self, every: float) -> Iterator[None]:
        """Copy what is new now and then as long as the block runs, and all of it at its end."""
        thread = threading.Thread(target=self._repeat, args=(every,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ending.set()
            thread.join()
            self.send()

    def _repeat(self, every: float) -> None:
        while not self.ending.wait(every):
            try:
                for name in self._new(logs=False):
                    self._put(name, lambda n: None)
                self._remove_gone()
            except FileNotFoundError:
                pass  # replaced or pruned meanwhile; the next round sees what came in its place
            except Exception as error:
                print(
                    f"warning: the state could not be copied and will be retried: {error}",
                    flush=True,
                )

    def send(self, *, only_logs: bool = False) -> None:
        """Copy all that is new, with progress. only_logs: the rest is another node's to copy."""
        names = [name for name in self._new() if "/logs/" in name or not only_logs]
        copies = [
            Copy(self._here(name).stat().st_size, functools.partial(self._put, name))
            for name in names
        ]
        run(copies, f"copying the state to {self.store.url}", threads=1)
        if not only_logs:
            self._remove_gone()

    def _new(self, *, logs: bool = True) -> list[str]:
        """Files that the store does not have as they are here: oldest positions first, a result's seal last."""
        names = []
        for path in files_below(self.folder):
            name = f"{NAME}/{path.relative_to(self.folder).as_posix()}"
            is_ours = path.name in _OF_THIS_MACHINE or (path.parent.name == "logs" and not logs)
            if not is_ours and self.there.get(name) != _version(path):
                names.append(name)
        return sorted(names, key=lambda name: (name.endswith(_SEAL), name))

    def _put(self, name: str, tell: Tell) -> None:
        """Raises FileNotFoundError if the file is no longer here."""
        path = self._here(name)
        version = _version(path)
        try:
            self.store.put(path, name, tell)
        except Exception:
            _version(path)
            raise
        self.there[name] = version

    def _remove_gone(self) -> None:
        """Only after all that is new has come: the store must never be without a position."""
        for name in [name for name in self.there if not self._here(name).exists()]:
            self.store.remove(name)
            del self.there[name]

    def _here(self, name: str) -> Path:
        return self.folder / PurePosixPath(name).relative_to(NAME)


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
