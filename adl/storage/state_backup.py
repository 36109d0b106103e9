"""The state of a training run, kept in a store too, so that a job that lost its machine resumes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from adl.storage.manifests import RUNS, files_below
from adl.storage.store import Abandoned, Store
from adl.storage.transfers import Transfer, copy_all, download
from adl.training.state import SEAL, State

EVERY = 10.0
"""Default number of seconds between two copies."""
_OF_THIS_MACHINE = ("lock", "stop")


class StateBackup:
    """state: of one run; those of other runs are left alone, here and there.

    A file that is removed here is removed from the store too, if this machine copied it there or brought it from there.
    """

    def __init__(self, store: Store, state: State) -> None:
        self.store = store
        self.state = state
        self.name = f"{RUNS}/{state.name}"
        self.url = f"{store.url}/{self.name}"
        self.there: dict[Path, tuple[int, int]] = {}
        """Files of the state, as they were when the store got them."""
        self.ending = threading.Event()
        self.uploading = state.folder

    def has(self, path: Path) -> bool:
        """Is there a file of the state in the store?"""
        return bool(self.store.find(self._name(path)))

    def restore(self, name: str = "") -> None:
        """Download what is there, or one file of it; a result that is not whole is left."""
        found = self.store.find(f"{self.name}/{name}".rstrip("/"))
        is_whole = f"{self.name}/result/{SEAL}" in found
        wanted = {}
        for file in found.values():
            target = self.state.folder / file.name.removeprefix(f"{self.name}/")
            if is_whole or not target.is_relative_to(self.state.result):
                wanted[target] = file
        download(wanted, f"copying the state from {self.store.url}")
        self.there = {target: _version(target) for target in wanted}

    @contextlib.contextmanager
    def running(self, every: float) -> Iterator[None]:
        """Upload what is new now and then as long as the block runs, and all of it at its end.

        A machine that is taken away gives little time: the newest position goes first, and waits for no other copy.
        """
        thread = threading.Thread(target=self._repeat, args=(every,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ending.set()
            if self.uploading in self._urgent():
                thread.join()
            for path in self._new():
                if path in self._urgent():
                    self._upload(path)
            thread.join()
            self.upload_new()

    def upload_new(self) -> None:
        """Upload all that is new, and remove what is gone."""
        # What replaced a file that is gone is here by now, and so among the new ones.
        gone = self._gone()
        self._upload_all(self._new())
        self._remove(gone)

    def upload_logs(self) -> None:
        """Upload the logs alone: the rest is another node's to copy."""
        self._upload_all([path for path in self._new() if path.parent == self.state.logs])

    def _upload_all(self, paths: Sequence[Path]) -> None:
        """Upload one after the other, with progress."""
        sizes = {path: path.stat().st_size for path in paths}
        copy_all(self._upload, sizes, f"copying the state to {self.store.url}", threads=1)

    def _repeat(self, every: float) -> None:
        while not self.ending.wait(every):
            try:
                gone = self._gone()
                for path in self._new():
                    if path.parent == self.state.logs:
                        continue
                    self.uploading = path
                    if self.ending.is_set():
                        return
                    self._upload(path, Transfer(self._is_in_the_way))
                self._remove(gone)
            except (FileNotFoundError, Abandoned):
                pass  # replaced or pruned meanwhile: the next round sees what came in its place
            except Exception as error:
                print(
                    f"warning: the state could not be copied and will be retried: {error}",
                    flush=True,
                )

    def _is_in_the_way(self) -> bool:
        """Does the present copy delay what goes first at the end?"""
        return self.ending.is_set() and self.uploading not in self._urgent()

    def _urgent(self) -> list[Path]:
        """What a run resumes from: the newest position, and whose it is."""
        return [self.state.folder / "about.json", *self.state.positions()[-1:]]

    def _new(self) -> list[Path]:
        """Files that the store does not have as they are here: what is urgent first, a result's seal last."""
        new = []
        for path in files_below(self.state.folder):
            if path.name not in _OF_THIS_MACHINE and self.there.get(path) != _version(path):
                new.append(path)
        urgent = self._urgent()
        return sorted(new, key=lambda path: (path.name == SEAL, path not in urgent, path))

    def _upload(self, path: Path, progress: Callback = DEFAULT_CALLBACK) -> None:
        version = _version(path)
        self.store.upload(path, self._name(path), progress)
        self.there[path] = version

    def _gone(self) -> list[Path]:
        return [path for path in list(self.there) if not path.exists()]

    def _remove(self, gone: Sequence[Path]) -> None:
        """Only after all that is new has come: the store must never be without a position or a result."""
        for path in gone:
            if not path.exists():  # it may have come back meanwhile
                self.store.remove(self._name(path))
                del self.there[path]

    def _name(self, path: Path) -> str:
        return f"{self.name}/{path.relative_to(self.state.folder).as_posix()}"


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
