"""The `adl` command for people: one module per subcommand, each with `add(subcommands)`."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from adl.errors import RETURNS, reported


def add_command(
    subcommands: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    description: str,
    example: str,
    returns: str = RETURNS,
) -> argparse.ArgumentParser:
    """A subcommand whose help says what it reads, writes and returns, with an example.

    description: its first line is the summary; `reads:` and `writes:` lines follow.
    """
    parser = subcommands.add_parser(
        name,
        help=description.split("\n", maxsplit=1)[0],
        description=description,
        epilog=f"{returns}\n\nexample:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def parser() -> argparse.ArgumentParser:
    from adl.commands import (
        check_data,
        compare,
        doctor,
        estimate,
        explain,
        predict,
        recipe,
        report,
        restore,
        serve,
        state,
        submission,
        table,
    )

    command_line = argparse.ArgumentParser(
        prog="adl",
        description="Auto-DeepLab on MindSpore: what is done beside the pipeline, which `dvc repro` runs.",
        epilog="adl COMMAND --help explains each, with an example.",
    )
    subcommands = command_line.add_subparsers(dest="command", metavar="COMMAND", required=True)
    modules = (
        doctor, check_data, recipe, estimate, explain, predict, serve, submission, table, compare, report, state,
        restore,
    )  # fmt: skip
    for module in modules:
        module.add(subcommands)
    return command_line


def main(arguments: Sequence[str] | None = None) -> None:
    with _while_read(), reported():
        chosen = parser().parse_args(arguments)
        chosen.run(chosen)


@contextlib.contextmanager
def _while_read() -> Iterator[None]:
    """End quietly where nobody reads the output any more, as after `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
