"""Training batches: order, completion, augmentation, independence of workers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adl.dataset.batches import augment
from adl.dataset.batches import batches
from adl.dataset.batches import records
from adl.dataset.descriptor import (MEAN, STD)
from tests.data import write_record, write_scenes


@pytest.fixture(scope="module")
def record(once):
    """Of five images."""

    def make(folder):
        write_record(write_scenes(folder / "raw", train=5, val=1), "train", folder)

    return records.record_path(once("five-images", make), "train")


def epoch(record, **changes):
    settings = {
        "images": 5, "epoch": 0, "seed": 1, "batch_size": 2, "crop_size": 48, "ignore_label": 255, "workers": 1,
    }  # fmt: skip
    return list(batches.batches(record, **(settings | changes)))


def test_order_is_a_permutation_completed_from_its_own_start():
    order = batches.epoch_order(seed=3, epoch=2, images=2975, batch_size=16)
    assert len(order) == 186 * 16
    assert sorted(order[:2975]) == list(range(2975))
    np.testing.assert_array_equal(order[2975:], order[:1])
    assert not np.array_equal(order, batches.epoch_order(seed=3, epoch=3, images=2975, batch_size=16))


def test_fewer_images_than_a_batch_are_repeated():
    order = batches.epoch_order(seed=0, epoch=0, images=3, batch_size=8)
    assert sorted(np.bincount(order)) == [2, 3, 3]


def test_batches_have_the_promised_form(record):
    batches = epoch(record)
    assert len(batches) == 3
    for images, labels in batches:
        assert images.shape == (2, 3, 48, 48)
        assert images.dtype == np.float32
        assert labels.shape == (2, 48, 48)
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) <= {*range(19), 255}


def test_one_and_two_workers_give_equal_batches(record):
    for one, two in zip(epoch(record, workers=1), epoch(record, workers=2), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


def test_batch_larger_than_the_record_is_filled(record):
    (images, _), = epoch(record, batch_size=12)  # fmt: skip
    assert len(images) == 12


def test_seed_and_epoch_change_the_samples(record):
    first = epoch(record)[0][0]
    assert not np.array_equal(first, epoch(record, seed=2)[0][0])
    assert not np.array_equal(first, epoch(record, epoch=1)[0][0])


def test_ignored_pixels_get_the_ignore_label(record):
    labels = np.concatenate([labels for _, labels in epoch(record, ignore_label=99, crop_size=160)])
    assert 255 not in labels
    assert 99 in labels


def test_image_and_label_are_moved_alike(rng):
    """An image whose colour is its label stays one."""
    label = np.kron(rng.integers(0, 19, (8, 16)), np.ones((8, 8))).astype(np.uint8)
    image = np.repeat(label[..., None], 3, axis=2) * 10
    for seed in range(10):
        x, y = augment.augment(image, label, np.random.default_rng(seed), crop_size=96, ignore_label=255)
        inside = y != 255
        assert inside.any()
        assert (np.abs(x[..., 0].astype(int) - 10 * y.astype(int))[inside] <= 10).mean() > 0.75
        assert (x[~inside] == 0).all()


def test_scale_of_one_takes_windows_of_the_image_itself(record):
    # The scenes are 64×128: every crop of 40 is a window, upright or mirrored.
    images = [image for _, image, _ in records.read(record)]
    windows = {
        image[top : top + 40, left : left + 40][:, ::flip].tobytes()
        for image in images
        for top in range(25)
        for left in range(89)
        for flip in (1, -1)
    }
    for pixels, _ in epoch(record, crop_size=40, scales=(1.0, 1.0)):
        for sample in pixels:
            original = np.rint(sample.transpose(1, 2, 0) * 255 * STD + 255 * np.array(MEAN)).astype(np.uint8)
            assert original.tobytes() in windows


def test_scaled_sample_is_the_image_resized_with_its_aspect_ratio(rng):
    image, label = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), rng.integers(0, 19, (20, 30), dtype=np.uint8)
    for seed in range(4):
        x, y = augment.augment(
            image, label, np.random.default_rng(seed), crop_size=64, ignore_label=255, scales=(1.5, 1.5)
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
    x, y = augment.augment(image, label, rng, crop_size=64, ignore_label=255)
    assert y[0, 0] == 0
    assert y[-1, -1] == 255
    assert (x[y == 255] == 0).all()


def test_normalisation_takes_the_constants_in_channel_order():
    pixel = np.array([[[0, 128, 255]]], np.uint8)
    # As published: statistics of RGB, on blue, green and red.
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(augment.normalise(pixel)[0, 0], expected, rtol=1e-5)


def test_scales_and_mirrors_vary():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40] = 200
    label = (image[..., 0] > 0).astype(np.uint8)
    shares = [
        augment.augment(image, label, np.random.default_rng(s), crop_size=40, ignore_label=255)[1] for s in range(60)
    ]
    assert sum(s[0, 0] == 1 and 0 in s[0] for s in shares) > 3, "upright"
    assert sum(s[0, 0] == 0 and 1 in s[0] for s in shares) > 3, "mirrored"
    assert sum((s == 255).any() for s in shares) > 5, "smaller than the crop"
    assert sum((s != 255).all() for s in shares) > 20, "larger than the crop"
