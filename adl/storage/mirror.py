"""The state of a training run, kept in a store too, so that a job that lost its machine resumes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from adl.errors import AdlError
from adl.storage.copying import Copies, Wanted
from adl.storage.flow import files_below
from adl.storage.stores import Store

NAME = "state"
"""Folder of the store."""
EVERY = 10.0
"""Seconds between two looks for what is new, unless another time is asked for."""
_OF_THIS_MACHINE = ("lock", "stop")
_SEAL = "result/digests.json"  # written last, when a result is whole


class Mirror:
    """folder: of all states, here. What is taken away here is taken away there, if it came from here."""

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
            run = name[: name.index("/result/") + 1] if "/result/" in name else None
            if run is None or run in whole:
                target = self.folder / PurePosixPath(name).relative_to(NAME)
                wanted.append(Wanted(self.store, name, entry, target))
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
                self.send(logs=False)
            except (AdlError, OSError) as error:
                print(
                    f"warning: the state is not copied yet: {error} It is tried again.", flush=True
                )

    def send(self, *, logs: bool = True) -> None:
        """Copy what is new, oldest first, a result's seal last; then remove there what is gone here."""
        present = {
            f"{NAME}/{path.relative_to(self.folder).as_posix()}": path
            for path in files_below(self.folder)
            if path.name not in _OF_THIS_MACHINE and (logs or path.parent.name != "logs")
        }
        for name in sorted(present, key=lambda name: (name.endswith(_SEAL), name)):
            path = present[name]
            with contextlib.suppress(FileNotFoundError):  # replaced or pruned meanwhile
                version = _version(path)
                if self.there.get(name) != version:
                    self._put(path, name)
                    self.there[name] = version
        gone = [name for name in self.there if name not in present and self._is_gone(name)]
        for name in gone:
            self.store.remove(name)
            del self.there[name]

    def _put(self, path: Path, name: str) -> None:
        try:
            self.store.put(path, name)
        except AdlError:
            if path.exists():
                raise
            raise FileNotFoundError(path) from None

    def _is_gone(self, name: str) -> bool:
        return not (self.folder / PurePosixPath(name).relative_to(NAME)).exists()


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
