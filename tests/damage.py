"""A small sound data set, and everything that can be wrong with one: with the sentence that names it."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.data import CITYSCAPES, write_frame

A, B, C = "a_000001_000019", "a_000002_000019", "b_000003_000019"


def write_sound(place: Path) -> Path:
    """Three train frames in two cities, one val frame."""
    for split, name in (("train", B), ("train", A), ("train", C), ("val", "c_000004_000019")):
        write_frame(place, split, name[0], name)
    return place


def image(root: Path, name: str = A, split: str = "train") -> Path:
    return CITYSCAPES.images.path(root, split, name[0], name)


def label(root: Path, name: str = A, split: str = "train") -> Path:
    return CITYSCAPES.labels.path(root, split, name[0], name)


# Faults of single files: (what is done, the file that must be named, the sentence, the cause).


def truncated(root):
    image(root).write_bytes(image(root).read_bytes()[:-20])
    return image(root)


def truncated_in_its_header(root):
    image(root).write_bytes(image(root).read_bytes()[:20])
    return image(root)


def empty(root):
    label(root).write_bytes(b"")
    return label(root)


def jpeg(root):
    image(root).write_bytes(cv2.imencode(".jpg", np.zeros((8, 16, 3), np.uint8))[1].tobytes())
    return image(root)


def something_else(root):
    image(root).write_bytes(b"<html>" * 20)
    return image(root)


def without_width(root):
    content = image(root).read_bytes()
    header = content[12:16] + bytes(4) + content[20:29]
    image(root).write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    return image(root)


def changed_in_its_header(root):
    content = bytearray(label(root).read_bytes())
    content[19] ^= 1
    label(root).write_bytes(content)
    return label(root)


def grey(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16), np.uint8))
    return image(root)


def alpha(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16, 4), np.uint8))
    return image(root)


def sixteen_bits(root):
    cv2.imwrite(str(image(root)), np.zeros((8, 16, 3), np.uint16))
    return image(root)


def save_with_palette(path):
    picture = Image.fromarray(np.arange(128, dtype=np.uint8).reshape(8, 16), "P")
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(path)
    return path


def palette(root):
    return save_with_palette(image(root))


def instance_ids(root):
    cv2.imwrite(str(label(root)), np.full((8, 16), 26001, np.uint16))
    return label(root)


def coloured(root):
    cv2.imwrite(str(label(root)), np.zeros((8, 16, 3), np.uint8))
    return label(root)


def coloured_palette(root):
    return save_with_palette(label(root))


def other_size(root):
    cv2.imwrite(str(label(root)), np.full((8, 15), 7, np.uint8))
    return label(root)


def other_size_than_the_split(root):
    write_frame(root, "train", "a", A, shape=(10, 20))
    return image(root)


def wrong_ids(root):
    cv2.imwrite(str(label(root)), np.array([[7, 200]] * 2, np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def train_ids(root):
    cv2.imwrite(str(label(root)), np.array([[0, 18], [13, 255]], np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def void(root):
    cv2.imwrite(str(label(root)), np.array([[0, 3]] * 2, np.uint8).repeat(4, 0).repeat(8, 1))
    return label(root)


def broken_link(root):
    image(root).unlink()
    image(root).symlink_to("nowhere.png")
    return image(root)


def missing_label(root):
    label(root).unlink()
    return image(root)


def missing_image(root):
    image(root).unlink()
    return label(root)


def only_train_ids(root):
    label(root).rename(label(root).with_name(f"{A}_gtFine_labelTrainIds.png"))
    return image(root)


def only_instances(root):
    label(root).rename(label(root).with_name(f"{A}_gtFine_instanceIds.png"))
    return image(root)


def in_two_cities(root):
    for path in (image(root), label(root)):
        other = path.parent.parent / "b" / path.name
        other.write_bytes(path.read_bytes())
    return image(root).parent.parent / "b" / image(root).name


def copied_under_another_name(root):
    copy = image(root, "b_000009_000019")
    shutil.copy(image(root), copy)
    shutil.copy(label(root), label(root, "b_000009_000019"))
    return copy


def train_and_val_share(root):
    copy = image(root, "c_000009_000019", "val")
    shutil.copy(image(root), copy)
    shutil.copy(label(root), label(root, "c_000009_000019", "val"))
    return copy


def train_and_val_share_a_name(root):
    path = write_frame(root, "val", "a", A)[0]
    cv2.imwrite(str(path), np.zeros((8, 16, 3), np.uint8))
    return path


FILE_FAULTS = [
    (truncated, "truncated after", "was interrupted"),
    (truncated_in_its_header, "truncated after 20 bytes", "was interrupted"),
    (without_width, "its header states 0×8 pixels", "was interrupted"),
    (changed_in_its_header, "wrong checksum of its header", "was interrupted"),
    (empty, "the file is empty", "the disk was full"),
    (jpeg, "is a JPEG named .png", "converted"),
    (something_else, "not a PNG file", "another kind of file"),
    (grey, "8-bit grey; expected 8-bit RGB", "converted to grey"),
    (alpha, "8-bit RGB with alpha; expected 8-bit RGB", "image editor"),
    (sixteen_bits, "16-bit RGB; expected 8-bit RGB", "image editor"),
    (palette, "8-bit palette; expected 8-bit RGB", "image editor"),
    (instance_ids, "16-bit grey; expected 8-bit grey", "_instanceIds.png"),
    (coloured, "8-bit RGB; expected 8-bit grey", "_color.png"),
    (coloured_palette, "8-bit palette; expected 8-bit grey", "_color.png"),
    (other_size, "is 15×8 pixels, but its image", "resized"),
    (
        other_size_than_the_split,
        "is 20×10 pixels, but most images of its split are 16×8",
        "another source",
    ),
    (wrong_ids, "label ids [200] do not exist", "not the labels of Cityscapes"),
    (
        train_ids,
        "label ids [255] do not exist",
        "train ids (0-18 and 255) under the name of a label-id file",
    ),
    (void, "no pixel belongs to a class", "label of the test split"),
    (broken_link, "it links to nowhere.png, which does not exist", "moved"),
    (missing_label, "this image has no label", "not unpacked completely"),
    (missing_image, "this label has no image", "not unpacked completely"),
    (only_train_ids, "this image has no label", "labelTrainIds.png is there: train ids"),
    (only_instances, "this image has no label", "instanceIds.png is there: the instances, 16-bit"),
    (in_two_cities, "this frame is also in another folder", "copied or unpacked into another"),
    (copied_under_another_name, "is the same image as", "copied or renamed"),
    (train_and_val_share, "is the same image as", "train and val share this frame"),
    (train_and_val_share_a_name, "has the same name as", "train and val share this frame"),
]


# Faults of the folders: (what is done, which returns the data_path that the user then gives; the advice).


def one_level_too_deep(root):
    return root / "leftImg8bit"


def three_levels_too_deep(root):
    return root / "leftImg8bit" / "train" / "a"


def one_level_too_high(root):
    return root.parent


def only_the_images(root):
    shutil.rmtree(root / "gtFine")
    return root


def only_the_labels(root):
    shutil.rmtree(root / "leftImg8bit")
    return root


def misspelt_as_in_2021(root):
    (root / "leftImg8bit").rename(root / "leftImage8bit")
    return root


def misspelt_labels(root):
    (root / "gtFine").rename(root / "gtfine")
    return root


def misspelt_split(root):
    (root / "gtFine" / "train").rename(root / "gtFine" / "training")
    return root


def each_zip_in_its_folder(root):
    for folder in ("leftImg8bit", "gtFine"):
        (root / f"{folder}_trainvaltest").mkdir()
        (root / folder).rename(root / f"{folder}_trainvaltest" / folder)
    return root


def each_zip_in_a_folder_of_its_own_name(root):
    for folder in ("leftImg8bit", "gtFine"):
        (root / folder).rename(root / "moved")
        (root / folder).mkdir()
        (root / "moved").rename(root / folder / folder)
    return root


def still_packed(root):
    shutil.rmtree(root / "gtFine")
    (root / "gtFine_trainvaltest.zip").write_bytes(b"PK")
    return root


def zip_as_path(root):
    (root / "x.zip").write_bytes(b"PK")
    return root / "x.zip"


def coarse_labels(root):
    (root / "gtFine").rename(root / "gtCoarse")
    return root


def foggy_images(root):
    (root / "leftImg8bit").rename(root / "leftImg8bit_foggy")
    return root


def without_cities(root):
    for path in (root / "leftImg8bit/train").rglob("*.png"):
        path.rename(root / "leftImg8bit/train" / path.name)
    return root


def other_suffix(root):
    for path in (root / "leftImg8bit/train").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("_leftImg8bit", "")))
    return root


def no_label_ids_at_all(root):
    for path in (root / "gtFine/train").rglob("*.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "color")))
    return root


def misspelt_path(root):
    return root.parent / "cityscape"


def empty_folder(root):
    shutil.rmtree(root)
    root.mkdir()
    return root


LAYOUT_FAULTS = [
    (one_level_too_deep, "data_path lies inside the data set. Set data_path to {root}."),
    (three_levels_too_deep, "data_path lies inside the data set. Set data_path to {root}."),
    (one_level_too_high, "data_path lies above the data set. Set data_path to {root}."),
    (
        only_the_images,
        "holds no gtFine/. Likely cause: only leftImg8bit_trainvaltest.zip is unpacked here.",
    ),
    (
        only_the_labels,
        "holds no leftImg8bit/. Likely cause: only gtFine_trainvaltest.zip is unpacked here.",
    ),
    (
        misspelt_as_in_2021,
        "leftImage8bit is misspelt. Rename {root}/leftImage8bit to {root}/leftImg8bit.",
    ),
    (misspelt_labels, "gtfine is misspelt. Rename {root}/gtfine to {root}/gtFine."),
    (misspelt_split, "training is misspelt. Rename {root}/gtFine/training to {root}/gtFine/train."),
    (each_zip_in_its_folder, "Move {root}/gtFine_trainvaltest/gtFine to {root}/gtFine."),
    (
        each_zip_in_a_folder_of_its_own_name,
        "Move what is in {root}/gtFine/gtFine to {root}/gtFine.",
    ),
    (still_packed, "gtFine_trainvaltest.zip is still packed. Unpack it there: unzip"),
    (zip_as_path, "is a file. Likely cause: the zip is not unpacked"),
    (
        coarse_labels,
        "gtCoarse holds the coarse labels, which are not used. Unpack gtFine_trainvaltest.zip",
    ),
    (
        foggy_images,
        "leftImg8bit_foggy holds the images with fog added, which are not used. Unpack leftImg8bit_trainvaltest.zip "
        "(the 3rd, 11 GB) in {root}. To use leftImg8bit_foggy instead, make a folder with leftImg8bit/ and gtFine/",
    ),
    (
        without_cities,
        "there are files directly in it, such as a_000001_000019_leftImg8bit.png. Put each in a folder of its group",
    ),
    (
        other_suffix,
        "have other names, such as a_000001_000019.png. Name them <name>_leftImg8bit.png",
    ),
    (
        no_label_ids_at_all,
        "there are only other kinds of labels, such as a_000001_000019_gtFine_color.png",
    ),
    (
        misspelt_path,
        "does not exist. Likely cause: the folder was moved, or its name is misspelt. Did you mean {root}?",
    ),
    (
        empty_folder,
        "holds neither leftImg8bit/ nor gtFine/. Likely cause: this is not the folder of Cityscapes.",
    ),
]
