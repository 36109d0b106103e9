"""The stages, one module each: read params, call `adl`, write the declared outputs. Here: where the files are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

SYNTHETIC = Path("data/synthetic")
CHECKED = Path("data/checked.txt")
START_WEIGHTS = Path("data/start_weights.txt")
RECORDS = Path("data/mindrecord")
PREDICTIONS = Path("data/predictions")
PRETRAINED = Path("pretrained")
CHECKPOINT = Path("models/autodeeplab.ckpt")
MINDIR = Path("models/autodeeplab.mindir")
METRICS = Path("metrics")
REPORTS = Path("reports")


def state_folder() -> Path:
    """Where a training keeps what it needs between two attempts."""
    return Path(os.environ.get("ADL_STATE_DIR", ".adl/state"))


def checkpoint_arguments(description: str | None) -> tuple[Path, Path | None]:
    """The checkpoint that the command line names, and the folder for its results (None: the pipeline's own places)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="folder for all results, instead of the pipeline's own places")
    arguments = parser.parse_args()
    if arguments.checkpoint != CHECKPOINT and arguments.output is None:
        parser.error("--checkpoint needs --output, so that the pipeline's own results stay as they are")
    return arguments.checkpoint, arguments.output


def run(main: Callable[[], None]) -> None:
    """Run a stage. An expected failure is one message and exit 2; an interruption is exit 130."""
    from adl.errors import AdlError

    try:
        main()
    except AdlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
