"""`python -m adl.worker JOB.json`: one worker of a training. The launcher starts it; nobody else needs to."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from adl import runtime
from adl.artifacts import remove, write_json
from adl.curves import Curves
from adl.errors import reported
from adl.launcher import STOPPED
from adl.params import Params
from adl.state import State


@dataclasses.dataclass(frozen=True)
class Job:
    """What every worker of a training is told. All paths are relative to the workspace."""

    params: Params
    record: Path
    val_record: Path
    state: Path
    pretrained: Path
    curves: Path

    @contextmanager
    def told(self, path: Path) -> Iterator[None]:
        """The file that the workers of all nodes read, as long as they run."""
        write_json(path, self._content())
        try:
            yield
        finally:
            remove(path)

    def is_told(self, path: Path) -> bool:
        try:
            return json.loads(path.read_text(encoding="utf-8")) == self._content()
        except FileNotFoundError:
            return False

    def _content(self) -> dict[str, Any]:
        fields = {f.name: str(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return fields | {"params": self.params.model_dump()}

    @classmethod
    def read(cls, path: Path) -> Job:
        fields = json.loads(path.read_text(encoding="utf-8"))
        params = Params(**fields.pop("params"))
        return cls(params=params, **{name: Path(value) for name, value in fields.items()})


class Stop:
    """Asked before every step whether to stop.

    Until the first step is done there is nothing to save, and a compilation would not listen for minutes: SIGTERM then
    ends the process at once.
    """

    def __init__(self) -> None:
        self.asked_for = 0
        self.wanted = False

    def __call__(self) -> bool:
        self.asked_for += 1
        if self.asked_for == 2:
            signal.signal(signal.SIGTERM, self._note)
        return self.wanted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True


def main() -> None:
    from adl import training

    job = Job.read(Path(sys.argv[1]))
    world = runtime.world()
    with reported(), _curves(job.curves, world.rank) as curves:
        try:
            training.train(
                job.params,
                job.record,
                State(job.state),
                val_record=job.val_record,
                world=world,
                pretrained=job.pretrained,
                log_epochs=curves.log,
                stopping=Stop(),
            )
        except training.Stopped as stopped:
            if world.rank == 0:
                print(f"{stopped}. `dvc repro` goes on from there.", flush=True)
            sys.exit(STOPPED)


@contextmanager
def _curves(folder: Path, rank: int) -> Iterator[Curves]:
    """Only rank 0 draws."""
    with Curves(folder if rank == 0 else None) as curves:
        yield curves


if __name__ == "__main__":
    main()
