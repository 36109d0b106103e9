"""The counters of a run, its loss scale, and its times."""

from __future__ import annotations

import json
import math

import pytest

from adl import device
from adl.config import params
from adl.errors import AdlError
from adl.training.plan import MOST_SKIPPED, Counters, LossScale, Plan, Stopwatch
from tests.conftest import ROOT

PLAN = Plan(images=8, steps_per_epoch=4, steps=40, first_step=0)


def test_loss_scale_halves_with_a_skipped_update_and_doubles_after_1000_others():
    scale = LossScale()
    scale.adjust(applied=False)
    assert scale.value == 2.0**15
    for _ in range(999):
        scale.adjust(applied=True)
    assert scale.value == 2.0**15
    scale.adjust(applied=True)
    assert scale.value == 2.0**16


def test_loss_scale_is_bounded():
    scale = LossScale()
    for applied, bound in ((True, 2.0**24), (False, 1.0)):
        for _ in range(20_000):
            scale.adjust(applied)
        assert scale.value == bound


def test_counters_tell_batches_from_updates_and_come_back_from_json():
    run = Counters(plan=PLAN, position=9, step=7)
    for loss, applied in ((2.0, True), (4.0, False), (3.0, True)):
        run.count(loss=loss, applied=applied)
    assert (run.position, run.step, run.skipped, run.skipped_in_a_row) == (12, 9, 1, 0)
    run.learning_rate = 0.5
    run.finish_epoch()
    assert run.history == [{"epoch": 3, "loss": 3.0, "learning_rate": 0.5}]
    assert run.losses == []
    assert Counters(plan=PLAN, **json.loads(json.dumps(run.model_dump()))) == run
    assert Counters(plan=PLAN, position=0, step=0).history == [], "each run has its own"


def test_second_infinite_loss_in_a_row_ends_a_run_as_does_the_33rd_skipped_update():
    infinite = Counters(plan=PLAN, position=0, step=0)
    infinite.count(loss=math.inf, applied=False)
    with pytest.raises(AdlError, match=r"step 0: loss inf, .* loss scale 16384; the loss stays"):
        infinite.count(loss=math.inf, applied=False)
    skipping = Counters(plan=PLAN, position=0, step=0)
    for _ in range(MOST_SKIPPED):
        skipping.count(loss=1.0, applied=False)
    with pytest.raises(AdlError, match="the gradients stay infinite"):
        skipping.count(loss=1.0, applied=False)


def test_peak_memory_is_in_mebibytes(monkeypatch):
    monkeypatch.setattr(device, "peak_memory", lambda: 5 * 2**20)
    watch = Stopwatch()
    watch.step_done()
    speed = watch.speed(params.load(ROOT / "params.yaml"))
    assert speed["peak_memory_mb"] == 5


def test_usual_step_is_the_median_without_the_first_which_compiles():
    watch = Stopwatch()
    p = params.load(ROOT / "params.yaml", batch_size=4, device_num=2)
    assert watch.speed(p) == {}, "no attempt took a step"
    watch.seconds = [9.0]
    assert watch.speed(p)["compile_seconds"] is None
    watch.seconds = [9.0, 0.5, 0.25, 0.5]
    speed = watch.speed(p)
    assert (speed["ms_per_step"], speed["compile_seconds"]) == (500.0, 8.5)
    assert (speed["samples_per_second"], speed["devices"]) == (8.0, 2)
    watch.seconds = [9.0, 0.12347]
    speed = watch.speed(p)
    assert (speed["ms_per_step"], speed["samples_per_second"]) == (123.5, 32.4)
    assert speed["compile_seconds"] == 8.9
    again = Stopwatch()
    again.resume({"total_seconds": 3600.0, "ms_per_step": 7.0})
    told = again.speed(p)
    assert told["ms_per_step"] == 7.0
    assert 3600 <= told["total_seconds"] < 3700
