"""The `adl` command for people: one module per subcommand.

The module's docstring is the help: its first line is the summary; what the command reads and writes follows, and then
an example. `add(command)` adds the options, and `run(arguments)` does the work. RETURNS, if there is one, replaces the
usual list of exit codes.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from adl.errors import RETURNS, reported

COMMANDS = (
    "doctor", "dataset", "check-data", "recipe", "estimate", "explain", "predict", "serve", "submission", "table",
    "compare", "report", "state", "stop", "restore",
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    command_line = argparse.ArgumentParser(
        prog="adl",
        description="Auto-DeepLab on MindSpore: what is done alongside the pipeline, which `dvc repro` runs.",
        epilog="adl COMMAND --help explains each, with an example.",
    )
    subcommands = command_line.add_subparsers(dest="command", metavar="COMMAND", required=True)
    register(subcommands, COMMANDS)
    return command_line


def register(subcommands: Any, names: Iterable[str], prefix: str = "") -> None:
    """Add commands, each from the module of its name, before which the prefix stands."""
    for name in names:
        module = importlib.import_module(f"adl.commands.{prefix}{name.replace('-', '_')}")
        description = module.__doc__ or ""
        command = subcommands.add_parser(
            name,
            help=description.partition("\n")[0],
            description=description,
            epilog=getattr(module, "RETURNS", RETURNS),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # One that has commands of its own does nothing itself.
        command.set_defaults(run=getattr(module, "run", None))
        module.add(command)


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        try:
            with reported():
                chosen = parser().parse_args(arguments)
                chosen.run(chosen)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads the output any more, as after `| head`. Python flushes once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
