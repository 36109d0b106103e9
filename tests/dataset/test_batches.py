"""Training batches: form, completion, independence of workers."""

from __future__ import annotations

import types

import numpy as np
import pytest

from adl import workspace
from adl.dataset import records
from adl.dataset.augment import Normalise
from adl.dataset.batches import Batches
from tests.data import CITYSCAPES, write_record, write_scenes


@pytest.fixture(scope="module")
def record(once):
    """Of five images."""

    def make(folder):
        write_record(write_scenes(folder / "raw", train=5, val=1), "train", folder)

    return workspace.record("train", once("five-images", make))


def epoch(record, *, epoch=0, images=5, **changes):
    settings = {
        "seed": 1, "batch_size": 2, "crop_size": 48, "ignore_label": 255, "workers": 1,
        "min_scale": 0.5, "max_scale": 2.0,
    }  # fmt: skip
    batches = Batches(
        record=record,
        images=images,
        params=types.SimpleNamespace(**settings | changes),
        normalise=Normalise(CITYSCAPES),
    )
    return list(batches.epoch(epoch))


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


def test_one_image_is_cut_out_anew_in_every_epoch_and_alike_in_every_run(record):
    alone = {"images": 1, "batch_size": 1, "crop_size": 40}
    samples = [epoch(record, epoch=n, **alone)[0][0] for n in (0, 1, 2, 1)]
    assert len({sample.tobytes() for sample in samples}) == 3
    np.testing.assert_array_equal(samples[1], samples[3])


def test_ignored_pixels_get_the_ignore_label(record):
    labels = np.concatenate([labels for _, labels in epoch(record, ignore_label=99, crop_size=160)])
    assert 255 not in labels
    assert 99 in labels


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
    mean, std = CITYSCAPES.normalise.mean, CITYSCAPES.normalise.std
    for pixels, _ in epoch(record, crop_size=40, min_scale=1.0, max_scale=1.0):
        for sample in pixels:
            original = np.rint(sample.transpose(1, 2, 0) * 255 * np.array(std) + 255 * np.array(mean)).astype(np.uint8)
            assert original.tobytes() in windows
