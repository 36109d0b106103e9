"""ask the active training run to stop after the current epoch

reads:  .adl/state, or the folder that ADL_STATE_DIR names
writes: a request; the run saves its state and exits with a non-zero code, and `dvc repro` resumes it later

example: adl stop
"""

from __future__ import annotations

import argparse

from adl import workspace
from adl.errors import AdlError
from adl.training import runs


def add(command: argparse.ArgumentParser) -> None:
    """It has no options."""


def run(arguments: argparse.Namespace) -> None:
    folder = workspace.state_folder()
    running = [state for state in runs.found(folder) if state.holder() is not None]
    if not running:
        raise AdlError(f"no training run is active ({folder} holds no locked state).")
    for state in running:
        state.stop_request.touch()
        print(
            f"{state.name}: process {state.holder()} will stop after the current epoch; "
            "`dvc repro` resumes the run later"
        )
