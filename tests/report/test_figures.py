"""Pictures: the colours in the files, and what a row without a value does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adl.report import figures
from tests.data import CITYSCAPES


def colours_of(path) -> set[tuple[int, ...]]:
    """RGB of a PNG, without what hardly occurs."""
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    found, pixels = np.unique(image.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour in found[pixels > 0.05 * pixels.sum()].tolist()}


def test_overlay_shows_image_and_labels_in_their_own_colours(tmp_path):
    road, sky = (next(label for label in CITYSCAPES.classes if label.name == name) for name in ("road", "sky"))
    image = np.full((60, 120, 3), (200, 120, 10), np.uint8)
    truth, prediction = (
        np.full((60, 120), CITYSCAPES.class_names.index(label.name), np.uint8) for label in (road, sky)
    )
    figure = figures.overlay(image, truth=truth, prediction=prediction, dataset=CITYSCAPES, title="x")
    figures.save(figure, tmp_path / "overlay.png")
    assert colours_of(tmp_path / "overlay.png") == {
        (255, 255, 255), (200, 120, 10), road.colour, sky.colour, (213, 94, 0),
    }  # fmt: skip


def test_pixels_that_are_wrong_and_those_that_are_not_scored_have_colours_of_their_own():
    truth = np.array([[0, 0, 255]], np.uint8)
    bright = figures.errors(np.full((1, 3, 3), 200, np.uint8), truth, truth, 19)
    assert bright[0, 0].tolist() == [220, 220, 220], "paler than the image"
    picture = figures.errors(np.zeros((1, 3, 3), np.uint8), truth, np.array([[0, 1, 0]], np.uint8), 19)
    right, wrong, not_scored = picture[0].tolist()
    assert right == [120, 120, 120]
    assert wrong == [213, 94, 0], "vermilion"
    assert not_scored == [240, 228, 66], "yellow, as in the legend, whatever lies below"


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


def test_legend_has_the_colours_of_the_picture(tmp_path, rng):
    """Each colour of the labels and of the errors stands in the legend as it stands in the picture."""
    image = rng.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    truth = np.repeat(np.arange(32, dtype=np.uint8), 4).reshape(1, 128).repeat(64, axis=0)
    truth[truth >= 19] = 255
    figure = figures.overlay(image, truth=truth, prediction=truth[:, ::-1], dataset=CITYSCAPES, title="x")
    [legend] = figure.legends
    named = {
        text.get_text(): tuple(round(255 * value) for value in patch.get_facecolor()[:3])
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    panels = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes}
    for name, label in zip(CITYSCAPES.class_names, CITYSCAPES.classes, strict=True):
        place = CITYSCAPES.class_names.index(name)
        assert named[name] == label.colour == tuple(panels["ground truth"][0, 4 * place]), name
    assert named["void (other)"] == tuple(panels["ground truth"][0, -1])
    assert named["wrong"] == tuple(panels["errors"][0, 0])
    assert named["not scored"] == tuple(panels["errors"][0, -1])


@pytest.fixture
def shown():
    """shown(figure): its axes, laid out."""

    def axes(figure):
        figure.draw_without_rendering()
        return figure.axes

    return axes


def bars(axis) -> list[tuple[str, float]]:
    """(name, length) of the horizontal bars, from below."""
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    return [(names[round(bar.get_y() + bar.get_height() / 2)], bar.get_width()) for bar in axis.patches]


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_bars_of_the_classes_are_sorted_with_the_mean_and_the_best_baseline(shown):
    iou = {"road": 90.0, "wall": None, "car": 30.0, "sky": 60.0}
    (axis,) = shown(figures.class_bars(iou, {"constant": 5.0, "position": 40.0, "colour": 20.0}))
    assert bars(axis) == [("car", 30.0), ("sky", 60.0), ("road", 90.0)]
    assert texts(axis) == ["30.0", "60.0", "90.0"]
    assert [line.get_xdata()[0] for line in axis.lines] == [60.0, 40.0]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["mean 60.0", "best baseline (position) 40.0"]
    assert max(line.get_zorder() for line in axis.lines) < min(bar.get_zorder() for bar in axis.patches)
    (alone,) = shown(figures.class_bars(iou, {}))
    assert len(alone.lines) == 1


def test_frequency_stands_beside_iou_in_one_order(shown):
    pixels = {"road": 600, "car": 100, "sky": 300}
    left, right = shown(figures.frequency_against_iou(pixels, {"road": 90.0, "car": None, "sky": 60.0}))
    assert bars(left) == [("car", 10.0), ("sky", 30.0), ("road", 60.0)]
    assert [bar.get_width() for bar in right.patches] == [0, 60.0, 90.0]
    assert texts(right) == ["–", "60.0", "90.0"]
    assert left.get_position().x1 < right.get_position().x0, "side by side"
    assert left.get_xlim()[0] > left.get_xlim()[1], "the rare ones reach far to the left of a logarithmic scale"


def test_comparison_has_the_runs_of_a_class_side_by_side(shown):
    runs = {
        run: {name: 10.0 * i + j for j, name in enumerate(CITYSCAPES.class_names)}
        for i, run in enumerate(("a", "b", "c"))
    }
    runs["b"][CITYSCAPES.class_names[3]] = None
    (axis,) = shown(figures.comparison(runs))
    assert [tick.get_text() for tick in axis.get_yticklabels()] == list(CITYSCAPES.class_names)
    of_run = [axis.patches[19 * i : 19 * (i + 1)] for i in range(3)]
    for number, (of_class, place) in enumerate(zip(zip(*of_run, strict=True), axis.get_yticks(), strict=True)):
        assert [bar.get_width() for bar in of_class] == [runs[run][CITYSCAPES.class_names[number]] or 0 for run in runs]
        centres = [bar.get_y() + bar.get_height() / 2 for bar in of_class]
        assert centres == sorted(centres, reverse=True), "from above, as in the legend"
        assert np.mean(centres) == pytest.approx(place)
        assert of_class[0].get_y() - of_class[1].get_y() == pytest.approx(of_class[0].get_height())
        assert of_class[0].get_height() * 3 < 1
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b", "c"]
    assert texts(axis)[19 + 3] == "–"
    assert len({bars[0].get_facecolor() for bars in of_run}) == 3


def test_confusion_shows_percents_of_each_true_class(shown):
    counts = np.zeros((19, 20))
    counts[0, 0], counts[0, 2], counts[0, 19] = 60, 39.8, 0.2
    (axis,) = shown(figures.confusion_matrix(counts, CITYSCAPES.class_names))
    assert {(text.get_position(), text.get_text()) for text in axis.texts} == {
        ((0, 0), "60"),
        ((2, 0), "40"),
    }
    assert [text.get_color() for text in axis.texts] == ["white", "black"]
    assert axis.images[0].get_array()[0, 19] == pytest.approx(0.2)
    names = [[tick.get_text() for tick in ticks] for ticks in (axis.get_xticklabels(), axis.get_yticklabels())]
    assert names == [[*CITYSCAPES.class_names, "void"], list(CITYSCAPES.class_names)]


def test_curves_show_loss_score_and_learning_rate_over_the_epochs(shown):
    rows = [{"epoch": n, "loss": 3.0 / n, "learning_rate": 0.1 * n} for n in (1, 2, 3)]
    rows[1]["val_mIOU"] = 20.0
    top, bottom, scores = shown(figures.learning_curves(rows))
    assert [line.get_xydata().tolist() for line in top.lines] == [[[1, 3.0], [2, 1.5], [3, 1.0]]]
    assert [line.get_xydata().tolist() for line in scores.lines] == [[[2, 20.0]]]
    np.testing.assert_allclose(bottom.lines[0].get_xydata(), [[1, 0.1], [2, 0.2], [3, 0.3]])
    assert (top.get_title(), top.get_ylabel(), bottom.get_xlabel()) == (
        "Learning curves",
        "mean loss",
        "epoch",
    )
