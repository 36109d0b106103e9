"""adl table: the mIOU table over experiments, tags, branches and commits."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from adl.artifacts import check_output, write_text
from adl.commands import add_command
from adl.errors import AdlError

FORMATS = {"markdown": "github", "csv": "", "latex": "latex_booktabs", "html": "html"}
DESCRIPTION = """list every finished run with its mIOU: a row each, over experiments, tags, branches and commits

reads:  git's history, and of each revision dvc.lock and metrics/; reports/evaluate is not needed
writes: a table to the terminal, or to --output; quoted figures are marked as quoted"""


def add(subcommands: Any) -> None:
    command = add_command(subcommands, "table", run, description=DESCRIPTION, example="adl table --format latex")
    command.add_argument("revisions", nargs="*", metavar="REV", help="default: all that hold a finished run")
    command.add_argument("--format", choices=FORMATS, default="markdown", help="default: %(default)s")
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of the terminal")


def run(arguments: argparse.Namespace) -> None:
    from adl import runs

    if arguments.output:
        check_output(arguments.output)
    found = everything = runs.collect(arguments.revisions)
    if arguments.revisions:
        with contextlib.suppress(AdlError):  # without history, there are no other seeds
            everything = [*found, *runs.collect()]
    if not found:
        raise AdlError("no revision holds a finished run: `dvc repro` makes one, and a commit keeps it.")
    table = rows(found, everything)
    if arguments.format == "csv":
        text = table.to_csv(index=False, lineterminator="\n").rstrip()
    else:
        text = tabulate(
            table.values.tolist(), headers=list(table), tablefmt=FORMATS[arguments.format], disable_numparse=True
        )
    if arguments.output:
        write_text(arguments.output, f"{text}\n")
        print(f"{arguments.output}: {len(table)} runs")
    else:
        print(text)


def rows(found: list[Any], everything: list[Any]) -> pd.DataFrame:
    """A row a run, sorted by steps and then by mIOU. everything: all runs, among which the seeds of each are."""
    from adl import quoted, report, runs

    always = ["epochs", "bn_momentum"]
    others = [name for name in runs.differing(found) if name not in always]
    kinds = [kind for kind in ("data", "code") if len({one.digest(kind) for one in found}) > 1]
    content = []
    for one in sorted(found, key=lambda r: (r.steps, r.score["mIOU"])):
        published = quoted.RUNS.get(one.recipe or "")
        content.append(
            {
                "run": one.name,
                "Itr": f"{one.steps:,}",
                **{name: _value(one.params[name]) if name in one.params else "–" for name in [*always, *others]},
                **{kind: one.digest(kind) for kind in kinds},
                "images": f"{one.score['images']} of {one.val_images} (partial)" if one.partial else one.val_images,
                "mIOU": f"{one.score['mIOU']:.2f}",
                "95 % interval": report.interval(one.score),
                "over seeds": runs.spread(one, everything),
                "mIOU in paper (quoted)": f"{published.paper:.2f}" if published else "",
            }
        )
    return pd.DataFrame(content)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
