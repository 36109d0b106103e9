"""The stages, one module each: read params, call `adl`, write the declared outputs. Here: where the files are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from adl import runtime
from adl.errors import RETURNS, reported

SYNTHETIC = Path("data/synthetic")
CHECKED = Path("data/checked.txt")
START_WEIGHTS = Path("data/start_weights.txt")
RECORDS = Path("data/mindrecord")
BASELINES = Path("data/baselines.npz")
PREDICTIONS = Path("data/predictions")
PRETRAINED = Path("pretrained")
CHECKPOINT = Path("models/autodeeplab.ckpt")
INTERMEDIATE = Path("models/intermediate")
MINDIR = Path("models/autodeeplab.mindir")
METRICS = Path("metrics")
REPORTS = Path("reports")
LOGS = Path(".adl/logs")


def parser(stage: str, description: str | None) -> argparse.ArgumentParser:
    """The command line of a stage. description: its module's docstring, which ends with an example."""
    return argparse.ArgumentParser(
        prog=f"python -m pipeline.{stage}",
        description=description,
        epilog=RETURNS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def checkpoint_arguments(whole: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse with --checkpoint and --output; output None means the pipeline's own places."""
    whole.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="default: %(default)s")
    whole.add_argument("--output", type=Path, help="folder for all results, instead of the pipeline's own places")
    arguments = whole.parse_args()
    if arguments.checkpoint != CHECKPOINT and arguments.output is None:
        whole.error("--checkpoint needs --output, so that the pipeline's own results stay as they are")
    if arguments.output:
        from adl.artifacts import check_output  # more than the standard library, which `check` must not need

        check_output(arguments.output, folder=True)
    return arguments


def run(main: Callable[[], None]) -> None:
    """Run a stage as a program."""
    runtime.stop_when_dvc_dies()
    with reported():
        main()
