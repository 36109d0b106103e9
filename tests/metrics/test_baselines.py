"""Predictors without a network: majorities with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from adl.errors import AdlError
from adl.metrics.baselines import Baselines, Scores, Tally
from tests.data import CITYSCAPES


def test_scores_of_other_data_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(AdlError, match=r"not scored on b: they are of other data\. `dvc repro baselines`"):
        Scores(["a"], {"constant": np.ones((1, 19, 20), np.uint32)}).mean_ious(CITYSCAPES, ["a", "b"])
    with pytest.raises(AdlError, match=r"none\.npz: cannot be read .*`dvc repro baselines` makes it"):
        Scores.load(tmp_path / "none.npz")
    for content in (b"", b"PK\x03\x04 no more than the beginning", b"text"):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(AdlError, match=r"damaged\.npz: cannot be read"):
            Scores.load(tmp_path / "damaged.npz")


def tally_of(*samples: tuple[np.ndarray, list[list[int]]]) -> Tally:
    tally = Tally(19)
    for image, label in samples:
        tally.add(image, np.array(label, np.uint8))
    return tally


def test_majority_is_predicted():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 250
    tally = tally_of((image, [[1, 1], [2, 255]]))
    tally.merge(tally_of((image, [[1, 3], [2, 2]]), (np.zeros((1, 1, 3), np.uint8), [[255]])))
    predicted = Baselines(tally).predict(image)
    assert (predicted["constant"] == 1).all()
    np.testing.assert_array_equal(predicted["colour"], [[1, 1], [2, 2]])
    np.testing.assert_array_equal(predicted["position"], [[1, 1], [2, 2]])
    assert Baselines(tally).predict(np.zeros((1, 1, 3), np.uint8))["position"] == 1, "nothing was counted there"
    assert "position" not in Baselines(tally).predict(np.zeros((3, 3, 3), np.uint8))


def test_colours_are_told_apart_by_the_first_five_bits_of_each_channel():
    colours = np.array([[[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8], [255, 255, 255]]], np.uint8)
    fitted = Baselines(tally_of((colours, [[0, 1, 2, 3, 4]])))
    np.testing.assert_array_equal(fitted.predict(colours)["colour"], [[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(fitted.predict(colours | 7)["colour"], [[0, 1, 2, 3, 4]])


def test_more_than_65535_images_are_counted():
    tally = tally_of((np.zeros((1, 2, 3), np.uint8), [[3, 255]]))
    tally.counts[1, 2][3] = 65_535
    tally.add(np.zeros((1, 2, 3), np.uint8), np.array([[3, 3]], np.uint8))
    assert tally.counts[1, 2][3].tolist() == [[65_536, 65_536]]
    assert not tally.counts[1, 2][[0, 18]].any()
