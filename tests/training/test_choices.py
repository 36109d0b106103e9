"""Names of params.yaml, and the loss, the schedule and the optimizer that they stand for."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from adl import network
from adl.config import params
from adl.config.params import Params
from adl.report.performance import WORDS
from adl.training import losses, optimizers, schedules
from adl.training.optimizers import Momentum
from adl.training.schedules import warmup_poly
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("parameter", "table"),
    [
        ("criterion", losses.LOSSES),
        ("schedule", schedules.SCHEDULES),
        ("optimizer", optimizers.OPTIMIZERS),
    ],
)
def test_table_has_the_names_that_the_parameter_takes(parameter, table):
    names = get_args(Params.model_fields[parameter].annotation)
    assert names == tuple(table)
    assert all(WORDS[name] for name in names), "what the report says of it"


@pytest.mark.usefixtures("pynative")
def test_names_build_what_they_stand_for(tiny):
    values = {
        "warmup_start_lr": 0.01,
        "base_lr": 0.1,
        "min_lr": None,
        "warmup_iters": 2,
        "weight_decay": 0.25,
    }
    p = params.load(ROOT / "params.yaml", **values)
    expected = warmup_poly(start=0.01, base=0.1, minimum=0.0, warmup=2, steps=10)
    np.testing.assert_array_equal(schedules.SCHEDULES[p.schedule](p, 10), expected)
    optimizer = optimizers.OPTIMIZERS[p.optimizer](p, network.build(tiny))
    assert type(optimizer) is Momentum
    assert set(optimizer.decays) == {0.0, 0.25}
    assert optimizer.slots.keys() == {"moments"}, "as saved states name them"
