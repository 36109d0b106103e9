"""The stages, one module each: read params, call `adl`, write the declared outputs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from adl.errors import RETURNS, reported
from adl.parallel import lifetime
from adl.workspace import CHECKPOINT, as_path


def parser(stage: str, description: str | None) -> argparse.ArgumentParser:
    """The command line of a stage. description: its module's docstring, which ends with an example."""
    return argparse.ArgumentParser(
        prog=f"python -m pipeline.{stage}",
        description=description,
        epilog=RETURNS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def checkpoint_arguments(command: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse with --checkpoint and --output; output None means the pipeline's own places."""
    command.add_argument("--checkpoint", type=as_path, default=CHECKPOINT, help="default: %(default)s")
    command.add_argument(
        "--output",
        type=as_path,
        help="folder for all results, instead of the pipeline's own places",
    )
    arguments = command.parse_args()
    if arguments.checkpoint != CHECKPOINT and arguments.output is None:
        command.error("--checkpoint needs --output, so that the pipeline's own results stay as they are")
    if arguments.output:
        # Here, because it needs more than the standard library, which `check` must not.
        from adl.files import check_output

        check_output(arguments.output, folder=True)
    return arguments


def run(main: Callable[[], None]) -> None:
    """Run a stage as a program."""
    lifetime.stop_when_dvc_dies()
    with reported():
        main()
