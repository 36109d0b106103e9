"""The columns of mIOU tables, one function each: the report and `adl table` pick theirs by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adl.console.text import MISSING, percentage
from adl.report.quoted import Quoted

NOTHING = "not measured yet"
"""What stands for a stage that has not run; `dvc repro` fills it."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A run of a table.

    published: the figures that it is compared with. is_ours: was it trained here? The other fields are of such a run:
    steps and score are empty until it is trained and evaluated. date: of its commit. val_images: of the val split.
    """

    name: str = ""
    date: str = ""
    data: str = ""
    published: Quoted | None = None
    is_ours: bool = True
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    steps: int | None = None
    score: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    val_images: int | None = None
    over_seeds: str = ""


Column = Callable[[Row], str]


def iterations(row: Row) -> str:
    if row.published:
        return row.published.iterations
    return NOTHING if row.steps is None else f"{row.steps:,} steps"


def steps(row: Row) -> str:
    return NOTHING if row.steps is None else f"{row.steps:,}"


def epochs(row: Row) -> str:
    return _parameter_or_published(row, "epochs")


def bn_momentum(row: Row) -> str:
    return _parameter_or_published(row, "bn_momentum")


def _parameter_or_published(row: Row, name: str) -> str:
    if row.is_ours:
        return parameter(name)(row)
    return str(getattr(row.published, name) or MISSING)


def parameter(name: str) -> Column:
    """The column of a parameter."""

    def column(row: Row) -> str:
        if name not in row.params:
            return MISSING
        value = row.params[name]
        return value if isinstance(value, str) else json.dumps(value)

    return column


def lookup(by_run: Mapping[str, str]) -> Column:
    """The column of what is known by the name of a run."""
    return lambda row: by_run[row.name]


def images(row: Row) -> str:
    scored = row.score["images"]
    return (
        f"{scored} of {row.val_images} (partial)"
        if scored < (row.val_images or 0)
        else str(row.val_images)
    )


def miou(row: Row) -> str:
    return percentage(row.score["mIOU"])


def miou_2021(row: Row) -> str:
    if row.published is None or row.published.miou is None:
        return MISSING
    return f"{row.published.miou:.2f} (quoted)"


def miou_of_paper(row: Row) -> str:
    return f"{row.published.paper:.2f} (quoted)" if row.published else MISSING


def miou_of_paper_plain(row: Row) -> str:
    return f"{row.published.paper:.2f}" if row.published else ""


def miou_of_this_project(row: Row) -> str:
    if not row.is_ours:
        return MISSING
    return f"**{row.score['mIOU']:.2f}**" if row.score else NOTHING


def interval(row: Row) -> str:
    """95 % of the resamplings of the images."""
    low, high = row.score.get("mIOU_low"), row.score.get("mIOU_high")
    return MISSING if low is None or high is None else f"{low:.2f} to {high:.2f}"


REPORT: dict[str, Column] = {
    "Itr": iterations,
    "mIOU of this project": miou_of_this_project,
    "95 % interval": interval,
    "mIOU 2021": miou_2021,
    "mIOU in paper": miou_of_paper,
    "epochs": epochs,
    "bn_momentum": bn_momentum,
    "data": lambda row: row.data,
}
"""Of the report's tables. The scores stand first, because a telephone shows no more than that."""


def of_runs(parameters: Sequence[str], digests: Mapping[str, Column]) -> dict[str, Column]:
    """Of `adl table`. parameters, digests: what the runs differ in."""
    return {
        "run": lambda row: row.name,
        "date": lambda row: row.date,
        "Itr": steps,
        "epochs": epochs,
        "bn_momentum": bn_momentum,
        **{name: parameter(name) for name in parameters},
        **digests,
        "images": images,
        "mIOU": miou,
        "95 % interval": interval,
        "over seeds": lambda row: row.over_seeds,
        "mIOU in paper (quoted)": miou_of_paper_plain,
    }


def cells(columns: Mapping[str, Column], rows: Sequence[Row]) -> list[list[str]]:
    """The text of a table, row by row."""
    texts = []
    for row in rows:
        texts.append([column(row) for column in columns.values()])
    return texts
