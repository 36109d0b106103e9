"""The learning curves: one row per epoch, as DVC plots and as a picture."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive import Live

from adl.report import figures

DECLARED = ("loss", "val_mIOU", "learning_rate")
"""Curves that dvc.yaml shows: DVC fails to load one whose file is missing, as where no epoch was validated."""


class Curves:
    """Rows as they come. folder None: nowhere."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self.live: Live | None = None

    def __enter__(self) -> Curves:
        if self.folder is not None:
            self.live = Live(str(self.folder), dvcyaml=None, save_dvc_exp=False, report=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.end()

    def log(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Add rows. What is not finite, as the mean loss where one overflowed, is a gap."""
        finite = [_finite(row) for row in rows]
        self.rows += finite
        if self.live is None or not finite:
            return
        *earlier, last = finite
        _append(self.live, earlier)
        self.live.step = int(last["epoch"])
        for name, value in _curves(last).items():
            self.live.log_metric(name, value)
        self.live.next_step()

    def draw(self) -> None:
        if self.folder is not None:
            for name in DECLARED:
                _append_to(self.folder, name, "")
            figures.save(figures.learning_curves(self.rows), self.folder / "curves.png")


def _finite(row: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: value for name, value in row.items() if value is not None and math.isfinite(value)
    }


def _curves(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "epoch"}


def _append(live: Live, rows: Sequence[Mapping[str, float]]) -> None:
    """What DVCLive would write for these rows, in one go: it takes ten milliseconds for each."""
    lines: dict[str, str] = collections.defaultdict(str)
    for row in rows:
        live.summary.update(_curves(row))
        for name, value in _curves(row).items():
            lines[name] += f"{int(row['epoch'])}\t{value!r}\n"
    for name, text in lines.items():
        _append_to(Path(live.dir), name, text)


def _append_to(folder: Path, name: str, text: str) -> None:
    """Add lines to the file of a curve, which begins with its header."""
    path = folder / f"plots/metrics/{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        if file.tell() == 0:
            file.write(f"step\t{name}\n")
        file.write(text)
