"""The learning curves: a row an epoch, as DVC plots and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from dvclive import Live

from adl import figures


class Curves:
    """Rows as they come. folder None: nowhere."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []

    def __enter__(self) -> Curves:
        self.live = Live(str(self.folder), dvcyaml=None, save_dvc_exp=False, report=None) if self.folder else None
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.live.end()

    def log(self, row: Mapping[str, float | None]) -> None:
        """What is not finite, as the mean loss where one overflowed, is a gap."""
        finite = {name: value for name, value in row.items() if value is not None and math.isfinite(value)}
        self.rows.append(finite)
        if self.live is not None:
            self.live.step = int(finite["epoch"])
            for name, value in finite.items():
                if name != "epoch":
                    self.live.log_metric(name, value)
            self.live.next_step()

    def draw(self) -> None:
        if self.folder is not None:
            figures.save(figures.learning_curves(self.rows), self.folder / "curves.png")
