"""adl explain: what the parameters mean, and which values they take."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import params, recipes
from adl.artifacts import write_text
from adl.commands import add_command
from adl.errors import unknown
from adl.workspace import PARAMS, STAGES, SYNTHETIC_STAGES

README = Path("README.md")
BEGINNING, END = (
    "<!-- parameters: written by `adl explain --update` -->\n",
    "\n<!-- end of parameters -->",
)
DESCRIPTION = """say what parameters mean, which values they take, and what they are set to

reads:  params.yaml
writes: nothing; a table to the terminal. --update: the parameter table of README and the parameter lists of dvc.yaml,
        which follow from adl/params.py"""


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands, "explain", run, description=DESCRIPTION, example="adl explain bn_momentum"
    )
    command.add_argument("names", nargs="*", metavar="PARAMETER", help="default: all")
    command.add_argument(
        "--update", action="store_true", help="bring README and dvc.yaml up to date, for developers"
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.update:
        for path, text in up_to_date().items():
            write_text(path, text)
        return
    entries = {entry.name: entry for entry in params.schema()}
    for name in arguments.names:
        if name not in entries:
            raise unknown("parameter", name, entries)
    present = params.content(PARAMS) if PARAMS.exists() else {}
    rows = []
    for name in arguments.names or entries:
        now = recipes.shown(present, name)
        rows.append((name, now, entries[name].takes, entries[name].meaning))
    print(
        tabulate(
            rows, headers=("parameter", "now", "takes", "meaning"), maxcolwidths=[None, 34, 26, 60]
        )
    )


def up_to_date() -> dict[Path, str]:
    """File → its text, in which what follows from the parameters is as it should be."""
    readme = README.read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGINNING)
    _, _, after = rest.partition(END)
    return {
        README: f"{before}{BEGINNING}{markdown()}{END}{after}",
        STAGES: _with_params(STAGES, ("train", "evaluate", "export", "infer", "report")),
        SYNTHETIC_STAGES: _with_params(SYNTHETIC_STAGES, ("synthesize",)),
    }


def _with_params(path: Path, stages: Iterable[str]) -> str:
    """The text of a dvc.yaml in which each of these stages lists the parameters that can change its results."""
    yaml = recipes.commented_yaml()
    content = yaml.load(path)
    for stage in stages:
        content["stages"][stage]["params"] = list(params.of_stage(stage))
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue()


def markdown() -> str:
    """The parameter table of README."""
    rows = [(f"`{entry.name}`", entry.takes, entry.meaning) for entry in params.schema()]
    return tabulate(
        rows, headers=("parameter", "takes", "meaning"), tablefmt="github", disable_numparse=True
    )
