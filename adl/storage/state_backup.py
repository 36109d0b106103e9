"""The state of a training run, kept in storage too, so that a job that lost its machine resumes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fsspec.callbacks import DEFAULT_CALLBACK, Callback

from adl.storage.manifests import RUNS, files_below
from adl.storage.places import Abandoned, Place
from adl.storage.transfers import copy_all, download, ended_once
from adl.training.state import SEAL, State

EVERY = 10.0
"""Default number of seconds between two copies."""


class StateBackup:
    """state: of one run; those of other runs are left alone, here and in the store.

    A file that is removed here is removed from the store too, if this machine copied it there or brought it from there.
    """

    def __init__(self, store: Place, state: State) -> None:
        self.place = store / RUNS / state.name
        self.state = state
        self.there: dict[Path, int] = {}
        """Files of the state, with the date that each had when the store got it."""
        self.ending = threading.Event()
        self.uploading = state.folder

    def find(self) -> dict[Path, Place]:
        """The files that the store has, by where they belong here."""
        return self.place.find(self.state.folder)

    def restore(self) -> None:
        """Download what is there; a result that is not whole is left."""
        result = self.state.result
        wanted = self.find()
        if result / SEAL not in wanted:
            wanted = {path: file for path, file in wanted.items() if result not in path.parents}
        download(wanted, f"copying the state from {self.place.url}")
        self.there = {path: path.stat().st_mtime_ns for path in wanted}

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
            urgent = self._urgent()
            if self.uploading in urgent:
                thread.join()
            for path in self._new():
                if path in urgent:
                    self._upload(path)
            thread.join()
            self.upload_new()

    def _repeat(self, every: float) -> None:
        while not self.ending.wait(every):
            try:
                with self._round() as new:
                    for path in new:
                        if path.parent == self.state.logs:
                            continue
                        self.uploading = path
                        if self.ending.is_set():
                            raise Abandoned
                        self._upload(path, ended_once(self._is_in_the_way))
            except (FileNotFoundError, Abandoned):
                pass  # replaced or pruned meanwhile: the next round sees what came in its place
            except Exception as error:
                print(
                    f"warning: the state could not be copied and will be retried: {error}",
                    flush=True,
                )

    def upload_new(self) -> None:
        """Upload all that is new, and remove what is gone."""
        with self._round() as new:
            self._upload_all(new)

    @contextlib.contextmanager
    def _round(self) -> Iterator[list[Path]]:
        """Yield what is new; what is gone is removed once the block has uploaded that.

        The store must never be without a position or a result: what replaced a file that is gone is among the new ones.
        """
        gone = [path for path in list(self.there) if not path.exists()]
        yield self._new()
        for path in gone:
            if not path.exists():  # it may have come back meanwhile
                self._at(path).remove()
                del self.there[path]

    def upload_logs(self) -> None:
        """Upload the logs alone: the rest is another node's to copy."""
        self._upload_all([path for path in self._new() if path.parent == self.state.logs])

    def _upload_all(self, paths: Sequence[Path]) -> None:
        """Upload one after the other, with progress."""
        copy_all(
            self._upload,
            {path: path.stat().st_size for path in paths},
            f"copying the state to {self.place.url}",
            threads=1,
        )

    def _is_in_the_way(self) -> bool:
        """Does the present copy delay what goes first at the end?"""
        return self.ending.is_set() and self.uploading not in self._urgent()

    def _upload(self, path: Path, progress: Callback = DEFAULT_CALLBACK) -> None:
        date = path.stat().st_mtime_ns
        self._at(path).upload(path, progress)
        self.there[path] = date

    def _urgent(self) -> list[Path]:
        """What a run resumes from: the newest position, and whose it is."""
        return [self.state.folder / "about.json", *self.state.positions()[-1:]]

    def _new(self) -> list[Path]:
        """Files that the store does not have as they are here: what is urgent first, a result's seal last."""
        new = [
            path
            for path in files_below(self.state.folder)
            # A lock and a request to stop are this machine's own.
            if path.name not in ("lock", "stop") and self.there.get(path) != path.stat().st_mtime_ns
        ]
        urgent = self._urgent()
        return sorted(new, key=lambda path: (path.name == SEAL, path not in urgent, path))

    def _at(self, path: Path) -> Place:
        return self.place / path.relative_to(self.state.folder)
