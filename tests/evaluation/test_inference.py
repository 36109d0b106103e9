"""From probabilities to labels: mirror, scales, average, argmax; with known fields in place of a network."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from adl import network
from adl.dataset.augment import Normalise
from adl.evaluation import inference
from adl.evaluation.inference import Mode
from tests.data import CITYSCAPES

normalise = Normalise(CITYSCAPES)

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (33, 40, 3), dtype=np.uint8)


def test_single_is_the_argmax_of_the_plain_network(tiny, image):
    net = network.build(tiny).set_train(False)
    logits = net(Tensor(normalise(image).transpose(2, 0, 1)[None]))
    labels = inference.label_maps(inference.passes(net, CITYSCAPES, Mode()), image[None], Mode())
    assert labels.keys() == {"single"}
    assert labels["single"].dtype == np.uint8
    np.testing.assert_array_equal(labels["single"], logits.asnumpy().argmax(axis=1))


def test_flip_averages_with_the_mirror_image_put_back():
    """A pass that knows columns: on the mirror image it says the opposite, more surely."""

    def run(batch):
        assert batch.shape == (1, 1, 4, 3)
        mirrored = batch.asnumpy()[0, 0, 0, 0] == 1
        p = np.zeros((1, 2, 1, 4), np.float32)
        p[0, 0] = [[0.6, 0.6, 0.6, 0.6]]
        p[0, 1] = [[0.9, 0.0, 0.0, 0.5]] if mirrored else [[0.4, 0.4, 0.4, 0.4]]
        return Tensor(p)

    images = np.zeros((1, 1, 4, 3), np.uint8)
    images[0, 0, 3] = 1
    labels = inference.label_maps({1.0: run}, images, Mode(mirror=True))
    np.testing.assert_array_equal(labels["single"], [[[0, 0, 0, 0]]])
    # The mirror's columns are 0.5, 0, 0, 0.9 once put back: 0.4 + 0.9 > 1.2 in the last column only.
    np.testing.assert_array_equal(labels["flip"], [[[0, 0, 0, 1]]])


def test_multiscale_averages_probabilities_of_all_scales():
    def sure_of(label, probability):
        p = np.full((1, 2, 1, 1), 1 - probability, np.float32)
        p[0, label] = probability
        return lambda batch: Tensor(p)

    images = np.zeros((1, 1, 1, 3), np.uint8)
    labels = inference.label_maps(
        {0.5: sure_of(1, 0.99), 1.0: sure_of(0, 0.6)}, images, Mode(multiscale=True, mirror=True)
    )
    assert {mode: int(m[0, 0, 0]) for mode, m in labels.items()} == {
        "single": 0, "flip": 0, "multiscale": 1, "multiscale_flip": 1,
    }  # fmt: skip
    labels = inference.label_maps(
        {0.5: sure_of(0, 0.6), 1.0: sure_of(0, 0.99)}, images, Mode(multiscale=True, mirror=True)
    )
    assert {int(m[0, 0, 0]) for m in labels.values()} == {0}


class Ramp(nn.Cell):
    """Logits that are the image itself, so that a scaled pass must give back the same smooth field."""

    def construct(self, x):
        return ops.cat([x[:, :1], -x[:, :1]], axis=1)


def test_scaled_pass_of_a_smooth_field_is_the_field():
    columns = np.linspace(0, 255, 65).round().astype(np.uint8)
    image = np.repeat(np.repeat(columns[None, :, None], 33, axis=0), 3, axis=2)
    batch = Tensor(image[None])
    plain = inference.Probabilities(Ramp(), CITYSCAPES, 1.0)(batch).asnumpy()
    for scale in inference.MULTISCALE:
        scaled = inference.Probabilities(Ramp(), CITYSCAPES, scale)(batch).asnumpy()
        assert scaled.shape == plain.shape
        assert np.abs(scaled - plain).max() < 0.02, scale


class Steep(nn.Cell):
    """Logits that follow every pixel."""

    def construct(self, x):
        return ops.cat([6 * x, -6 * x[:, :1]], axis=1)


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, H, W) → (C, *size), bilinear, the corners' centres kept in place: one matrix per axis."""

    def along(old: int, new: int) -> np.ndarray:
        places = np.arange(new) * (old - 1) / (new - 1)
        low = np.minimum(places.astype(int), old - 2)
        weights = np.zeros((new, old))
        weights[np.arange(new), low] = 1 - (places - low)
        weights[np.arange(new), low + 1] += places - low
        return weights

    return along(x.shape[1], size[0]) @ x @ along(x.shape[2], size[1]).T


@pytest.mark.parametrize("scale", inference.MULTISCALE)
def test_scaled_pass_equals_its_definition(rng, scale):
    """Image scaled, then the network, then softmax, then the probabilities scaled back: with the corners kept."""
    image = rng.integers(0, 256, (33, 65, 3), dtype=np.uint8)
    x = resized(
        normalise(image).transpose(2, 0, 1).astype(np.float64),
        (round(33 * scale), round(65 * scale)),
    )
    logits = np.concatenate([6 * x, -6 * x[:1]])
    e = np.exp(logits - logits.max(axis=0))
    expected = resized(e / e.sum(axis=0), (33, 65))
    found = inference.Probabilities(Steep(), CITYSCAPES, scale)(Tensor(image[None])).asnumpy()[0]
    assert np.abs(found - expected).max() < 1e-4
    assert np.ptp(expected) > 0.9


@pytest.mark.parametrize(
    ("multiscale", "flip", "expected"),
    [
        (False, False, "single"),
        (False, True, "flip"),
        (True, False, "multiscale"),
        (True, True, "multiscale_flip"),
    ],
)
def test_parameters_select_the_mode(multiscale, flip, expected):
    mode = Mode(multiscale=multiscale, mirror=flip)
    assert mode.name == expected
    assert len(mode.scales) == (6 if multiscale else 1)
