"""list finished runs with their mIOU, one per row: those of this clone, of experiments and of tags

reads:  git's history, and of each revision dvc.lock and metrics/; reports/evaluate is not needed
writes: a table to the terminal, or to --output; quoted figures are marked as quoted

example: adl table --format latex
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from adl.console.text import MISSING, interval, percentage
from adl.errors import AdlError
from adl.files import check_output, write_text
from adl.workspace import as_path

if TYPE_CHECKING:
    from adl.report.history import Run

FORMATS = {"markdown": "github", "csv": "", "latex": "latex_booktabs", "html": "html"}


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "revisions",
        nargs="*",
        metavar="REV",
        help="default: workspace, experiments, tags, branches, and commits that this clone made or checked out",
    )
    command.add_argument(
        "--all-commits",
        action="store_true",
        help="every commit of the history, also for the mean over seeds of the runs that REV names",
    )
    command.add_argument("--format", choices=FORMATS, default="markdown", help="default: %(default)s")
    command.add_argument("--output", type=as_path, metavar="FILE", help="write there instead of the terminal")


def run(arguments: argparse.Namespace) -> None:
    from adl.report import history

    if arguments.output:
        check_output(arguments.output)
    found = history.collect(arguments.revisions, all_commits=arguments.all_commits)
    if not found:
        raise AdlError("no revision holds a finished run: `dvc repro` makes one, and a commit keeps it.")
    everything = list(found)
    if arguments.revisions:
        with contextlib.suppress(AdlError):  # without history, there are no other seeds
            everything += history.collect(all_commits=arguments.all_commits)
    table = table_of(found, everything)
    if arguments.format == "csv":
        text = table.to_csv(index=False, lineterminator="\n").rstrip()
    else:
        text = tabulate(
            table,
            headers="keys",
            showindex=False,
            tablefmt=FORMATS[arguments.format],
            disable_numparse=True,
        )
    if arguments.output:
        write_text(arguments.output, f"{text}\n")
        print(f"{arguments.output}: {len(table)} runs")
    else:
        print(text)


def table_of(found: Sequence[Run], everything: Sequence[Run]) -> pd.DataFrame:
    """A row per run, sorted by steps and then by mIOU. everything: all runs, among which those of other seeds are."""
    from adl.report.history import over_seeds

    parameters = pd.DataFrame([_texts(run.params) for run in found])
    names = dict.fromkeys(("epochs", "bn_momentum", *parameters.columns[parameters.nunique() > 1]))
    rows = []
    for run in sorted(found, key=lambda run: (run.steps, run.score["mIOU"])):
        texts, scored = _texts(run.params), run.score["images"]
        is_partial = scored < run.val_images
        rows.append(
            {
                "run": run.name,
                "date": run.date,
                "Itr": f"{run.steps:,}",
                **{name: texts.get(name, MISSING) for name in names},
                "data": run.digest("data/mindrecord/"),
                "code": run.digest("adl/", "pipeline/"),
                "images": f"{scored} of {run.val_images} (partial)" if is_partial else str(scored),
                "mIOU": percentage(run.score["mIOU"]),
                "95 % interval": interval(run.score),
                "over seeds": over_seeds(run, everything),
                "mIOU in paper (quoted)": run.published.get("mIOU in paper", ""),
            }
        )
    table = pd.DataFrame(rows)
    for kind in ("data", "code"):
        if table[kind].nunique() == 1:
            del table[kind]
    return table


def _texts(params: Mapping[str, Any]) -> dict[str, str]:
    """How the table shows parameters."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}
