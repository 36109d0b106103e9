"""Another program in our place: it gets our signals, and ends in its own way."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

from adl.launch.signals import taken
from adl.parallel.lifetime import tied


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command. Returns its exit code, 128 + n after signal n. It is killed if this process is.

    environment: of the command; None: ours.
    """
    process: subprocess.Popen | None = None
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if process:
            process.send_signal(number)
        else:
            early.append(number)

    with taken(pass_on):
        # In a session of its own, so that a terminal's Ctrl-C does not reach it twice.
        process = subprocess.Popen(tied(command), env=environment, start_new_session=True)
        for number in early:
            process.send_signal(number)
        code = process.wait()
    return code if code >= 0 else 128 - code
