"""Names of params.yaml, and what they stand for: each table refuses an unknown one."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from adl import network
from adl.errors import AdlError
from adl.params import Params
from adl.training import choices
from adl.training.optimizer import Momentum
from adl.training.schedule import warmup_poly

RATES = {"start": 0.01, "base": 0.1, "minimum": 0.0, "warmup": 2, "steps": 10}


@pytest.mark.parametrize(
    ("parameter", "table"),
    [
        ("criterion", choices.LOSSES),
        ("schedule", choices.SCHEDULES),
        ("optimizer", choices.OPTIMIZERS),
    ],
)
def test_table_has_the_names_that_the_parameter_takes(parameter, table):
    assert get_args(Params.model_fields[parameter].annotation) == tuple(table)
    assert all(choice.words for choice in table.values())


def test_unknown_names_are_refused_with_the_nearest_one(tiny):
    with pytest.raises(AdlError, match=r"ohemcee: unknown criterion; did you mean ohemce\?"):
        choices.loss("ohemcee", ignore_label=255, pixels=9)
    with pytest.raises(AdlError, match=r"cosine: unknown schedule; available: poly"):
        choices.learning_rates("cosine", **RATES)
    with pytest.raises(AdlError, match=r"momentun: unknown optimizer; did you mean momentum\?"):
        choices.optimizer("momentun", None, weight_decay=0.0)


@pytest.mark.usefixtures("pynative")
def test_names_build_what_they_stand_for(tiny):
    np.testing.assert_array_equal(choices.learning_rates("poly", **RATES), warmup_poly(**RATES))
    optimizer = choices.optimizer("momentum", network.build(tiny), weight_decay=0.25)
    assert type(optimizer) is Momentum
    assert set(optimizer.decays) == {0.0, 0.25}
    assert optimizer.slots.keys() == {"moments"}, "as saved states name them"
