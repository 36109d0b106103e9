"""What Python programs use: `adl.load`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import adl
from adl.errors import AdlError
from adl.predict.predictor import Predictor
from tests.conftest import ROOT
from tests.data import CITYSCAPES
from tests.fixtures import evaluated


@pytest.fixture
def model(models):
    return adl.load(models / "m.onnx")


def test_image_may_be_a_path_bytes_or_an_array(models, model, photograph, tmp_path):
    image = photograph(70, 90)
    path = tmp_path / "p.png"
    cv2.imwrite(str(path), image)
    expected = Predictor.load(models / "m.onnx", device_target="CPU", flip=True)(image)
    for given in (path, str(path), path.read_bytes(), image[..., ::-1]):
        found = model.predict(given)
        np.testing.assert_array_equal(found.labels, expected)
        np.testing.assert_array_equal(found.image, image[..., ::-1])
        assert found.probabilities is None
    for wrong in (image[..., 0], image.astype(float), 7):
        with pytest.raises(AdlError, match="an image is a path"):
            model.predict(wrong)


@pytest.mark.parametrize("name", ["m.onnx", "m.ckpt", "m.mindir"])
def test_probabilities_add_up_to_one_and_favour_the_labels(models, photograph, name):
    model = adl.load(models / name)
    image = photograph(64, 128)[..., ::-1]
    found = model.predict(image, probabilities=True)
    assert found.probabilities.shape == (19, 64, 128)
    np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.labels, model.predict(image).labels)


def test_prediction_is_a_picture_and_a_file(model, photograph, tmp_path):
    image = photograph(64, 128)[..., ::-1]
    found = model.predict(image)
    np.testing.assert_array_equal(found.overlay(), image // 2 + CITYSCAPES.palette[found.labels] // 2)
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(shown[..., ::-1], found.overlay())
    found.save(tmp_path / "labels.png")
    saved = cv2.imread(str(tmp_path / "labels.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(saved, CITYSCAPES.label_ids[found.labels])
    assert (
        list(found.shares)
        == [found.classes[i] for i in np.argsort(-np.bincount(found.labels.ravel()))][: len(found.shares)]
    )
    assert found.classes == model.classes == CITYSCAPES.class_names


def test_score_is_that_of_the_stage(models, evaluation_scenes, evaluation_data, tmp_path):
    result = evaluated(evaluation_data, models / "m.ckpt", tmp_path / "p", processes=0).metrics()
    found = adl.load(models / "m.ckpt").evaluate(evaluation_scenes)
    assert {name: found[name] for name in ("mIOU", "images", "class_IOU", "pixel_accuracy")} == {
        name: result[name] for name in ("mIOU", "images", "class_IOU", "pixel_accuracy")
    }
    with pytest.raises(AdlError, match="withheld"):
        adl.load(models / "m.ckpt").evaluate(evaluation_scenes, split="test")


def test_checkpoint_of_2021_needs_the_parameters(models, tmp_path, monkeypatch):
    (tmp_path / "old.ckpt").write_bytes((models / "m.ckpt").read_bytes())
    with pytest.raises(AdlError, match=r"old\.ckpt\.json: missing"):
        adl.load(tmp_path / "old.ckpt")
    monkeypatch.chdir(ROOT)
    with pytest.raises(AdlError, match="does not fit this network"):
        adl.load(tmp_path / "old.ckpt", "params.yaml")
