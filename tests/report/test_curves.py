"""Learning curves: the rows of earlier attempts at once, then each as it comes."""

from __future__ import annotations

import json
import math

from dvclive import Live

from adl.report.curves import Curves

ROWS = [
    {"epoch": 1, "loss": 2.5, "learning_rate": 1e-05},
    {"epoch": 2, "loss": 1 / 3, "learning_rate": 0.1, "val_mIOU": 12.25},
    {"epoch": 3, "loss": math.inf, "learning_rate": 0.05},
    {"epoch": 4, "loss": None, "learning_rate": 0.01, "val_mIOU": 20.0},
    {"epoch": 5, "loss": 2.0, "learning_rate": 0.0},
]


def content(folder) -> dict[str, object]:
    curves = {path.name: path.read_bytes() for path in folder.rglob("*.tsv")}
    return curves | {"latest": json.loads((folder / "metrics.json").read_text())}


def test_history_at_once_gives_the_files_that_dvclive_writes_one_by_one(tmp_path, monkeypatch):
    with Live(str(tmp_path / "singly"), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        for row in ROWS:
            live.step = row["epoch"]
            for name, value in row.items():
                if name != "epoch" and value is not None and math.isfinite(value):
                    live.log_metric(name, value)
            live.next_step()
    steps, one_step = [], Live.next_step
    monkeypatch.setattr(Live, "next_step", lambda live: steps.append(live.step) or one_step(live))
    for at_once in range(len(ROWS) + 1):
        with Curves(tmp_path / str(at_once)) as curves:
            curves.log(ROWS[:at_once])
            assert steps == [row["epoch"] for row in ROWS[:at_once][-1:]], "one step, however long the history"
            for row in ROWS[at_once:]:
                curves.log([row])
        assert curves.rows == [{k: v for k, v in row.items() if v is not None and v < math.inf} for row in ROWS]
        assert content(tmp_path / str(at_once)) == content(tmp_path / "singly")
        steps.clear()


def test_curves_are_complete_when_they_are_left(tmp_path):
    ended = []
    with Curves(tmp_path) as curves:
        end = curves.live.end
        curves.live.end = lambda: ended.append(end())
    assert ended == [None]


def test_other_ranks_draw_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Curves(None) as curves:
        curves.log(ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_curves_make_no_experiment_and_no_report_of_their_own(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "adl.report.curves.Live",
        lambda folder, **options: given.update(options) or Live(folder, **options),
    )
    with Curves(tmp_path / "curves") as curves:
        curves.log(ROWS[:1])
    assert given == {"dvcyaml": None, "save_dvc_exp": False, "report": None}
