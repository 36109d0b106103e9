"""say what parameters mean, which values they take, and what they are set to

reads:  params.yaml
writes: nothing; a table to the terminal. --update: docs/reference/parameters.md and the parameter lists of dvc.yaml
        and pipeline/synthetic/dvc.yaml, which follow from the schema

example: adl explain bn_momentum
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tabulate import tabulate

from adl.config import params, recipes
from adl.errors import unknown
from adl.files import write_text
from adl.workspace import STAGES, SYNTHETIC_STAGES

REFERENCE = Path("docs/reference/parameters.md")
HEADING = """# Parameters

<!-- Written by `adl explain --update` from the schema. Do not edit. -->

All of them are in `params.yaml`. Those of the 2021 model zoo keep their names and meanings. A default is the value in
the shipped file, which trains a small network on the embedded scenes; `adl recipe NAME` writes the published values.
Missing, unknown or impossible values are refused before any work starts, with all problems in one message. `adl
explain` prints these tables with your current values.
"""


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="PARAMETER", help="default: all")
    command.add_argument(
        "--update",
        action="store_true",
        help="bring the reference and dvc.yaml up to date, for developers",
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.update:
        for path, text in up_to_date().items():
            write_text(path, text)
        return
    entries = {entry.name: entry for entry in params.schema()}
    present = recipes.present()
    rows = []
    for name in arguments.names or entries:
        if name not in entries:
            raise unknown("parameter", name, entries)
        entry = entries[name]
        rows.append((name, recipes.shown(present, name), entry.takes, entry.meaning))
    print(
        tabulate(
            rows,
            headers=("parameter", "now", "takes", "meaning"),
            maxcolwidths=[None, 34, 26, 60],
        )
    )


def up_to_date() -> dict[Path, str]:
    """File → its text, in which what follows from the parameters is as it should be."""
    return {
        REFERENCE: reference(),
        STAGES: _with_params(STAGES, "train", "evaluate", "export", "infer", "report"),
        SYNTHETIC_STAGES: _with_params(SYNTHETIC_STAGES, "synthesize"),
    }


def _with_params(path: Path, *stages: str) -> str:
    """The text of a dvc.yaml in which each of these stages lists the parameters that can change its results."""
    lists = {stage: {"params": list(params.of_stage(stage))} for stage in stages}
    return recipes.edited(path.read_text(encoding="utf-8"), {"stages": lists})


def reference() -> str:
    """The page of all parameters: a table for each section of params.yaml."""
    page = HEADING
    for heading, entries in recipes.sections().items():
        rows = [("parameter", "default", "takes", "meaning")]
        for entry in entries:
            default = f"`{entry.shipped}`" if entry.shipped else "empty"
            rows.append((f"`{entry.name}`", default, entry.takes, entry.meaning))
        table = tabulate(rows, headers="firstrow", tablefmt="github", disable_numparse=True)
        page += f"\n## {heading}\n\n{table}\n"
    return page
