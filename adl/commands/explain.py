"""adl explain: what the parameters mean, and which values they take."""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import params, recipes
from adl.commands import add_command
from adl.errors import AdlError

PARAMS = Path("params.yaml")
DESCRIPTION = """say what parameters mean, which values they take, and what they are set to

reads:  params.yaml
writes: nothing; a table to the terminal"""


def add(subcommands: Any) -> None:
    command = add_command(subcommands, "explain", run, description=DESCRIPTION, example="adl explain bn_momentum")
    command.add_argument("names", nargs="*", metavar="PARAMETER", help="default: all")
    command.add_argument("--markdown", action="store_true", help="the table of README, without the present values")


def run(arguments: argparse.Namespace) -> None:
    if arguments.markdown:
        print(markdown())
        return
    rows = {name: (name, values, meaning) for name, values, meaning in params.schema()}
    for name in arguments.names:
        if name not in rows:
            close = difflib.get_close_matches(name, rows, n=1)
            raise AdlError(f"{name}: no such parameter" + (f"; did you mean {close[0]}?" if close else "."))
    present = recipes.present(PARAMS)
    chosen = [
        (name, json.dumps(present[name]) if name in present else "–", *rows[name][1:])
        for name in arguments.names or rows
    ]
    print(tabulate(chosen, headers=("parameter", "now", "takes", "meaning"), maxcolwidths=[None, 34, 26, 60]))


def markdown() -> str:
    """The parameter table of README."""
    rows = [(f"`{name}`", values, meaning) for name, values, meaning in params.schema()]
    return tabulate(rows, headers=("parameter", "takes", "meaning"), tablefmt="github", disable_numparse=True)
