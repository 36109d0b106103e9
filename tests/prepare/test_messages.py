"""Each mistake that people make with their own data, planted once, is one message: file, cause, line to write."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from adl import commands, preflight
from adl.config import params
from adl.config.recipes import edited, shipped_text
from adl.dataset import descriptor
from adl.errors import AdlError
from adl.files import write_json
from adl.prepare.check import check_dataset
from adl.workspace import sidecar
from tests.conftest import ROOT

COLOURS = np.array([[0, 0, 0], [250, 0, 0], [0, 250, 0]], np.uint8)
SCENE = np.repeat(np.uint8([[0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 2]]), 4, axis=0)
"""A label map of 8 × 6 pixels with each class."""
SHAPE = {"label": "car", "points": [[0, 0], [3, 0], [3, 3]]}


class Data:
    """A sound data set of two train images and a val image, in folders and with a YAML of its own."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        self.file = folder / "mine.yaml"
        self.described: dict[str, Any] = {
            "name": "mine",
            "title": "Mine",
            "splits": {"train": "train", "val": "val"},
            "images": {"pattern": "images/{split}/{name}.jpg"},
            "labels": {"pattern": "labels/{split}/{name}.png", "format": "ids"},
            "classes": [
                {"name": name, "colour": colour, "values": [number]}
                for number, (name, colour) in enumerate(zip(("back", "car", "tree"), COLOURS.tolist(), strict=True))
            ],
            "ignored": [{"name": "void", "colour": [9, 9, 9], "values": [255]}],
        }
        for name, split in (("one", "train"), ("two", "train"), ("three", "val")):
            self.write_image(name, split)
            self.write(SCENE, name, split)

    def image(self, name="one", split="train") -> Path:
        return self.root / "images" / split / f"{name}.jpg"

    def label(self, name="one", split="train") -> Path:
        return self.root / "labels" / split / f"{name}{Path(self.described['labels']['pattern']).suffix}"

    def write_image(self, name="one", split="train", size=(6, 8)) -> Path:
        path = self.image(name, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        cv2.imwrite(str(path), noise)
        return path

    def write(self, label: np.ndarray, name="one", split="train") -> Path:
        """A label: numbers, or RGB."""
        path = self.label(name, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label).save(path)
        return path

    def write_palette(self, name="one", split="train") -> Path:
        picture = Image.fromarray(SCENE, "P")
        picture.putpalette(COLOURS.tobytes())
        picture.save(self.label(name, split))
        return self.label(name, split)

    def in_colours(self, form="colours") -> None:
        """All labels are pictures in the colours of the classes, or have them as their palette."""
        self.described["labels"]["format"] = form
        for entry in (*self.described["classes"], *self.described["ignored"]):
            if form == "colours":
                del entry["values"]
        for name, split in (("one", "train"), ("two", "train"), ("three", "val")):
            if form == "colours":
                self.write(COLOURS[SCENE], name, split)
            else:
                self.write_palette(name, split)

    def in_labelme(self, **shape) -> Path:
        """All labels are polygons; the first has another shape."""
        self.described["labels"] = {
            "pattern": "labels/{split}/{name}.json", "format": "labelme", "outside": "back", "overlap": "order",
        }  # fmt: skip
        for entry in (*self.described["classes"], *self.described["ignored"]):
            del entry["values"]
        for name, split in (("one", "train"), ("two", "train"), ("three", "val")):
            shapes = [SHAPE | (shape if name == "one" else {}), SHAPE | {"label": "tree"}, SHAPE]
            self.label(name, split).write_text(json.dumps({"imageWidth": 6, "imageHeight": 8, "shapes": shapes}))
        return self.label()

    def in_coco(self, width=6, **annotation) -> Path:
        """One file of polygons for each split; the first one's first image has another width or annotation."""
        self.in_labelme()
        self.described["labels"] |= {"pattern": "{split}.json", "format": "coco"}
        polygons = {"segmentation": [[0, 0, 3, 0, 3, 3]], "iscrowd": 0}
        for split, names in (("train", ("one", "two")), ("val", ("three",))):
            content = {
                "images": [
                    {"id": name, "file_name": f"{name}.jpg", "width": width if name == "one" else 6, "height": 8}
                    for name in names
                ],
                "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "tree"}],
                "annotations": [
                    {"id": number, "image_id": name, "category_id": number}
                    | polygons
                    | (annotation if name == "one" else {})
                    for name in names
                    for number in (1, 2)
                ],
            }
            write_json(self.root / f"{split}.json", content)
        return self.root / "train.json"

    def listed(self, *lines: str) -> Path:
        """The train split has a list."""
        self.described["splits"]["train"] = {"folder": "train", "list": "train.txt"}
        path = self.root / "train.txt"
        path.write_text("\n".join(lines))
        return path

    def written(self) -> Path:
        self.file.write_text(json.dumps(self.described))
        return self.file


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path)


def messages(data: Data, file: Path) -> list[str]:
    try:
        found = check_dataset(data.root, descriptor.load(file), every_label=True)
    except AdlError as error:
        return [str(error)]
    return [str(problem) for problem in found.problems]


def rgb_under_ids(data):
    return data.write(COLOURS[SCENE])


def palette_under_ids(data):
    return data.write_palette()


def palette_under_colours(data):
    data.in_colours()
    return data.write_palette()


def colours_under_palette(data):
    data.in_colours("palette")
    return data.write(COLOURS[SCENE])


def numbers_under_palette(data):
    data.in_colours("palette")
    return data.write(SCENE)


def mask_of_0_and_255(data):
    data.described["classes"] = data.described["classes"][:2]
    del data.described["ignored"]
    for name, split in (("two", "train"), ("three", "val")):
        data.write(np.minimum(SCENE, 1), name, split)
    return data.write(np.uint8(255) * (SCENE > 0))


def ids_from_1(data):
    del data.described["ignored"]
    return data.write(SCENE + 1)


def unlisted_values_in_one_file(data):
    for n in range(20):
        data.write_image("n" * (n + 6))
        data.write(SCENE, "n" * (n + 6))
    return data.write(np.where(SCENE == 2, np.uint8(7), SCENE))


def smoothed_colours(data):
    data.in_colours()
    return data.write(cv2.GaussianBlur(COLOURS[SCENE], (5, 5), 0))


def smoothed_numbers(data):
    return data.write(np.arange(48, dtype=np.uint8).reshape(8, 6))


def colour_of_no_class(data):
    data.in_colours()
    return data.write(np.where(SCENE[..., None] == 2, np.uint8(7), COLOURS[SCENE]))


def jpeg_label(data):
    data.described["labels"]["suffixes"] = [".jpg"]
    data.label().unlink()
    path = data.label().with_suffix(".jpg")
    cv2.imwrite(str(path), SCENE)
    return path


def suffix_in_other_case(data):
    for name in ("one", "two"):
        data.image(name).rename(data.image(name).with_suffix(".JPG"))
    return data.image().parent


def one_suffix_in_other_case(data):
    data.image().rename(data.image().with_suffix(".JPG"))
    return data.label()


def one_jpeg_among_png(data):
    data.described["images"]["pattern"] = "images/{split}/{name}.png"
    for name, split in (("two", "train"), ("three", "val")):
        path = data.image(name, split)
        cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    return data.label()


def no_pairs(data):
    for name in ("one", "two"):
        data.label(name).rename(data.label(f"{name}_mask"))
    return data.image()


def no_pairs_at_all(data):
    for name in ("one", "two"):
        data.label(name).rename(data.label(f"x{name[0]}"))
    return data.image()


def no_label_of_this_name(data):
    data.described["labels"]["pattern"] = "labels/{split}/{name}_mask.png"
    data.label("three", "val").rename(data.label("three_mask", "val"))
    return data.label().parent


def one_label_missing(data):
    data.label().unlink()
    return data.image()


def list_of_files_that_are_gone(data):
    return data.listed("one", "two", "four")


def list_with_suffixes(data):
    return data.listed("one", "two.jpg")


def empty_list(data):
    return data.listed("# nothing")


def list_of_another_machine(data):
    return data.listed(*(f"/home/x/images/train/{n}.jpg /home/x/labels/train/{n}.png" for n in ("one", "two")))


def one_name_in_two_splits(data):
    data.write(SCENE, "one", "val")
    cv2.imwrite(str(data.image("one", "val")), np.zeros((8, 6, 3), np.uint8))
    return data.image("one", "val")


def label_of_another_size(data):
    return data.write(SCENE[:4])


def label_smaller_by_a_pixel(data):
    return data.write(SCENE[:7])


def turned(path: Path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", size).save(path, exif=exif)


def image_turned_by_exif(data):
    turned(data.image(), (6, 8))
    return data.image()


def label_of_the_image_that_is_not_turned(data):
    data.described["images"]["orientation"] = "apply"
    turned(data.image(), (6, 8))
    return data.label()


def class_absent_from_train(data):
    for name in ("one", "two"):
        data.write(np.minimum(SCENE, 1), name)
    return data.label().parent


def all_ignored(data):
    return data.write(np.full((8, 6), 255, np.uint8))


def value_twice(data):
    data.described["classes"][2]["values"] = [1]
    return data.file


def colour_twice(data):
    data.described["classes"][2]["colour"] = [250, 0, 0]
    return data.file


def name_twice(data):
    data.described["ignored"][0]["name"] = "car"
    return data.file


def truth_value(data):
    data.written()
    data.file.write_text(data.file.read_text().replace('"car"', "no"))
    return data.file


def tab(data):
    data.file.write_text("name: mine\nsplits:\n\ttrain: train\n")
    return data.file


def misspelt_key(data):
    data.described["clases"] = data.described.pop("ignored")
    return data.file


def unknown_label(data):
    return data.in_labelme(label="lorry")


def two_points(data):
    return data.in_labelme(points=[[0, 0], [3, 3]])


def outside(data):
    return data.in_labelme(points=[[0, 0], [30, 0], [3, 3]])


def size_of_coco(data):
    return data.in_coco(width=60)


def crowd(data):
    path = data.in_coco()
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"counts": [0], "size": [8, 6]}}
    write_json(path, content)
    return path


ROWS = [
    (rgb_under_ids, "its 3 colours are [0, 0, 0], [0, 250, 0], [250, 0, 0]; 3 of 3 match your classes. "
     "Write `format: colours`"),
    (palette_under_ids, "its pixels are indices into a palette. Write `format: palette` below `labels:`"),
    (palette_under_colours, "is 2-bit palette; expected 8-bit RGB", "Write `format: palette` below `labels:`"),
    (colours_under_palette, "3 of 3 match your classes. Write `format: colours`"),
    (numbers_under_palette, "it holds numbers. Write `format: ids` below `labels:`"),
    (mask_of_0_and_255, "it is a mask of 0 and 255. Write `values: [255]`"),
    (ids_from_1, "its values begin at 1, and the classes' at 0. Write each class's `values:` one higher"),
    (unlisted_values_in_one_file, "label ids [7] do not exist", "an editor or a conversion changed it",
     "give these values to a class or to `ignored:`, or write `unlisted: ignore`"),
    (smoothed_colours, "colours of no class", "were smoothed (anti-aliasing)", "Export it without smoothing"),
    (smoothed_numbers, "were smoothed (anti-aliasing)"),
    (colour_of_no_class, "holds 1 colours of no class (33 % of its pixels): [7, 7, 7]", "a class is missing",
     "write `unlisted: ignore`"),
    (jpeg_label, "is a JPEG, which changes values along every edge", "draw the labels again as PNG"),
    (suffix_in_other_case, "another suffix, such as one.JPG. Write `suffixes: [.JPG]` below `images:`"),
    (one_suffix_in_other_case, "only one.JPG is there", "Write `suffixes: [.JPG]` below `images:`"),
    (one_jpeg_among_png, "only one.jpg is there", "Write `suffixes: [.jpg]` below `images:`"),
    (no_pairs, "has no label {root}/labels/train/one.png", "holds 2 labels with other names, such as one_mask.png",
     'Write `pattern: "labels/{{split}}/{{name}}_mask.png"` below `labels:`'),
    (no_pairs_at_all, "has no label {root}/labels/train/one.png", "such as xo.png", "Correct the patterns"),
    (no_label_of_this_name, "no file *_mask.png was found; {root}/images/train/one.jpg needs one_mask.png",
     "such as one.png", "correct `pattern:` below `labels:`"),
    (one_label_missing, "this image has no label {root}/labels/train/one.png", "Add it, or remove the image"),
    (list_of_files_that_are_gone, "line 3: {root}/images/train/four.jpg does not exist", "remove the line"),
    (list_with_suffixes, "line 2 lists two.jpg, with a suffix", "Write the name alone (two)"),
    (empty_list, "lists nothing", "Write a line for each frame"),
    (list_of_another_machine, "its paths begin with /home/x/", 'Write `prefix: "/home/x/"` below its `list:`'),
    (one_name_in_two_splits, "has the same name as", "train and val share this frame"),
    (label_of_another_size, "is 6×4 pixels, but its image {root}/images/train/one.jpg is 6×8", "resized",
     "-filter point -resize 6x8!"),
    (label_smaller_by_a_pixel, "is 6×7 pixels", "a fraction rounded in another way", "-filter point"),
    (image_turned_by_exif, "is turned by its EXIF orientation (6)", "Write `orientation: apply` below `images:`"),
    (label_of_the_image_that_is_not_turned, "the label is of the image that is not turned", "exiftool"),
    (class_absent_from_train, "no label of the train split shows tree", "Correct the `values:` of tree"),
    (all_ignored, "no pixel belongs to a class", "empty mask, or all of its values are below `ignored:`"),
    (value_twice, "the value 1 is given to car and tree; give it to one of them"),
    (colour_twice, "the colour [250, 0, 0] is given to car and tree"),
    (name_twice, "the name \"car\" is given to car and car"),
    (truth_value, "classes.1.name: False is not accepted", "YAML takes yes, no, on, off", "write it in quotes"),
    (tab, "line 3, column 1", "YAML takes no tabs: indent with spaces"),
    (misspelt_key, "clases: unknown key; did you mean classes?"),
    (unknown_label, "a polygon is labelled lorry", 'write `- {{name: "lorry", colour: [0, 0, 0]}}` below `classes:`'),
    (two_points, "has 2 corners; a polygon has at least 3"),
    (outside, "outside the image of 6×8 pixels"),
    (size_of_coco, "one.jpg states 60×8 pixels, but the image is 6×8 pixels"),
    (crowd, "annotation 1 (car) of one.jpg is a crowd"),
]  # fmt: skip


@pytest.mark.parametrize(("plant", "words"), [(row[0], row[1:]) for row in ROWS], ids=[row[0].__name__ for row in ROWS])
def test_mistake_is_one_message_that_names_the_file_and_the_line_to_write(data, plant, words):
    assert messages(data, data.written()) == []
    data.file.unlink()
    named = plant(data)
    [message] = messages(data, data.file if data.file.exists() else data.written())
    assert message.startswith(f"{named}: ")
    for part in words:
        assert part.format(root=data.root) in message
    assert "zip" not in message
    assert "download" not in message


def noted(data, **arguments) -> list[str]:
    found = check_dataset(data.root, descriptor.load(data.written()), every_label=True, **arguments)
    assert not found.problems
    return found.notes


def test_note_says_what_a_score_would_hide(data):
    assert noted(data, crop_size=6) == []
    data.write(np.minimum(SCENE, 1), "three", "val")
    [note] = noted(data)
    assert "no label of the val split shows tree" in note


def test_rare_class_is_noted_with_the_score_of_a_network_that_leaves_it_out(data):
    data.described["classes"] = data.described["classes"][:2]
    label = np.zeros((100, 100), np.uint8)
    label[0, :2] = 1
    data.write_image("three", "val", (100, 100))
    data.write(label, "three", "val")
    for name in ("one", "two"):
        data.write(np.minimum(SCENE, 1), name)
    [note] = noted(data)
    # 99.98 % for the one, nothing for the other.
    assert "car has 0.02 %: a network that answers back everywhere scores an mIOU of 50.0" in note


def test_rare_values_are_noted_with_their_shares(data):
    data.described["unlisted"] = "ignore"
    large = np.tile(SCENE, (20, 20))
    for name in ("one", "two"):
        data.write_image(name, size=(120, 160))
        data.write(large, name)
    large[0, 0], large[0, 1] = 255, 77
    data.write(large)
    [note] = noted(data)
    assert "train split" in note
    assert "77 (not listed) has 0.0026 %, 255 (void) has 0.0026 %" in note


def test_frames_of_one_film_on_both_sides_are_noted(data):
    for name, split in (("film_0001", "train"), ("film_0002", "val")):
        data.write_image(name, split)
        data.write(SCENE, name, split)
    [note] = noted(data)
    assert "such as film_0001 and film_0002" in note
    assert "`adl dataset split`" in note


def test_images_smaller_than_the_crop_are_noted(data):
    data.write_image(size=(60, 80))
    data.write(np.repeat(np.repeat(SCENE, 10, 0), 10, 1))
    [note] = noted(data, crop_size=33)
    assert "1 of 2 images of the train split are smaller than the crop of 33×33 pixels, such as 6×8 pixels" in note


def test_check_of_a_data_set_prints_notes_and_takes_the_crop_of_the_parameters(data, capsys):
    (data.root.parent / "params.yaml").write_text(edited(shipped_text(), {"crop_size": 33}))
    commands.main(["check-data", str(data.root), "--dataset", str(data.written())])
    text = capsys.readouterr().out
    assert "note: 2 of 2 images of the train split are smaller than the crop of 33×33 pixels" in text
    assert "no problem was found" in text
    commands.main(["check-data", str(data.root), "--dataset", str(data.file), "--json"])
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 1


def test_checkpoint_of_other_classes_is_one_message(data):
    described = descriptor.load(data.written())
    path = Path("pretrained/m.ckpt")
    write_json(sidecar(path), {"dataset": described.to_json()})
    path.write_bytes(b"weights")
    files = {name: str(ROOT / f"architectures/small/{name}.npy") for name in ("net_arch", "cell_arch")}
    ours = {"dataset": str(ROOT / "datasets/synthetic.yaml"), "ckpt_name": "m.ckpt", **files}
    p = params.load(ROOT / "params.yaml", **ours)
    with pytest.raises(AdlError) as error:
        preflight.start_weights(p)
    assert str(error.value).startswith(f"{path}: was trained on 3 classes of Mine (back, car, tree), but ")
    assert "Write `ckpt_classifier: false` in params.yaml" in str(error.value)
    preflight.start_weights(params.load(ROOT / "params.yaml", **ours, ckpt_classifier=False))
