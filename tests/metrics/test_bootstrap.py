"""Resampling the images: how much a score depends on which were taken."""

from __future__ import annotations

import numpy as np
import pytest

from adl.metrics import Confusion
from adl.metrics.bootstrap import bootstrap, interval
from tests.data import CITYSCAPES

ROAD, SIDEWALK, LIGHT, SKY = 0, 1, 6, 10


def test_interval_is_the_middle_95_percent():
    assert interval(np.random.default_rng(0).permutation(1001) / 1000) == pytest.approx((0.025, 0.975))


def counted(*shares: float) -> np.ndarray:
    """One matrix per image: so much of its 100 road pixels is right, the rest is sidewalk."""
    matrices = np.zeros((len(shares), 19, 20), np.int64)
    for i, share in enumerate(shares):
        matrices[i, ROAD, ROAD], matrices[i, ROAD, SIDEWALK] = (
            round(100 * share),
            round(100 * (1 - share)),
        )
        matrices[i, SIDEWALK, SIDEWALK] = 50
    return matrices


def test_bootstrap_spreads_with_the_images_and_surrounds_the_score(rng):
    shares = rng.uniform(0.3, 0.9, 40)
    samples = bootstrap([counted(*shares)])[0]
    score = Confusion(CITYSCAPES, counted(*shares).sum(axis=0)).mean_iou()
    low, high = interval(samples)
    assert low < score < high
    # The spread of a mean over the images, from theory, is what resampling finds.
    single = np.array([Confusion(CITYSCAPES, m[None].sum(axis=0)).mean_iou() for m in counted(*shares)])
    assert samples.std() == pytest.approx(single.std() / np.sqrt(40), rel=0.3)
    assert interval(bootstrap([counted(0.5, 0.5, 0.5)])[0]) == pytest.approx((score_of(0.5), score_of(0.5)))
    np.testing.assert_array_equal(samples, bootstrap([counted(*shares)])[0])


def score_of(share: float) -> float:
    return Confusion(CITYSCAPES, counted(share).sum(axis=0)).mean_iou()


def test_paired_bootstrap_draws_the_same_images_for_both(rng):
    shares = rng.uniform(0.3, 0.9, 40)
    one, other = bootstrap([counted(*shares), counted(*(shares - 0.02))])
    assert interval(one - other)[0] > 0, "better on every image"
    assert np.ptp(one - other) < np.ptp(one) / 5


def rare_and_badly_found() -> np.ndarray:
    """20 images with road, all of it right; in the first also traffic light, one pixel in ten of it right."""
    matrices = np.zeros((20, 19, 20), np.int64)
    matrices[:, ROAD, ROAD] = 100
    matrices[0, LIGHT, LIGHT], matrices[0, LIGHT, ROAD] = 1, 9
    return matrices


def test_class_that_a_resampling_misses_keeps_its_iou_of_the_whole():
    matrices = rare_and_badly_found()
    score = Confusion(CITYSCAPES, matrices.sum(axis=0)).mean_iou()
    samples = bootstrap([matrices])[0]
    # Without the image of the rare class road would be all, and perfect; a third of the resamplings lack it.
    without = samples[samples == samples.max()]
    assert 0.3 < len(without) / len(samples) < 0.45
    np.testing.assert_allclose(without, (1 + 0.1) / 2)
    low, high = interval(samples)
    assert low <= score <= high
    assert high < 0.56


def test_paired_difference_is_that_of_the_classes_which_the_whole_counts():
    one, other = rare_and_badly_found(), rare_and_badly_found()
    other[0, LIGHT, LIGHT], other[0, LIGHT, ROAD] = 9, 1
    differences = np.subtract(*bootstrap([other, one]))
    assert differences.min() > 0.3, "better on the only image that tells, which every resampling knows of"
    only_predicted = one.copy()
    only_predicted[:, ROAD, SKY] = 1
    assert bootstrap([only_predicted])[0].max() < 0.7, "sky is predicted where it is not, and counts with IoU 0"


def test_class_that_occurs_nowhere_is_left_out_of_every_resampling():
    matrices = np.zeros((2, 19, 20), np.int64)
    matrices[0, ROAD, ROAD] = matrices[1, SIDEWALK, SIDEWALK] = 10
    assert set(bootstrap([matrices])[0]) == {1.0}
