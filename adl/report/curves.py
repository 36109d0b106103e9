"""The learning curves: one row per epoch, as DVC plots and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from dvclive import Live

from adl.files import write_text
from adl.report import figures

DECLARED = ("loss", "val_mIOU", "learning_rate")
"""Curves that dvc.yaml shows: DVC fails to load one whose file is missing, as where no epoch was validated."""


class Curves:
    """Rows as they come. folder None: nowhere."""

    def __init__(self, folder: Path | None) -> None:
        self.live: Any = None
        if folder:
            self.live = Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
        self.rows: list[dict[str, float]] = []

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.end()

    def log(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Add rows. What is not finite, as the mean loss where one overflowed, is a gap."""
        finite = [_finite(row) for row in rows]
        self.rows += finite
        if not self.live or not finite:
            return
        # What DVCLive would write for these rows, in one go: it takes ten milliseconds for each.
        history = pd.DataFrame(finite).astype({"epoch": int}).set_index("epoch")
        for name, values in history.items():
            curve, path = values.dropna(), self._path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            curve.to_csv(path, sep="\t", mode="a", header=not path.exists(), index_label="step")
            self.live.summary[name] = curve.iloc[-1].item()
        self.live.step = history.index[-1].item()
        self.live.next_step()

    def draw(self) -> None:
        for name in DECLARED:
            path = self._path(name)
            if not path.exists():
                write_text(path, f"step\t{name}\n")
        figures.save(figures.learning_curves(self.rows), Path(self.live.dir) / "curves.png")

    def _path(self, name: str) -> Path:
        return Path(self.live.plots_dir) / f"metrics/{name}.tsv"


def _finite(row: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in row.items() if value is not None and math.isfinite(value)}
