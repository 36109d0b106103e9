"""The counters of a run, and its loss scale."""

from __future__ import annotations

from adl.training.counters import LossScale


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
