"""say what parameters mean, which values they take, and what they are set to

reads:  params.yaml
writes: nothing; a table to the terminal. --update: docs/reference/parameters.md and the parameter lists of dvc.yaml,
        which follow from the schema
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable
from pathlib import Path

from tabulate import tabulate

from adl.config import params, recipes
from adl.errors import unknown
from adl.files import write_text
from adl.workspace import PARAMS, STAGES, SYNTHETIC_STAGES

REFERENCE = Path("docs/reference/parameters.md")
HEADING = """# Parameters

<!-- Written by `adl explain --update` from the schema. Do not edit. -->

All of them are in `params.yaml`. Those of the 2021 model zoo keep their names and meanings. A default is the value in
the shipped file, which trains a small network on the embedded scenes; `adl recipe NAME` writes the published values.
Missing, unknown or impossible values are refused before any work starts, with all problems in one message. `adl
explain` prints these tables with your current values.
"""


EXAMPLE = "adl explain bn_momentum"


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
    return {
        REFERENCE: reference(),
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


def reference() -> str:
    """The page of all parameters: a table for each section of params.yaml."""
    sections: dict[str, list[tuple[str, ...]]] = {}
    heading = ""
    for entry in params.schema():
        heading = recipes.SECTIONS.get(entry.name, heading)
        shipped = recipes.as_yaml(entry.shipped)
        default = f"`{shipped}`" if shipped else "empty"
        row = (f"`{entry.name}`", default, entry.takes, entry.meaning)
        sections.setdefault(heading, []).append(row)
    page = [HEADING]
    for heading, rows in sections.items():
        table = tabulate(
            rows,
            headers=("parameter", "default", "takes", "meaning"),
            tablefmt="github",
            disable_numparse=True,
        )
        page.append(f"## {heading}\n\n{table}\n")
    return "\n".join(page)
