"""The learning curves: a row an epoch, as DVC plots and as a picture."""

from __future__ import annotations

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

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        if self.live is not None:
            self.live.step = int(row["epoch"])
            for name, value in row.items():
                if name != "epoch":
                    self.live.log_metric(name, value)
            self.live.next_step()

    def draw(self) -> None:
        if self.folder is not None:
            figures.save(figures.learning_curves(self.rows), self.folder / "curves.png")
