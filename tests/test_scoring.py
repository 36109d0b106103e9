"""Our IoU against the official script, on files as it reads them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

from adl.dataset.descriptor import (CATEGORIES, CLASS_NAMES, CLASSES)
from adl.scoring.confusion import Confusion, bootstrap, interval, mean


def official_scores(pairs, folder, monkeypatch) -> dict:
    """Write truth and prediction as PNGs and run the official evaluation on them."""
    files = {"truth": [], "prediction": []}
    for i, pair in enumerate(pairs):
        for kind, image in zip(files, pair, strict=True):
            files[kind].append(str(folder / f"{kind}_{i}.png"))
            cv2.imwrite(files[kind][-1], image)
    for name, value in {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True, "bold": ""}.items():
        monkeypatch.setattr(official.args, name, value)
    monkeypatch.setattr(official.args, "groundTruthSearch", "unused")
    return official.evaluateImgLists(files["prediction"], files["truth"], official.args)


def agree(ours: float | None, theirs: float) -> None:
    if ours is None:
        assert np.isnan(theirs)
    else:
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_class_and_category_iou_equal_the_official_script(tmp_path, monkeypatch, rng, capsys):
    """With void ground truth, void predictions, classes that are absent and classes that are only predicted."""
    absent = [label.id for label in CLASSES[3:6]]
    pairs = []
    for size in ((1024, 2048), (40, 50)):
        truth = rng.integers(0, 34, size).astype(np.uint8)
        truth[np.isin(truth, absent)] = 7
        prediction = np.where(rng.random(size) < 0.6, truth, rng.integers(0, 34, size)).astype(np.uint8)
        prediction[np.isin(prediction, absent[:2])] = 8
        pairs.append((truth, prediction))
    theirs = official_scores(pairs, tmp_path, monkeypatch)
    confusion = Confusion()
    for truth, prediction in pairs:
        confusion.add(truth, prediction)
    ours, ours_by_category = confusion.class_iou(), confusion.category_iou()
    assert ours[CLASS_NAMES[3]] is None, "in neither"
    assert ours[CLASS_NAMES[5]] == 0, "only predicted"
    for name in CLASS_NAMES:
        agree(ours[name], theirs["classScores"][name])
    for name in CATEGORIES:
        agree(ours_by_category[name], theirs["categoryScores"][name])
    agree(confusion.mean_iou(), theirs["averageScoreClasses"])
    agree(mean(ours_by_category), theirs["averageScoreCategories"])


def test_known_answer():
    truth = np.array([[7, 7, 8, 0]], np.uint8)
    prediction = np.array([[7, 8, 0, 7]], np.uint8)
    confusion = Confusion()
    confusion.add(truth, prediction)
    iou = confusion.class_iou()
    assert iou["road"] == 0.5, "void ground truth counts nowhere"
    assert iou["sidewalk"] == 0, "a void prediction on a valid pixel is a false negative"
    assert iou["sky"] is None
    assert confusion.mean_iou() == 0.25
    assert confusion.category_iou()["flat"] == pytest.approx(2 / 3)
    assert confusion.pixel_accuracy() == pytest.approx(1 / 3)
    assert confusion.of_classes()[0].tolist() == [1, 1, *[0] * 18]
    assert confusion.of_classes()[1].tolist() == [*[0] * 19, 1]


def test_nothing_counted_is_no_score():
    confusion = Confusion()
    confusion.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 7, np.uint8))
    assert confusion.mean_iou() is None
    assert confusion.pixel_accuracy() is None


@pytest.mark.parametrize(
    ("truth", "prediction"), [(np.zeros((2, 2)), np.zeros((2, 3))), (np.full((1, 1), 255), np.zeros((1, 1)))]
)
def test_what_cannot_be_counted_is_refused(truth, prediction):
    with pytest.raises(ValueError, match=r"truth is|label ids"):
        Confusion().add(truth.astype(np.uint8), prediction.astype(np.uint8))


def test_accuracies_have_their_known_answers():
    truth = np.array([[7, 7, 7, 8, 0]], np.uint8)
    confusion = Confusion()
    confusion.add(truth, np.array([[7, 7, 8, 8, 7]], np.uint8))
    # Road: 2 of 3 right, IoU 2/3. Sidewalk: 1 of 1 right, IoU 1/2.
    assert confusion.mean_accuracy() == pytest.approx((2 / 3 + 1) / 2)
    assert confusion.frequency_weighted_iou() == pytest.approx((3 * 2 / 3 + 1 * 1 / 2) / 4)
    assert Confusion().mean_accuracy() is None
    assert Confusion().frequency_weighted_iou() is None


def test_class_that_is_only_predicted_counts_for_iou_and_not_for_accuracy():
    confusion = Confusion()
    confusion.add(np.array([[7, 7, 7, 7]], np.uint8), np.array([[7, 7, 7, 23]], np.uint8))
    assert confusion.mean_accuracy() == 0.75, "sky has no pixels that could be right"
    assert confusion.mean_iou() == pytest.approx((0.75 + 0) / 2)
    assert confusion.frequency_weighted_iou() == 0.75


def test_interval_is_the_middle_95_percent():
    assert interval(np.random.default_rng(0).permutation(1001) / 1000) == pytest.approx((0.025, 0.975))


def counted(*shares: float) -> np.ndarray:
    """One matrix an image: so much of its 100 road pixels is right, the rest is sidewalk."""
    matrices = np.zeros((len(shares), 34, 34), np.int64)
    for i, share in enumerate(shares):
        matrices[i, 7, 7], matrices[i, 7, 8] = round(100 * share), round(100 * (1 - share))
        matrices[i, 8, 8] = 50
    return matrices


def test_bootstrap_spreads_with_the_images_and_surrounds_the_score(rng):
    shares = rng.uniform(0.3, 0.9, 40)
    samples = bootstrap([counted(*shares)])[0]
    score = Confusion(counted(*shares).sum(axis=0)).mean_iou()
    low, high = interval(samples)
    assert low < score < high
    # The spread of a mean over the images, from theory, is what resampling finds.
    single = np.array([Confusion(m[None].sum(axis=0)).mean_iou() for m in counted(*shares)])
    assert samples.std() == pytest.approx(single.std() / np.sqrt(40), rel=0.3)
    assert interval(bootstrap([counted(0.5, 0.5, 0.5)])[0]) == pytest.approx((score_of(0.5), score_of(0.5)))
    np.testing.assert_array_equal(samples, bootstrap([counted(*shares)])[0])


def score_of(share: float) -> float:
    return Confusion(counted(share).sum(axis=0)).mean_iou()


def test_paired_bootstrap_draws_the_same_images_for_both(rng):
    shares = rng.uniform(0.3, 0.9, 40)
    one, other = bootstrap([counted(*shares), counted(*(shares - 0.02))])
    assert interval(one - other)[0] > 0, "better on every image"
    assert np.ptp(one - other) < np.ptp(one) / 5


def rare_and_badly_found() -> np.ndarray:
    """20 images with road, all of it right; in the first also traffic light, one pixel in ten of it right."""
    matrices = np.zeros((20, 34, 34), np.int64)
    matrices[:, 7, 7] = 100
    matrices[0, 19, 19], matrices[0, 19, 7] = 1, 9
    return matrices


def test_class_that_a_resampling_misses_keeps_its_iou_of_the_whole():
    matrices = rare_and_badly_found()
    score = Confusion(matrices.sum(axis=0)).mean_iou()
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
    other[0, 19, 19], other[0, 19, 7] = 9, 1
    differences = np.subtract(*bootstrap([other, one]))
    assert differences.min() > 0.3, "better on the only image that tells, which every resampling knows of"
    only_predicted = one.copy()
    only_predicted[:, 7, 23] = 1
    assert bootstrap([only_predicted])[0].max() < 0.7, "sky is predicted where it is not, and counts with IoU 0"


def test_class_that_occurs_nowhere_is_left_out_of_every_resampling():
    matrices = np.zeros((2, 34, 34), np.int64)
    matrices[0, 7, 7] = matrices[1, 8, 8] = 10
    assert set(bootstrap([matrices])[0]) == {1.0}
