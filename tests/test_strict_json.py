"""What is written as JSON is JSON: it has neither NaN nor an infinity, which Python would write and others refuse."""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path
from typing import Any

import numpy as np

from adl.config import params
from adl.files import write_json
from adl.parallel.world import ALONE
from adl.training import checkpoints
from adl.training.plan import Counters, LossScale, Plan, Stopwatch
from adl.training.state import Saved, State
from pipeline.train import write_outputs
from tests.conftest import ROOT, TINY

PLAN = Plan(images=4, steps_per_epoch=2, steps=6, first_step=0)


def strict(path: Path) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{path}: {word}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_what_is_not_finite_is_null(tmp_path):
    content = {
        "a": float("nan"),
        "b": [1.5, float("inf")],
        "c": {"d": (np.float64("-inf"), 2, "NaN", None, True)},
    }
    write_json(tmp_path / "x.json", content)
    assert strict(tmp_path / "x.json") == {
        "a": None,
        "b": [1.5, None],
        "c": {"d": [None, 2, "NaN", None, True]},
    }


def test_state_with_an_infinite_loss_is_strict_and_its_epoch_stays_without_a_mean(tmp_path):
    meta = {
        "position": 3,
        "losses": [2.5, float("inf"), float("nan")],
        "history": [{"epoch": 1, "loss": float("inf")}],
    }
    State(tmp_path).save(Saved({}, meta))
    with np.load(State(tmp_path).positions()[0]) as file:
        (tmp_path / "meta.json").write_bytes(file["meta"].tobytes())
    assert strict(tmp_path / "meta.json")["losses"] == [2.5, None, None]
    rest = {
        "step": 1,
        "skipped": 2,
        "skipped_in_a_row": 0,
        "loss_scale": dataclasses.asdict(LossScale()),
    }
    counters = Counters(plan=PLAN, **State(tmp_path).latest().meta | rest)
    assert counters.history == [{"epoch": 1, "loss": None}]
    counters.finish_epoch()
    assert not np.isfinite(counters.history[1]["loss"]), "as in the run that goes straight through"


def test_epoch_whose_loss_overflowed_leaves_a_gap_and_valid_files(tmp_path, monkeypatch):
    rates = {"learning_rate": 0.1}
    history = [{"epoch": 1, "loss": 2.0, **rates}, {"epoch": 2, "loss": float("inf"), **rates}]
    state = State(tmp_path / "state")
    monkeypatch.setattr(checkpoints.checkpoint, "save", lambda parameters, path: path.write_bytes(b"weights"))
    nothing_trained = types.SimpleNamespace(parameters=(), slots={})
    network = types.SimpleNamespace(architecture=TINY, parameters_and_names=dict)
    watch = Stopwatch()
    monkeypatch.setattr(watch, "speed", lambda _: {"ms_per_step": float("nan")})
    run = checkpoints.Run(
        state=state,
        weights=checkpoints.Weights(network, nothing_trained),
        counters=Counters(plan=PLAN, position=6, step=5, skipped=1, history=history),
        params=params.load(ROOT / "params.yaml"),
        manifest={"digest": "d", "images": 4},
        world=ALONE,
        stopwatch=watch,
    )
    run.write_result()
    write_outputs(state)
    files = [path for path in tmp_path.rglob("*.json") if path.stat().st_size]
    assert {str(path.relative_to(tmp_path)) for path in files} >= {
        "state/result/history.json", "metrics/train.json", "reports/train/metrics.json", "reports/speed/train.json",
    }  # fmt: skip
    for path in files:
        strict(path)
    assert strict(tmp_path / "metrics/train.json")["loss"] is None
    assert [row["loss"] for row in strict(tmp_path / "state/result/history.json")] == [2.0, None]
    curve = (tmp_path / "reports/train/plots/metrics/loss.tsv").read_text().splitlines()
    assert [line.split("\t") for line in curve] == [["step", "loss"], ["1", "2.0"]]
    assert (tmp_path / "reports/train/curves.png").exists()
