"""compare the IoU of runs class by class, the first against each of the others

reads:  dvc.lock and metrics/ of each revision and, to resample images, its reports/evaluate (from DVC's cache)
writes: a table to the terminal, and a picture: reports/compare.png, or --output

example: adl compare main workspace
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from adl.console.text import difference, percentage
from adl.errors import AdlError
from adl.files import check_output
from adl.workspace import REPORTS, as_path

if TYPE_CHECKING:
    from adl.report.history import Run


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "revisions",
        nargs="+",
        metavar="REV",
        help="branch, tag, commit or experiment; if only one is given, the workspace is compared with it",
    )
    command.add_argument(
        "--output",
        type=as_path,
        default=REPORTS / "compare.png",
        metavar="FILE",
        help="picture; default: %(default)s",
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.report import figures, history

    check_output(arguments.output, suffix=".png")
    revisions = list(arguments.revisions)
    if len(revisions) == 1:
        revisions.append(history.WORKSPACE)
    found = [history.load(revision) for revision in revisions]
    first, *others = found
    for other in others:
        if other.score["class_IOU"].keys() != first.score["class_IOU"].keys():
            raise AdlError(f"{first.name} and {other.name} were scored on other classes: nothing can be compared.")
    classes = [one.score["class_IOU"] | {"mIOU": one.score["mIOU"]} for one in found]
    print(table("class", revisions, classes), end="\n\n")
    categories = [one.score.get("category_IOU", {}) for one in found]
    if any(categories):
        print(table("category", revisions, categories), end="\n\n")
    for other in others:
        print(interval_of_difference(first, other))
    figures.save(figures.comparison({one.name: one.score["class_IOU"] for one in found}), arguments.output)
    print(f"{arguments.output}: the classes side by side")


def table(kind: str, runs: Sequence[str], iou: Sequence[dict[str, float | None]]) -> str:
    """A row per class or category: its IoU in each run and, but for the first run, how much it is above the first.

    kind: "class" or "category". runs: their names. iou: of each run, name → percent.
    """
    first, *others = runs
    headers = [kind, first]
    for run in others:
        headers += [run, "difference"]
    rows = []
    for name in iou[0]:
        value, *other_values = [of_run[name] for of_run in iou]
        row = [name, percentage(value)]
        for other in other_values:
            row += [percentage(other), difference(value, other)]
        rows.append(row)
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def interval_of_difference(one: Run, other: Run) -> str:
    """What resampling the images, the same for both, says about the difference of two runs' mIOU."""
    from adl.metrics.bootstrap import DRAWS, bootstrap, interval
    from adl.report import history

    title = f"{other.name} − {one.name}"
    try:
        names, counts = history.counts(one)
        other_names, other_counts = history.counts(other)
    except AdlError as error:
        return f"{title}: no interval for the difference. {error}"
    if names != other_names or not np.array_equal(counts.sum(axis=2), other_counts.sum(axis=2)):
        return f"{title}: no interval for the difference: they were scored on different images."
    low, high = interval(np.subtract(*bootstrap([other_counts, counts])) * 100)
    verdict = "larger than the choice of images can explain"
    if low <= 0 <= high:
        verdict = "these images cannot tell the two runs apart"
    return (
        f"{title}: {difference(one.score['mIOU'], other.score['mIOU'])}, 95 % interval {low:+.2f} to {high:+.2f} over "
        f"{DRAWS} resamplings of {len(names)} images: {verdict}. It does not include the variation between seeds."
    )
