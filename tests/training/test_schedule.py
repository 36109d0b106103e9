"""The learning rate against published values."""

from __future__ import annotations

import numpy as np
import pytest

from adl.config import params
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.training.plan import Plan
from adl.training.schedules import warmup_poly
from tests.conftest import ROOT

PUBLISHED = {
    0: 5e-06,
    1: 5.046264430383423e-06,
    500: 0.0005000000000000238,
    999: 0.04954159724464308,
    1000: 0.05,
    5000: 0.04925186702545271,
    100000: 0.031044722186005194,
    241799: 7.169339885801428e-07,
}


def test_published_schedule():
    rates = warmup_poly(start=5e-6, base=0.05, minimum=0, warmup=1000, steps=241_800)
    assert len(rates) == 241_800
    for step, rate in PUBLISHED.items():
        assert rates[step] == pytest.approx(rate, rel=1e-12)


def test_rate_never_falls_below_the_minimum():
    rates = warmup_poly(start=1e-3, base=0.1, minimum=0.01, warmup=5, steps=50)
    assert rates.min() == 0.01
    assert rates.max() == pytest.approx(0.1)


def test_no_warmup_begins_at_the_base_rate():
    assert warmup_poly(start=1e-6, base=0.1, minimum=0, warmup=0, steps=10)[0] == 0.1


def test_published_epoch_has_186_steps():
    assert steps_per_epoch(2975, 16) == 186


def test_warmup_longer_than_the_run_is_refused_with_both_numbers():
    def planned(warmup: int) -> params.Params:
        values = {"epochs": 10, "batch_size": 2, "warmup_iters": warmup}
        return params.load(ROOT / "params.yaml", **values)

    with pytest.raises(AdlError, match="warmup_iters is 1000, but the whole run has 1000 steps"):
        Plan.of(planned(1000), images=200)
    assert Plan.of(planned(999), images=200).steps == 1000


def test_rates_are_monotone_on_both_sides_of_the_peak():
    rates = warmup_poly(start=1e-6, base=0.1, minimum=0, warmup=20, steps=100)
    assert (np.diff(rates[:21]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
