"""The facts of the data set, and what conversion refuses; on real files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label, labels

from adl import cityscapes
from adl.errors import AdlError
from tests.data import write_frame


def test_label_map_is_the_official_one():
    for label in labels:
        if label.id >= 0:
            assert cityscapes.TRAIN_ID[label.id] == (255 if label.trainId in (-1, 255) else label.trainId)
            assert tuple(cityscapes.COLOURS[label.id]) == label.color
    assert [id2label[cityscapes.LABEL_ID[i]].trainId for i in range(19)] == list(range(19))
    assert (cityscapes.LABEL_ID[19:] == 0).all()
    assert len(cityscapes.CLASS_NAMES) == 19
    assert len(cityscapes.CATEGORIES) == 7


def test_frames_are_sorted_by_city_and_name(tmp_path):
    for city, name in (("b", "b_000001_000019"), ("a", "a_000002_000019"), ("a", "a_000001_000019")):
        write_frame(tmp_path, "train", city, name)
    assert [f.name for f in cityscapes.frames(tmp_path, "train")] == [
        "a_000001_000019",
        "a_000002_000019",
        "b_000001_000019",
    ]


def test_only_label_ids_files_are_taken_for_labels(tmp_path):
    _, label = write_frame(tmp_path, "train", "a", "a_000001_000019")
    label.with_name(label.name.replace("labelIds", "labelTrainIds")).write_bytes(label.read_bytes())
    assert [f.label for f in cityscapes.frames(tmp_path, "train")] == [label]


def test_no_images_at_all_names_the_folder_that_was_meant(tmp_path):
    with pytest.raises(AdlError, match=r"no file leftImg8bit/train.*data_path must name the folder"):
        cityscapes.frames(tmp_path, "train")


def test_image_without_label_and_the_reverse_are_named(tmp_path):
    _, label = write_frame(tmp_path, "train", "a", "a_000001_000019")
    image, _ = write_frame(tmp_path, "train", "a", "a_000002_000019")
    label.unlink()
    image.unlink()
    with pytest.raises(AdlError) as error:
        cityscapes.frames(tmp_path, "train")
    assert "a_000001_000019_leftImg8bit.png: this image has no label" in str(error.value)
    assert "a_000002_000019_gtFine_labelIds.png: this label has no image" in str(error.value)


def test_another_number_than_expected_is_refused_with_both(tmp_path):
    write_frame(tmp_path, "val", "a", "a_000001_000019")
    with pytest.raises(AdlError, match="val split has 1 images, but expected_val_images is 500"):
        cityscapes.frames(tmp_path, "val", expected=500)


def truncate(image, label):
    image.write_bytes(image.read_bytes()[:-20])


def flip_a_bit(image, label):
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)


def empty(image, label):
    image.write_bytes(b"")


def jpeg(image, label):
    image.write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())


def grey(image, label):
    cv2.imwrite(str(image), np.zeros((8, 16), np.uint8))


def sixteen_bit_label(image, label):
    cv2.imwrite(str(label), np.zeros((8, 16), np.uint16))


def other_size(image, label):
    cv2.imwrite(str(label), np.zeros((8, 15), np.uint8))


def wrong_id(image, label):
    cv2.imwrite(str(label), np.full((8, 16), 200, np.uint8))


def unreadable(image, label):
    image.unlink()
    image.symlink_to("nowhere.png")


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (truncate, "image", "truncated"),
        (flip_a_bit, "image", "wrong checksum"),
        (empty, "image", "empty"),
        (jpeg, "image", "not a PNG"),
        (grey, "image", "8-bit grey; expected 8-bit RGB"),
        (sixteen_bit_label, "label", "16-bit grey; expected 8-bit grey"),
        (other_size, "label", "is 15×8 pixels, but its image"),
        (wrong_id, "label", r"label ids \[200\] do not exist"),
        (unreadable, "image", "cannot be read"),
    ],
)
def test_bad_file_is_named_with_the_reason(tmp_path, damage, file, reason):
    image, label = write_frame(tmp_path, "train", "a", "a_000001_000019")
    frame = cityscapes.frames(tmp_path, "train")[0]
    cityscapes.read_frame(frame)
    damage(image, label)
    with pytest.raises(AdlError, match=reason) as error:
        cityscapes.read_frame(frame)
    assert str({"image": image, "label": label}[file]) in str(error.value)
