"""Label maps of any size, from a checkpoint or an exported file."""

from __future__ import annotations

import math
import shutil

import cv2
import numpy as np
import pytest

from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export.exported import Exported
from adl.predict.predictor import Predictor
from tests.data import CITYSCAPES


@pytest.mark.parametrize("gives_labels", [False, True])
@pytest.mark.parametrize("takes", [None, (64, 128), (90, 60)])
def test_scaling_down_and_up_keeps_what_lies_where(takes, gives_labels):
    def blue_or_not(batch: np.ndarray) -> np.ndarray:
        blue = batch[:, None, :, :, 0].astype(np.float32) / 255
        p = np.concatenate([blue, 1 - blue], axis=1)
        return p.argmax(axis=1).astype(np.uint8) if gives_labels else p

    image = np.zeros((150, 200, 3), np.uint8)
    image[30:100, 20:80, 0] = 255
    model = Exported(blue_or_not, CITYSCAPES, takes, labels=gives_labels, name="m")
    labels = Predictor(model, Mode(mirror=True), longest_side=100)(image)
    expected = np.where(image[..., 0] > 0, 0, 1)
    border = cv2.morphologyEx(image[..., 0], cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(labels[~border], expected[~border])


@pytest.mark.parametrize(
    ("size", "takes", "longest_side", "given", "inner"),
    [
        ((100, 100), (64, 128), math.inf, (64, 128), (64, 64)),
        ((50, 200), (64, 64), math.inf, (64, 64), (16, 64)),
        ((20, 40), (64, 128), math.inf, (64, 128), (64, 128)),
        ((1, 300), (64, 64), math.inf, (64, 64), (1, 64)),
        ((300, 200), None, 150, (150, 100), (150, 100)),
        ((100, 50), None, 150, (100, 50), (100, 50)),
        ((600, 40), None, 300, (300, 33), (300, 33)),
        ((10, 50), None, math.inf, (33, 50), (33, 50)),
    ],
)
def test_network_sees_an_image_in_its_aspect_ratio_and_black_beside_it(size, takes, longest_side, given, inner):
    seen = []

    def look(batch: np.ndarray) -> np.ndarray:
        seen.append(batch[0])
        return np.zeros((1, 19, *batch.shape[1:3]), np.float32)

    predictor = Predictor(Exported(look, CITYSCAPES, takes, labels=False, name="m"), Mode(), longest_side)
    assert predictor(np.full((*size, 3), 200, np.uint8)).shape == size
    [canvas] = seen
    expected = np.zeros((*given, 3), np.uint8)
    expected[: inner[0], : inner[1]] = 200
    np.testing.assert_array_equal(canvas, expected)


def test_probabilities_are_enlarged_not_labels_and_images_are_averaged_when_they_shrink():
    seen = []

    def ramp(batch: np.ndarray) -> np.ndarray:
        seen.append(batch[0])
        rising = np.tile(np.arange(128, dtype=np.float32), (64, 1))
        return np.stack([np.full_like(rising, 30.1), rising])[None]

    image = np.zeros((128, 256, 3), np.uint8)
    image[:, ::2] = 200
    labels = Predictor(Exported(ramp, CITYSCAPES, (64, 128), labels=False, name="m"), Mode())(image)
    assert (seen[0] == 100).all()
    # Column X of the result lies at (X + 0.5) / 2 - 0.5 of the ramp, which passes 30.1 between columns 60 and 61.
    np.testing.assert_array_equal(labels, np.tile(np.arange(256) > 60, (128, 1)))


def test_labels_of_a_file_that_gives_no_others_are_enlarged_without_new_ones_in_between():
    def halves(batch: np.ndarray) -> np.ndarray:
        return np.tile(np.where(np.arange(128) < 50, 3, 11).astype(np.uint8), (1, 64, 1))

    model = Exported(halves, CITYSCAPES, (64, 128), labels=True, name="m")
    labels = Predictor(model, Mode(mirror=True))(np.zeros((128, 256, 3), np.uint8))
    np.testing.assert_array_equal(labels, np.tile(np.where(np.arange(256) < 100, 3, 11), (128, 1)))


def test_prediction_equals_that_of_the_stages(models, photograph):
    image = photograph(64, 128)
    of_checkpoint = Predictor.load(models / "m.ckpt", device_target="CPU", flip=True)(image)
    mindir = Predictor.load(models / "m.mindir", device_target="CPU", flip=True)
    of_mindir = mindir(image)
    assert isinstance(mindir.model, Exported)
    stage = mindir.model.label_maps(image[None], Mode(mirror=True))["flip"][0]
    np.testing.assert_array_equal(of_mindir, stage)
    assert (of_checkpoint == of_mindir).mean() > 0.999


@pytest.mark.parametrize(("size", "longest_side"), [((64, 128), math.inf), ((71, 103), math.inf), ((300, 200), 150)])
def test_onnx_takes_any_size_like_the_checkpoint(models, photograph, size, longest_side):
    image = photograph(*size)
    of_checkpoint, of_onnx = (
        Predictor.load(models / name, device_target="CPU", flip=True, longest_side=longest_side)(image)
        for name in ("m.ckpt", "m.onnx")
    )
    assert of_onnx.shape == size
    assert len(np.unique(of_onnx)) > 1
    assert (of_checkpoint == of_onnx).mean() > 0.999


@pytest.mark.parametrize(
    ("name", "sidecar", "message"),
    [
        ("m.pth", "{}", r"m\.pth: not a model; name a \.ckpt, \.mindir or \.onnx"),
        ("m.mindir", None, r"m\.mindir\.json: does not state the digest, the size of the input"),
    ],
)
def test_what_is_no_complete_model_is_refused(models, tmp_path, name, sidecar, message):
    shutil.copy(models / "m.mindir", tmp_path / name)
    (tmp_path / f"{name}.json").write_text(sidecar or (models / "m.ckpt.json").read_text())
    with pytest.raises(AdlError, match=message):
        Predictor.load(tmp_path / name, device_target="CPU", flip=True)


def test_exported_file_without_its_sidecar_is_refused_in_words(models, tmp_path):
    shutil.copy(models / "m.mindir", tmp_path)
    with pytest.raises(AdlError, match=r"json: cannot be read \(No such file or directory\)\. Keep it"):
        Predictor.load(tmp_path / "m.mindir", device_target="CPU", flip=True)


def test_mindir_does_several_scales_only_as_a_checkpoint(models):
    with pytest.raises(AdlError, match="has a single scale"):
        Predictor.load(models / "m.mindir", device_target="CPU", flip=True, multiscale=True)
