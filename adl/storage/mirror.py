"""The state of a training run, kept in a store too, so that a job that lost its machine resumes."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from adl.storage.backends import Abandoned
from adl.storage.copying import Copies, Copy, Wanted, run
from adl.storage.flow import RUNS, files_below
from adl.storage.stores import Store, Tell
from adl.training.state import SEAL, State

EVERY = 10.0
"""Default number of seconds between two copies."""
_OF_THIS_MACHINE = ("lock", "stop")


class Mirror:
    """state: of one run; those of other runs are left alone, here and there.

    A file that is removed here is removed from the store too, if this machine copied it there or brought it from there.
    """

    def __init__(self, store: Store, state: State) -> None:
        self.store = store
        self.state = state
        self.name = f"{RUNS}/{state.name}"
        self.there: dict[str, tuple[int, int]] = {}
        self.ending = threading.Event()
        self.under_way = ""

    def bring(self, copies: Copies) -> None:
        """Copy what is there; a result that is not whole is left."""
        found = self.store.find(self.name)
        if f"{self.name}/result/{SEAL}" not in found:
            found = {
                name: entry
                for name, entry in found.items()
                if not name.startswith(f"{self.name}/result/")
            }
        wanted = [
            Wanted(self.store, name, entry, self._here(name)) for name, entry in found.items()
        ]
        copies.bring(wanted, f"copying the state from {self.store.url}")
        self.there = {one.name: _version(one.target) for one in wanted}

    @contextlib.contextmanager
    def kept(self, every: float) -> Iterator[None]:
        """Copy what is new now and then as long as the block runs, and all of it at its end.

        A machine that is taken away gives little time: the newest position goes first, and waits for no other copy.
        """
        thread = threading.Thread(target=self._repeat, args=(every,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ending.set()
            if self.under_way in self._urgent():
                thread.join()
            for name in self._new():
                if name in self._urgent():
                    self._put(name, lambda n: None)
            thread.join()
            self.send()

    def _repeat(self, every: float) -> None:
        while not self.ending.wait(every):
            try:
                gone = self._gone()
                for name in self._new(logs=False):
                    self.under_way = name
                    if self.ending.is_set():
                        return
                    self._put(name, functools.partial(self._go_on, name))
                self._remove(gone)
            except (FileNotFoundError, Abandoned):
                pass  # replaced or pruned meanwhile: the next round sees what came in its place
            except Exception as error:
                print(
                    f"warning: the state could not be copied and will be retried: {error}",
                    flush=True,
                )

    def _go_on(self, name: str, copied: int) -> None:
        """Raises Abandoned if a copy would only be in the way of what goes first at the end."""
        if self.ending.is_set() and copied >= 0 and name not in self._urgent():
            raise Abandoned

    def send(self, *, only_logs: bool = False) -> None:
        """Copy all that is new, with progress. only_logs: the rest is another node's to copy."""
        gone = self._gone()
        names = [name for name in self._new() if "/logs/" in name or not only_logs]
        copies = [
            Copy(self._here(name).stat().st_size, functools.partial(self._put, name))
            for name in names
        ]
        run(copies, f"copying the state to {self.store.url}", threads=1)
        if not only_logs:
            self._remove(gone)

    def _urgent(self) -> list[str]:
        """What a run resumes from: the newest position, and whose it is."""
        newest = self.state.positions()[-1:]
        return [f"{self.name}/about.json", *(f"{self.name}/{path.name}" for path in newest)]

    def _new(self, *, logs: bool = True) -> list[str]:
        """Files that the store does not have as they are here: what is urgent first, a result's seal last."""
        names = []
        for path in files_below(self.state.folder):
            name = f"{self.name}/{path.relative_to(self.state.folder).as_posix()}"
            is_ours = path.name in _OF_THIS_MACHINE or (path.parent.name == "logs" and not logs)
            if not is_ours and self.there.get(name) != _version(path):
                names.append(name)
        urgent = self._urgent()
        return sorted(names, key=lambda name: (name.endswith(SEAL), name not in urgent, name))

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

    def _gone(self) -> list[str]:
        """What is no longer here. Ask this before what is new: what replaced it is there by then."""
        return [name for name in list(self.there) if not self._here(name).exists()]

    def _remove(self, gone: list[str]) -> None:
        """Only after all that is new has come: the store must never be without a position or a result."""
        for name in gone:
            if not self._here(name).exists():  # it may have come back meanwhile
                self.store.remove(name)
                del self.there[name]

    def _here(self, name: str) -> Path:
        return self.state.folder / PurePosixPath(name).relative_to(self.name)


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
