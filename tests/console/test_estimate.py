"""What a training takes on paper: scaled from the quoted step."""

from __future__ import annotations

import pytest

from adl.architecture import cost
from adl.config import recipes
from adl.console import estimate
from tests.conftest import ROOT


@pytest.fixture
def published(monkeypatch):
    monkeypatch.chdir(ROOT)
    return recipes.load("cityscapes-1.5M", {})


def test_step_on_ascend_is_scaled_from_the_quoted_one(published):
    # 440 ms for two images of S at crop 769; a quarter of the pixels is nearly a quarter of the work.
    assert estimate.workload(published).seconds_per_image == pytest.approx(0.22)
    quarter = estimate.workload(published.model_copy(update={"crop_size": 385}))
    assert quarter.seconds_per_image == pytest.approx(0.22 / 4, rel=0.02)
    # Cells of twice the channels have up to four times the work; the head, which is wider still, stays as it is.
    wide = estimate.workload(published.model_copy(update={"filter_multiplier": 40}))
    assert 1.5 * 0.22 < wide.seconds_per_image < 4 * 0.22


def test_batch_norm_waits_for_the_links_only_where_it_is_over_all_devices(published):
    apart = published.model_copy(update={"parallel": False})
    normed = [layer for layer in cost.layers(cost.Architecture(), 769, 769) if layer.norm]
    assert estimate.workload(published).synchronised == len(normed)
    assert estimate.workload(apart).synchronised == 0


@pytest.mark.parametrize(("target", "start"), [("CPU", 0), ("Ascend", 29 * 60)])
def test_time_grows_with_the_steps_from_that_of_the_start(published, target, start):
    once, twice = (estimate.training_seconds(published, steps=steps, device_target=target) for steps in (1000, 2000))
    assert once > start
    assert twice - start == pytest.approx(2 * (once - start))
