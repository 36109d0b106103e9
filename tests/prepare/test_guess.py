"""The file of a data set as its folder tells it: every layout, on real files, and what cannot be told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.prepare.check import check_dataset
from adl.prepare.guess import Guess, guess
from adl.prepare.layout import Split
from adl.prepare.seen import voc_colour

SIZE = (8, 6)
SPLITS = ("train", "val")
TRIANGLE = [[1, 1], [6, 1], [6, 4]]


def picture(path: Path, **options) -> Path:
    """A photograph of noise; no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(bytes(path))).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def mask(path: Path, *values, palette=()) -> Path:
    """A label with these numbers or colours, side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.array([values[x * len(values) // SIZE[0]] for x in range(SIZE[0])], np.uint8)
    image = Image.fromarray(np.broadcast_to(columns, (SIZE[1], *columns.shape)).copy())
    if palette:
        image.putpalette([channel for colour in palette for channel in colour])
    image.save(path)
    return path


def text(path: Path, *lines) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def shapes(path: Path, *names) -> Path:
    """A file of labelme."""
    content = {
        "shapes": [{"label": name, "points": TRIANGLE, "shape_type": "polygon"} for name in names],
        "imageWidth": SIZE[0],
        "imageHeight": SIZE[1],
    }
    return text(path, json.dumps(content))


def coco_file(path: Path, *images: str) -> Path:
    """Roboflow's first category is the name of all others."""
    names = {0: ("things", "none"), 1: ("car", "things"), 2: ("bus", "things")}
    content = {
        "images": [{"id": i, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for i, name in enumerate(images)],
        "categories": [{"id": i, "name": name, "supercategory": above} for i, (name, above) in names.items()],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "segmentation": [[*np.ravel(TRIANGLE).tolist()]]}
            for i, _ in enumerate(images)
        ],
    }
    return text(path, json.dumps(content))


def cityscapes(root: Path) -> None:
    for split in (*SPLITS, "test"):
        picture(root / f"leftImg8bit/{split}/town/{split}_1_leftImg8bit.png")
        if split != "test":
            mask(root / f"gtFine/{split}/town/{split}_1_gtFine_labelIds.png", 7, 26, 0)
            mask(root / f"gtFine/{split}/town/{split}_1_gtFine_color.png", (1, 2, 3))


def cityscapes_polygons(root: Path) -> None:
    for split in SPLITS:
        picture(root / f"leftImg8bit/{split}/town/{split}_1_leftImg8bit.png")
        content = {"imgWidth": 8, "imgHeight": 6, "objects": [{"label": "road", "polygon": TRIANGLE}]}
        text(root / f"gtFine/{split}/town/{split}_1_gtFine_polygons.json", json.dumps(content))


def cvat(root: Path) -> None:
    text(
        root / "labelmap.txt",
        "# label:color_rgb:parts:actions", "background:0,0,0::", "car:128,0,0::", "road sign:0,128,0::", "void:9,9,9::",
    )  # fmt: skip
    for split in SPLITS:
        picture(root / f"JPEGImages/{split}1.jpg")
        mask(root / f"SegmentationClass/{split}1.png", (0, 0, 0), (128, 0, 0))
        mask(root / f"SegmentationObject/{split}1.png", (0, 0, 0), (1, 0, 0))
        text(root / f"ImageSets/Segmentation/{split}.txt", f"{split}1")


def voc(root: Path) -> None:
    palette = [voc_colour(number) for number in range(255)] + [(224, 224, 192)]
    for split in SPLITS:
        picture(root / f"JPEGImages/{split}1.jpg")
        picture(root / f"JPEGImages/without_label_of_{split}.jpg")
        mask(root / f"SegmentationClass/{split}1.png", 0, 2, 15, 255, palette=palette)
        text(root / f"ImageSets/Segmentation/{split}.txt", f"{split}1")
    text(root / "ImageSets/Segmentation/trainval.txt", "train1", "val1")


def camvid(root: Path) -> None:
    for split in (*SPLITS, "test"):
        picture(root / f"{split}/{split}1.png")
        mask(root / f"{split}annot/{split}1.png", 0, 2, 11)
        text(root / f"{split}.txt", f"/SegNet/{split}/{split}1.png /SegNet/{split}annot/{split}1.png")


def camvid_of_2009(root: Path) -> None:
    text(root / "label_colors.txt", "64 128 64\tAnimal", "192 0 128\t\tArchway", "0 0 0\t\tVoid")
    for name in ("0001TP_1", "0001TP_12"):
        picture(root / f"701_StillsRaw_full/{name}.png")
        mask(root / f"LabeledApproved_full/{name}_L.png", (64, 128, 64), (0, 0, 0))


def camvid_with_class_dict(root: Path) -> None:
    text(root / "class_dict.csv", "name,r,g,b", "Animal,64,128,64", "Archway,192, 0, 128")
    for split in SPLITS:
        picture(root / f"{split}/{split}1.png")
        mask(root / f"{split}_labels/{split}1_L.png", (64, 128, 64), (192, 0, 128))


def coco(root: Path) -> None:
    for split in SPLITS:
        picture(root / f"images/{split}2017/{split}1.jpg")
        coco_file(root / f"annotations/instances_{split}2017.json", f"{split}1.jpg")
        text(root / f"annotations/captions_{split}2017.json", '{"images": [], "annotations": []}')


def coco_in_one_folder(root: Path) -> None:
    for split in SPLITS:
        coco_file(root / f"annotations/{split}.json", f"images/{picture(root / f'images/{split}1.jpg').name}")


def coco_beside_the_images(root: Path) -> None:
    for split, folder in (("train", "train"), ("val", "valid")):
        coco_file(root / folder / "_annotations.coco.json", picture(root / f"{folder}/{split}1.jpg").name)


def coco_without_splits(root: Path) -> None:
    images = [picture(root / f"images/{name}.jpg").name for name in "ab"]
    coco_file(root / "annotations/instances_default.json", *images)


def yolo(root: Path) -> None:
    text(root / "data.yaml", "names: [car, traffic light]", "nc: 2")
    for split in SPLITS:
        picture(root / f"images/{split}/{split}1.jpg")
        picture(root / f"images/{split}/{split}2.jpeg")
        text(root / f"labels/{split}/{split}1.txt", "0 0.1 0.1 0.9 0.1 0.9 0.9", "1 0 0 0 0.5 0.5 0.5")
        text(root / f"labels/{split}/{split}2.txt", "1 0.1 0.1 0.9 0.1 0.9 0.9")


def yolo_with_gaps(root: Path) -> None:
    text(root / "data.yaml", "names: {1: car, 2: no, 7: bus}")
    for split in SPLITS:
        picture(root / f"{split}/images/{split}1.jpg")
        text(root / f"{split}/labels/{split}1.txt", "2 0.1 0.1 0.9 0.1 0.9 0.9")


def labelme(root: Path) -> None:
    for split in SPLITS:
        shapes(picture(root / f"{split}/{split}1.jpg").with_suffix(".json"), "car", "__ignore__")
    shapes(picture(root / "train/train2.jpg").with_suffix(".json"), "bus")


def labelme_without_splits(root: Path) -> None:
    for name in "ab":
        shapes(picture(root / f"{name}.jpg").with_suffix(".json"), "_background_", "car")


def roboflow(root: Path) -> None:
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        text(root / folder / "_classes.csv", "Pixel Value, Class", "0, background", "1, crack", "2, rust")
        mask(picture(root / f"{folder}/{split}_1.jpg").with_name(f"{split}_1_mask.png"), 0, 1)


def plain(root: Path) -> None:
    for split, folder in (("train", "training"), ("val", "validation")):
        picture(root / f"Images/{folder}/{split}1.JPG")
        picture(root / f"Images/{folder}/{split}2.JPG")
        picture(root / f"Images/{folder}/{split}3.png")
        for number in (1, 2, 3):
            mask(root / f"Masks/{folder}/{split}{number}.png", 0, 255)
    picture(root / "Images/test/test1.JPG")


def plain_by_split(root: Path) -> None:
    for split in SPLITS:
        picture(root / f"{split}/img/town/{split}1.jpg")
        mask(root / f"{split}/gt/town/{split}1_label.png", 1, 2, 255)


def plain_without_splits(root: Path) -> None:
    for name in ("a", "ab"):
        picture(root / f"images/{name}.jpg")
        mask(root / f"masks/{name}.png", (0, 0, 0), (250, 250, 0))


def plain_without_val(root: Path) -> None:
    for split in ("train", "test"):
        picture(root / f"images/{split}/{split}1.jpg")
        mask(root / f"masks/{split}/{split}1.png", 0, 1, 2)


DRAWN = dict.fromkeys((*SPLITS, "test"), "")
OFFICIAL = descriptor.shipped("cityscapes")
CASES = [
    (cityscapes, "ids", {"train": "train", "val": "val", "test": "test"}, OFFICIAL.class_names),
    (cityscapes_polygons, "cityscapes-polygons", {"train": "train", "val": "val"}, OFFICIAL.class_names),
    (cvat, "colours", {s: f"ImageSets/Segmentation/{s}.txt" for s in SPLITS}, ("background", "car", "road sign")),
    (voc, "palette", {s: f"ImageSets/Segmentation/{s}.txt" for s in SPLITS}, ("background", "class_2", "class_15")),
    (camvid, "ids", {s: s for s in (*SPLITS, "test")}, ("class_0", "class_2", "class_11")),
    (camvid_of_2009, "colours", DRAWN, ("Animal", "Archway")),
    (camvid_with_class_dict, "colours", {s: s for s in SPLITS}, ("Animal", "Archway")),
    (coco, "coco", {"train": "train2017", "val": "val2017"}, ("background", "car", "bus")),
    (coco_in_one_folder, "coco", {s: s for s in SPLITS}, ("background", "car", "bus")),
    (coco_beside_the_images, "coco", {"train": "train", "val": "valid"}, ("background", "car", "bus")),
    (coco_without_splits, "coco", DRAWN, ("background", "car", "bus")),
    (yolo, "yolo", {s: s for s in SPLITS}, ("background", "car", "traffic light")),
    (yolo_with_gaps, "yolo", {s: s for s in SPLITS}, ("background", "car", "no", "bus")),
    (labelme, "labelme", {s: s for s in SPLITS}, ("background", "bus", "car")),
    (labelme_without_splits, "labelme", DRAWN, ("_background_", "car")),
    (roboflow, "ids", {"train": "train", "val": "valid", "test": "test"}, ("background", "crack", "rust")),
    (plain, "ids", {"train": "training", "val": "validation", "test": "test"}, ("background", "class_255")),
    (plain_by_split, "ids", {s: s for s in SPLITS}, ("class_1", "class_2")),
    (plain_without_splits, "colours", DRAWN, ("background", "class_1")),
    (plain_without_val, "ids", DRAWN, ("class_0", "class_1", "class_2")),
]


def loaded(found: Guess, path: Path) -> DatasetDescriptor:
    path.write_text(found.text("A guess."))
    return descriptor.load(path)


@pytest.mark.parametrize(("make", "form", "splits", "names"), CASES, ids=[case[0].__name__ for case in CASES])
def test_layout_is_recognised_and_its_file_describes_a_sound_data_set(make, form, splits, names, tmp_path):
    make(tmp_path / "data")
    found = guess(tmp_path / "data", "mine")
    dataset = loaded(found, tmp_path / "mine.yaml")
    assert dataset.labels.format == form
    assert {name: files.listed or files.folder for name, files in dataset.splits.items()} == splits
    assert dataset.class_names == names
    assert len({label.colour for label in dataset.classes}) == len(names)
    if dataset.draw:
        assert "adl dataset split" in found.reasons["draw"]
        frames = Split(tmp_path / "data", "train", dataset.model_copy(update={"draw": None})).passed().frames
        assert len(frames) == (1 if make is plain_without_val else 2)
        return
    check = check_dataset(tmp_path / "data", dataset).passed()
    assert {*check.splits} == {split for split in splits if split not in dataset.withheld}
    for split in check.splits.values():
        assert split.frames


def guessed(make, tmp_path: Path) -> tuple[Guess, DatasetDescriptor]:
    make(tmp_path / "data")
    found = guess(tmp_path / "data", "mine")
    return found, loaded(found, tmp_path / "mine.yaml")


def test_every_guess_stands_as_a_comment_before_its_section(tmp_path):
    found, _ = guessed(voc, tmp_path)
    lines = (tmp_path / "mine.yaml").read_text().splitlines()
    assert lines[0] == "# A guess."
    patterns = "JPEGImages/{name}.jpg and SegmentationClass/{name}.png"
    assert lines[1] == f"# layout: VOC or CVAT's masks, because there are {patterns}"
    place = lines.index("# labels.format: palette, because PNGs with a palette were found in 2 files")
    assert lines[place + 1].startswith("labels: {pattern: ")
    assert {f"# {key}: {reason}" for key, reason in found.reasons.items()} < {*lines}


def test_values_colours_and_what_is_ignored_are_those_of_voc(tmp_path):
    found, dataset = guessed(voc, tmp_path)
    assert [(label.values, label.colour) for label in dataset.classes] == [
        ((0,), (0, 0, 0)),
        ((2,), (0, 128, 0)),
        ((15,), (192, 128, 128)),
    ]
    assert [(label.name, label.values) for label in dataset.ignored] == [("void", (255,))]
    assert found.reasons["ignored"].startswith("void")
    assert voc_colour(20) == (0, 64, 128)
    assert voc_colour(255) == (224, 224, 192)


def test_names_of_a_labelmap_are_given_to_the_palettes_numbers(tmp_path):
    voc(tmp_path / "data")
    text(tmp_path / "data/labelmap.txt", "background:0,0,0::", "person:192,128,128::", "bicycle:0,128,0::")
    dataset = loaded(guess(tmp_path / "data", "mine"), tmp_path / "mine.yaml")
    assert {label.name: label.values for label in dataset.classes} == {
        "background": (0,),
        "person": (15,),
        "bicycle": (2,),
    }


def test_mask_of_0_and_255_has_two_classes_and_a_split_without_labels_is_withheld(tmp_path):
    _, dataset = guessed(plain, tmp_path)
    assert [label.values for label in dataset.classes] == [(0,), (255,)]
    assert dataset.images.suffixes == (".png",)
    assert [*dataset.withheld] == ["test"]


def test_numbers_of_yolo_stay_those_of_its_file_beside_a_background(tmp_path):
    _, dataset = guessed(yolo_with_gaps, tmp_path)
    assert dataset.meanings == {1: 1, 2: 2, 7: 3}
    assert dataset.labels.outside == "background"
    assert dataset.labels.overlap == "area"


def test_ignored_label_of_labelme_is_no_class(tmp_path):
    _, dataset = guessed(labelme, tmp_path)
    assert [label.name for label in dataset.ignored] == ["__ignore__"]


def test_own_labels_in_the_layout_of_cityscapes_are_not_taken_for_its_classes(tmp_path):
    cityscapes(tmp_path / "data")
    mask(tmp_path / "data/gtFine/val/town/val_1_gtFine_labelIds.png", 7, 40)
    assert len(guess(tmp_path / "data", "mine").content["classes"]) == 4


def test_images_that_exif_turns_are_turned(tmp_path):
    plain_by_split(tmp_path / "data")
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "data/train/img/town/train1.jpg"
    picture(path, exif=exif)
    label = tmp_path / "data/train/gt/town/train1_label.png"
    with Image.open(label) as opened:
        opened.transpose(Image.Transpose.ROTATE_90).save(label)
    found = guess(tmp_path / "data", "mine")
    assert found.reasons["images.orientation"] == "apply, because EXIF turns train1.jpg"
    check_dataset(tmp_path / "data", loaded(found, tmp_path / "mine.yaml")).passed()


def test_colours_of_smoothed_borders_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    for split in SPLITS:
        picture(tmp_path / f"data/images/{split}/{split}1.jpg")
        label = np.zeros((300, 300, 3), np.uint8)
        label[:, 150:] = (200, 0, 0)
        label[:, 149] = rng.integers(1, 256, (300, 3))
        path = tmp_path / f"data/masks/{split}/{split}1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(label).save(path)
    found = guess(tmp_path / "data", "mine")
    assert [label["name"] for label in found.content["classes"]] == ["background", "class_1"]
    assert loaded(found, tmp_path / "mine.yaml").unlisted == "ignore"


def refused(root: Path) -> str:
    with pytest.raises(AdlError) as caught:
        guess(root, "mine")
    return str(caught.value)


def test_unknown_folder_is_told_what_was_looked_for_and_what_is_there(tmp_path):
    text(tmp_path / "data/notes.doc")
    picture(tmp_path / "data/photos/a.jpg")
    message = refused(tmp_path / "data")
    problem, _, _ = message.partition("\n")
    assert problem == f"{tmp_path}/data: no data set was recognised. In it are: notes.doc, photos"
    for name in ("Cityscapes", "VOC", "CVAT", "CamVid", "COCO", "YOLO", "labelme", "Roboflow"):
        assert name in message
    smallest = tmp_path / "smallest.yaml"
    smallest.write_text(message.partition("datasets/mine.yaml:\n")[2])
    assert descriptor.load(smallest).name == "mine"


def test_folder_one_too_high_is_told_the_right_one(tmp_path):
    voc(tmp_path / "data/VOC2012")
    assert f"{tmp_path}/data/VOC2012" in refused(tmp_path / "data")


def test_labels_as_jpeg_are_refused(tmp_path):
    for split in SPLITS:
        picture(tmp_path / f"data/images/{split}/{split}1.jpg")
        picture(tmp_path / f"data/masks/{split}/{split}1.jpg")
    message = refused(tmp_path / "data")
    assert "masks/train/train1.jpg: labels of the kind JPEG cannot be used" in message


def test_labels_of_one_class_are_refused(tmp_path):
    for split in SPLITS:
        picture(tmp_path / f"data/images/{split}/{split}1.jpg")
        mask(tmp_path / f"data/masks/{split}/{split}1.png", 1)
    assert "its labels hold 1 classes, and at least 2 are needed" in refused(tmp_path / "data")
