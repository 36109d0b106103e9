"""Our IoU against the official script, on files as it reads them."""

from __future__ import annotations

import numpy as np
import pytest

from adl.metrics.confusion import Confusion, mean
from tests.data import CITYSCAPES, like_cityscapes
from tests.official import official_scores

ROAD, SIDEWALK, SKY, VOID = 0, 1, 10, 255


def agree(ours: float | None, theirs: float) -> None:
    if ours is None:
        assert np.isnan(theirs)
    else:
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_class_and_category_iou_equal_the_official_script(tmp_path, monkeypatch, rng, capsys):
    """With void ground truth, void predictions, classes that are absent and classes that are only predicted."""
    absent = [label.values[0] for label in CITYSCAPES.classes[3:6]]
    pairs = []
    for size in ((1024, 2048), (40, 50)):
        truth = rng.integers(0, 34, size).astype(np.uint8)
        truth[np.isin(truth, absent)] = 7
        prediction = np.where(rng.random(size) < 0.6, truth, rng.integers(0, 34, size)).astype(np.uint8)
        prediction[np.isin(prediction, absent[:2])] = 8
        pairs.append((truth, prediction))
    theirs = official_scores(pairs, tmp_path, monkeypatch)
    confusion = Confusion(CITYSCAPES)
    for truth, prediction in pairs:
        confusion.add(CITYSCAPES.train_ids[truth], CITYSCAPES.train_ids[prediction])
    ours, ours_by_category = confusion.class_iou(), confusion.category_iou()
    assert ours[CITYSCAPES.class_names[3]] is None, "in neither"
    assert ours[CITYSCAPES.class_names[5]] == 0, "only predicted"
    for name in CITYSCAPES.class_names:
        agree(ours[name], theirs["classScores"][name])
    for name in CITYSCAPES.categories:
        agree(ours_by_category[name], theirs["categoryScores"][name])
    agree(confusion.mean_iou(), theirs["averageScoreClasses"])
    agree(mean(ours_by_category), theirs["averageScoreCategories"])


def test_known_answer():
    truth = np.array([[ROAD, ROAD, SIDEWALK, VOID]], np.uint8)
    prediction = np.array([[ROAD, SIDEWALK, VOID, ROAD]], np.uint8)
    confusion = Confusion(CITYSCAPES)
    confusion.add(truth, prediction)
    iou = confusion.class_iou()
    assert iou["road"] == 0.5, "void ground truth counts nowhere"
    assert iou["sidewalk"] == 0, "a void prediction on a valid pixel is a false negative"
    assert iou["sky"] is None
    assert confusion.mean_iou() == 0.25
    assert confusion.category_iou()["flat"] == pytest.approx(2 / 3)
    assert confusion.accuracies()["pixel_accuracy"] == pytest.approx(1 / 3)
    assert confusion.counts[ROAD].tolist() == [1, 1, *[0] * 18]
    assert confusion.counts[SIDEWALK].tolist() == [*[0] * 19, 1]


def test_nothing_counted_is_no_score():
    confusion = Confusion(CITYSCAPES)
    confusion.add(np.full((2, 2), VOID, np.uint8), np.full((2, 2), ROAD, np.uint8))
    assert confusion.mean_iou() is None
    assert set(confusion.accuracies().values()) == {None}


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3))),
        (np.full((1, 1), 19), np.zeros((1, 1))),
        (np.zeros((1, 1)), np.full((1, 1), 254)),
    ],
)
def test_what_cannot_be_counted_is_refused(truth, prediction):
    with pytest.raises(ValueError, match=r"truth is|train ids beyond 18"):
        Confusion(CITYSCAPES).add(truth.astype(np.uint8), prediction.astype(np.uint8))


def test_accuracies_have_their_known_answers():
    truth = np.array([[ROAD, ROAD, ROAD, SIDEWALK, VOID]], np.uint8)
    confusion = Confusion(CITYSCAPES)
    confusion.add(truth, np.array([[ROAD, ROAD, SIDEWALK, SIDEWALK, ROAD]], np.uint8))
    # Road: 2 of 3 right, IoU 2/3. Sidewalk: 1 of 1 right, IoU 1/2.
    assert confusion.accuracies() == pytest.approx(
        {
            "pixel_accuracy": 3 / 4,
            "mean_accuracy": (2 / 3 + 1) / 2,
            "frequency_weighted_IOU": (3 * 2 / 3 + 1 * 1 / 2) / 4,
        }
    )
    assert set(Confusion(CITYSCAPES).accuracies().values()) == {None}


def test_class_that_is_only_predicted_counts_for_iou_and_not_for_accuracy():
    confusion = Confusion(CITYSCAPES)
    confusion.add(
        np.array([[ROAD, ROAD, ROAD, ROAD]], np.uint8),
        np.array([[ROAD, ROAD, ROAD, SKY]], np.uint8),
    )
    assert confusion.accuracies()["mean_accuracy"] == 0.75, "sky has no pixels that could be right"
    assert confusion.mean_iou() == pytest.approx((0.75 + 0) / 2)
    assert confusion.accuracies()["frequency_weighted_IOU"] == 0.75


def test_classes_without_categories_have_no_score_of_them():
    classes = [label.model_copy(update={"category": ""}) for label in CITYSCAPES.classes]
    confusion = Confusion(like_cityscapes(classes=[label.model_dump() for label in classes]))
    confusion.add(np.array([[ROAD, SKY]], np.uint8), np.array([[ROAD, ROAD]], np.uint8))
    assert confusion.category_iou() == {}
    assert confusion.mean_iou() == 0.25
