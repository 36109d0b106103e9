"""One set of scenes in every format gives the same records, to the byte."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from adl.dataset.descriptor import DatasetDescriptor, Format, parse
from adl.prepare.check import check_dataset
from adl.prepare.convert import convert
from tests.prepare.test_polygons import written

SIZE = (40, 30)
NAMES = ("road", "car", "traffic sign", "void")
COLOURS = ((1, 2, 3), (200, 0, 0), (0, 200, 0), (9, 9, 9))
SCENES = {
    "a": [("car", [(4, 3), (30, 3), (30, 20), (4, 20)]), ("traffic sign", [(20, 10), (38, 12), (29, 27)])],
    "b": [("void", [(0, 0), (39, 0), (39, 9), (0, 9)]), ("car", [(2, 5), (9, 5), (6, 28)])],
    "c": [("traffic sign", [(1, 1), (5, 1), (5, 29), (1, 29)])],
}
SUFFIX: dict[Format, str] = {
    "ids": ".png", "palette": ".png", "colours": ".png", "labelme": ".json", "coco": ".json",
    "cityscapes-polygons": ".json", "yolo": ".txt",
}  # fmt: skip


def described(form: Format) -> DatasetDescriptor:
    """Train id n is the number n + 5 in ids and palettes, n in YOLO's files."""
    values = {"ids": [[5], [6], [7], [8]], "palette": [[5], [6], [7], [8]], "yolo": [[0], [1], [2], [3]]}
    labels = [
        {"name": name, "colour": colour, "values": numbers}
        for name, colour, numbers in zip(NAMES, COLOURS, values.get(form, [[]] * 4), strict=True)
    ]
    polygons = {} if SUFFIX[form] == ".png" else {"outside": "road", "overlap": "order"}
    name = "all" if form == "coco" else "{name}"
    return parse(
        {
            "name": "scenes", "title": "Scenes", "splits": {"train": "train", "val": "train"},
            "images": {"pattern": "images/{split}/{name}.jpg"},
            "labels": {"pattern": f"labels/{{split}}/{name}{SUFFIX[form]}", "format": form, **polygons},
            "classes": labels[:3], "ignored": labels[3:],
        },
        "scenes.yaml",
    )  # fmt: skip


def label_of(scene) -> np.ndarray:
    """(H, W) uint8: 0-3, as Pillow draws these polygons."""
    picture = Image.new("L", SIZE)
    for name, corners in scene:
        ImageDraw.Draw(picture).polygon(corners, fill=NAMES.index(name))
    return np.array(picture)


def write(root, form: Format) -> None:
    places = root / "images/train", root / "labels/train"
    for place in places:
        place.mkdir(parents=True)
    merged = None
    for number, (name, scene) in enumerate(SCENES.items()):
        rng = np.random.default_rng(number)
        cv2.imwrite(str(places[0] / f"{name}.jpg"), rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
        path = places[1] / f"{name}{SUFFIX[form]}"
        label = label_of(scene)
        if form == "ids":
            cv2.imwrite(str(path), label + 5)
        elif form == "palette":
            picture = Image.fromarray(label + 5, "P")
            picture.putpalette(bytes(range(256)) * 3)
            picture.save(path)
        elif form == "colours":
            Image.fromarray(np.array(COLOURS, np.uint8)[label]).save(path)
        elif form == "coco":
            content = coco_of(name, number, scene)
            merged = content if merged is None else {key: merged[key] + content[key] for key in content}
        else:
            written(form, path, scene, SIZE)
    if merged:
        merged["categories"] = merged["categories"][:4]
        (places[1] / "all.json").write_text(json.dumps(merged))


def coco_of(name: str, number: int, scene) -> dict:
    return {
        "images": [{"id": number, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "categories": [{"id": i, "name": label} for i, label in enumerate(NAMES)],
        "annotations": [
            {
                "id": 10 * number + i, "image_id": number, "category_id": NAMES.index(label), "iscrowd": 0,
                "segmentation": [[value for corner in corners for value in corner]],
            }
            for i, (label, corners) in enumerate(scene)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> bytes:
    return record_of("ids", tmp_path_factory.mktemp("ids"))


def record_of(form: Format, folder) -> bytes:
    dataset = described(form)
    write(folder / "raw", form)
    frames = check_dataset(folder / "raw", dataset, ["train"]).passed().splits["train"].frames
    convert(frames, folder / "train.mindrecord", dataset, workers=1)
    return (folder / "train.mindrecord").read_bytes()


@pytest.mark.parametrize("form", [form for form in SUFFIX if form != "ids"])
def test_record_is_the_same_in_every_format(form, known, tmp_path):
    assert record_of(form, tmp_path) == known
