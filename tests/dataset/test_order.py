"""Which samples an epoch shows, in which order."""

from __future__ import annotations

import numpy as np

from adl.dataset.order import epoch_order


def test_order_is_a_permutation_completed_from_its_own_start():
    order = epoch_order(seed=3, epoch=2, images=2975, batch_size=16)
    assert len(order) == 186 * 16
    assert sorted(order[:2975]) == list(range(2975))
    np.testing.assert_array_equal(order[2975:], order[:1])
    assert not np.array_equal(order, epoch_order(seed=3, epoch=3, images=2975, batch_size=16))


def test_fewer_images_than_a_batch_are_repeated():
    order = epoch_order(seed=0, epoch=0, images=3, batch_size=8)
    assert sorted(np.bincount(order)) == [2, 3, 3]


def test_order_is_the_one_that_committed_results_and_saved_states_go_on_from():
    orders = [epoch_order(seed=0, epoch=n, images=6, batch_size=4).tolist() for n in (0, 1)]
    assert orders == [[1, 4, 5, 3, 2, 0, 1, 4], [0, 5, 4, 1, 3, 2, 0, 5]]
