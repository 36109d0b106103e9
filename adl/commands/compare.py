"""adl compare: class by class, one run against others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from adl.artifacts import check_output
from adl.cityscapes import CATEGORIES, CLASS_NAMES
from adl.commands import add_command
from adl.errors import AdlError

PICTURE = Path("reports/compare.png")
DESCRIPTION = """compare the IoU of runs class by class, the first against each other one

reads:  of each revision dvc.lock, metrics/ and, to resample images, reports/evaluate (from DVC's cache)
writes: a table to the terminal, and a picture: reports/compare.png, or --output"""


def add(subcommands: Any) -> None:
    command = add_command(subcommands, "compare", run, description=DESCRIPTION, example="adl compare main workspace")
    command.add_argument(
        "revisions",
        nargs="+",
        metavar="REV",
        help="branch, tag, commit, experiment; a single one: the workspace against it",
    )
    command.add_argument("--output", type=Path, default=PICTURE, metavar="FILE", help="picture; default: %(default)s")


def run(arguments: argparse.Namespace) -> None:
    from adl import figures, runs

    check_output(arguments.output, suffix=".png")
    names = arguments.revisions if len(arguments.revisions) > 1 else [*arguments.revisions, runs.WORKSPACE]
    found = [runs.load(name) for name in names]
    for kind, keys in (("class_IOU", CLASS_NAMES), ("category_IOU", CATEGORIES)):
        table = [(key, *_cells([one.score[kind][key] for one in found])) for key in keys]
        if kind == "class_IOU":
            table.append(("mIOU", *_cells([one.score["mIOU"] for one in found])))
        headers = [kind.replace("_IOU", ""), names[0], *(h for name in names[1:] for h in (name, "difference"))]
        print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True), end="\n\n")
    for other in found[1:]:
        print(difference(found[0], other))
    figures.save(figures.comparison({one.name: one.score["class_IOU"] for one in found}), arguments.output)
    print(f"{arguments.output}: the classes side by side")


def difference(one: Any, other: Any) -> str:
    """What resampling the images, the same for both, says about the difference of two runs' mIOU."""
    from adl import runs
    from adl.scoring import DRAWS, bootstrap, interval

    try:
        (names, counts), (other_names, other_counts) = runs.counts(one), runs.counts(other)
    except AdlError as error:
        return f"{other.name} − {one.name}: no interval of the difference. {error}"
    if names != other_names or not np.array_equal(counts.sum(axis=2), other_counts.sum(axis=2)):
        return f"{other.name} − {one.name}: no interval of the difference: they were scored on different images."
    samples = np.subtract(*bootstrap([other_counts, counts])) * 100
    low, high = interval(samples)
    verdict = "the images cannot tell them apart" if low <= 0 <= high else "more than the choice of images explains"
    return (
        f"{other.name} − {one.name}: {other.score['mIOU'] - one.score['mIOU']:+.2f}, 95 % interval {low:+.2f} to "
        f"{high:+.2f} over {DRAWS} resamplings of {len(names)} images: {verdict}. Other seeds are not in it."
    )


def _cells(values: list[float | None]) -> list[str]:
    first, *others = values
    cells = [_number(first)]
    for value in others:
        cells += [_number(value), "–" if None in (first, value) else f"{value - first:+.2f}"]  # type: ignore[operator]
    return cells


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
