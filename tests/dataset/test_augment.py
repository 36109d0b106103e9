"""What happens to one training sample."""

from __future__ import annotations

import cv2
import numpy as np

from adl.dataset.augment import Normalise, augment
from tests.data import CITYSCAPES

SCALES = (0.5, 2.0)
"""As published."""


def test_image_and_label_are_moved_alike(rng):
    """An image whose colour is its label stays one."""
    label = np.kron(rng.integers(0, 19, (8, 16)), np.ones((8, 8))).astype(np.uint8)
    image = np.repeat(label[..., None], 3, axis=2) * 10
    for seed in range(10):
        x, y = augment(image, label, np.random.default_rng(seed), crop_size=96, scales=SCALES)
        inside = y != 255
        assert inside.any()
        assert (np.abs(x[..., 0].astype(int) - 10 * y.astype(int))[inside] <= 10).mean() > 0.75
        assert (x[~inside] == 0).all()


def test_scaled_sample_is_the_image_resized_with_its_aspect_ratio(rng):
    image, label = (
        rng.integers(0, 256, (20, 30, 3), dtype=np.uint8),
        rng.integers(0, 19, (20, 30), dtype=np.uint8),
    )
    for seed in range(4):
        x, y = augment(
            image,
            label,
            np.random.default_rng(seed),
            crop_size=64,
            scales=(1.5, 1.5),
        )
        mirror = -1 if np.random.default_rng(seed).random() < 0.5 else 1
        expected = cv2.resize(image[:, ::mirror], (45, 30), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_array_equal(x[:30, :45], expected)
        nearest = cv2.resize(label[:, ::mirror].copy(), (45, 30), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(y[:30, :45], nearest)
        assert (y[30:] == 255).all()
        assert (y[:, 45:] == 255).all()


def test_padding_is_below_and_right(rng):
    image, label = np.full((20, 30, 3), 9, np.uint8), np.zeros((20, 30), np.uint8)
    x, y = augment(image, label, rng, crop_size=64, scales=SCALES)
    assert y[0, 0] == 0
    assert y[-1, -1] == 255
    assert (x[y == 255] == 0).all()


def test_normalisation_takes_the_constants_in_channel_order():
    pixel = np.array([[[0, 128, 255]]], np.uint8)
    # As published: statistics of RGB, on blue, green and red.
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(Normalise(CITYSCAPES)(pixel)[0, 0], expected, rtol=1e-5)


def test_scales_and_mirrors_vary():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40] = 200
    label = (image[..., 0] > 0).astype(np.uint8)
    shares = [augment(image, label, np.random.default_rng(s), crop_size=40, scales=SCALES)[1] for s in range(60)]
    assert sum(s[0, 0] == 1 and 0 in s[0] for s in shares) > 3, "upright"
    assert sum(s[0, 0] == 0 and 1 in s[0] for s in shares) > 3, "mirrored"
    assert sum((s == 255).any() for s in shares) > 5, "smaller than the crop"
    assert sum((s != 255).all() for s in shares) > 20, "larger than the crop"
