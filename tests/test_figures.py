"""Pictures: the colours in the files, and what a row without a value does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adl import figures
from adl.cityscapes import CLASSES


def colours_of(path) -> set[tuple[int, ...]]:
    """RGB of a PNG, without what hardly occurs."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    found, pixels = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour in found[pixels > 0.05 * pixels.sum()].tolist()}


def test_overlay_shows_image_and_labels_in_their_own_colours(tmp_path):
    road, sky = (next(label for label in CLASSES if label.name == name) for name in ("road", "sky"))
    image = np.full((60, 120, 3), (200, 120, 10), np.uint8)
    truth, prediction = np.full((60, 120), road.id, np.uint8), np.full((60, 120), sky.id, np.uint8)
    figures.save(figures.overlay(image, truth, prediction, title="x"), tmp_path / "overlay.png")
    assert colours_of(tmp_path / "overlay.png") == {
        (255, 255, 255), (200, 120, 10), road.color, sky.color, (213, 94, 0),
    }  # fmt: skip


def test_pixels_that_are_wrong_and_those_that_are_not_scored_have_colours_of_their_own():
    truth = np.array([[7, 7, 0]], np.uint8)
    picture = figures.errors(np.zeros((1, 3, 3), np.uint8), truth, np.array([[7, 8, 7]], np.uint8))
    right, wrong, not_scored = picture[0].tolist()
    assert right == [120, 120, 120]
    assert wrong == [213, 94, 0], "vermilion"
    red, green, blue = not_scored
    assert red > blue, "yellow over grey"
    assert green > blue


def test_preview_keeps_the_colours(tmp_path, rng):
    noise = rng.integers(0, 60, (300, 300, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "red.png"), noise + np.array([0, 0, 150], np.uint8))
    figures.preview(tmp_path / "red.png", tmp_path / "small.png", most_bytes=100_000)
    assert (tmp_path / "small.png").stat().st_size <= 100_000
    blue, green, red = cv2.imread(str(tmp_path / "small.png")).reshape(-1, 3).mean(axis=0)
    assert (blue, green, red) == pytest.approx((29.5, 29.5, 179.5), abs=2)


def test_epoch_without_a_loss_is_a_gap_in_the_curve():
    rows = [{"epoch": n, "loss": 3.0 - n, "learning_rate": 0.1} for n in (1, 2, 3)]
    del rows[1]["loss"]
    figure = figures.learning_curves(rows)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [2, np.nan, 0])
    figures.plt.close(figure)
