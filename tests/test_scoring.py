"""Our IoU against the official script, on files as it reads them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

from adl.cityscapes import CATEGORIES, CLASS_NAMES, CLASSES
from adl.scoring import Confusion


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
    for _ in range(3):
        truth = rng.integers(0, 34, (40, 50)).astype(np.uint8)
        truth[np.isin(truth, absent)] = 7
        prediction = np.where(rng.random((40, 50)) < 0.6, truth, rng.integers(0, 34, (40, 50))).astype(np.uint8)
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
