"""`python -m adl.training.run.worker JOB.json`: one worker of a training run. Only the launcher starts it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from adl.errors import STOPPED, reported
from adl.launch import launcher
from adl.launch.signals import take
from adl.parallel import world
from adl.report.curves import Curves
from adl.training.plan import Stop
from adl.training.state import TrainingJob


class SignalledStop(Stop):
    """Asked by the launcher's signal.

    Until the first step is done there is nothing to save, and a compilation would not listen for minutes: the signal
    then ends the process at once. A rank without others takes SIGTERM too, which Slurm or systemd may send to every
    process of a job.
    """

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone

    def arm(self) -> None:
        signal.signal(launcher.STOP, self._request)
        if self.alone:
            take([signal.SIGTERM], self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


def main() -> None:
    from adl.training import train
    from adl.training.loop import Stopped

    job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_bytes())
    this = world.from_environment()
    # Only rank 0 draws.
    with reported(), Curves(job.curves if this.is_first else None) as curves:
        try:
            train.train(
                job,
                world=this,
                log_epochs=curves.log,
                stop=SignalledStop(alone=this.size == 1),
            )
        except Stopped as stopped:
            if this.is_first:
                print(f"{stopped}. `dvc repro` resumes from there.", flush=True)
            sys.exit(STOPPED)


if __name__ == "__main__":
    main()
