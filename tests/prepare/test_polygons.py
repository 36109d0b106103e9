"""Polygons: the pixels that they cover, the files that hold them, and what can be wrong with both."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation as OfficialAnnotation
from cityscapesscripts.helpers.labels import name2label
from cityscapesscripts.preparation.json2labelImg import createLabelImage

from adl.dataset.descriptor import DatasetDescriptor, parse
from adl.errors import AdlError
from adl.prepare import DataError
from adl.prepare.polygon_files import READERS, coco
from adl.prepare.polygons import Annotation, Shape, label_map

FORMATS = (*READERS, "coco")
SIZE = (12, 8)


NAMES = {"road": (), "car": (), "traffic sign": ()}


def dataset_of(form: str = "labelme", classes=NAMES, ignored=("void",), **changes) -> DatasetDescriptor:
    """classes: name → values."""
    polygons = {"outside": "road", "overlap": "order"} | changes
    unlisted = polygons.pop("unlisted", "error")
    name = "" if form == "coco" else "{name}"
    return parse(
        {
            "name": "a", "title": "A", "splits": {"train": "train", "val": "val"}, "unlisted": unlisted,
            "images": {"pattern": "{split}/{name}.jpg"},
            "labels": {"pattern": "{split}/" + name + ".json", "format": form, **polygons},
            "classes": [
                {"name": name, "values": values, "colour": (0, 0, number)}
                for number, (name, values) in enumerate(classes.items())
            ],
            "ignored": [{"name": name, "values": [3] if form == "yolo" else []} for name in ignored],
        },
        "a.yaml",
    )  # fmt: skip


SCENE = (
    ("car", [(0, 0), (11, 0), (11, 7), (0, 7)]),
    ("road", [(1, 1), (8, 2), (5, 7)]),
    ("void", [(6, 0), (12, 0), (12, 8), (9, 3)]),
    ("traffic sign", [(2, 2), (2, 6), (4, 4), (7, 6), (7, 3)]),
)
"""Whole-number corners, some of them on the right and the lower edge of the image."""
KNOWN = [
    "ccccccxxxxxx",
    "c.cccccxxxxx",
    "ccs.....xxxx",
    "ccsssssscxxx",
    "ccssssssccxx",
    "ccss..ssccxx",
    "ccsc...scccx",
    "ccccc.cccccx",
]
"""Its label map: . road, c car, s traffic sign, x ignored."""
TRIANGLE = [[0, 0], [3, 0], [3, 3]]


def written(form: str, path: Path, scene, size=SIZE, digits: int = 6) -> Path:
    """A scene as a file of a format. The classes of YOLO are numbered road, car, traffic sign, void."""
    width, height = size
    polygons = [(name, [list(corner) for corner in corners]) for name, corners in scene]
    names = ["road", "car", "traffic sign", "void"]
    if form == "yolo":
        lines = []
        for name, corners in polygons:
            places = [f"{x / width:.{digits}f} {y / height:.{digits}f}" for x, y in corners]
            lines.append(" ".join([str(names.index(name)), *places]))
        path.write_text("\n".join(lines) + "\n")
        return path
    if form == "labelme":
        shapes = [{"label": name, "points": corners, "shape_type": "polygon"} for name, corners in polygons]
        content = {"imageWidth": width, "imageHeight": height, "shapes": shapes}
    elif form == "coco":
        annotations = [
            {
                "id": i,
                "image_id": 7,
                "category_id": 10 + names.index(name),
                "iscrowd": 0,
                "segmentation": [[*itertools.chain(*xy)]],
            }
            for i, (name, xy) in enumerate(polygons)
        ]
        content = {
            "images": [{"id": 7, "file_name": "a.jpg", "width": width, "height": height}],
            "categories": [{"id": 10 + i, "name": name} for i, name in enumerate(names)],
            "annotations": annotations,
        }
    else:
        objects = [{"label": name, "polygon": corners} for name, corners in polygons]
        content = {"imgWidth": width, "imgHeight": height, "objects": objects}
    path.write_text(json.dumps(content))
    return path


def read(form: str, path: Path) -> Annotation:
    if form != "coco":
        return READERS[form](path)
    found, problems = coco(path, [Path("train/a.jpg")])
    assert problems == []
    return found[Path("train/a.jpg")]


def drawn(*shapes, dataset=None, size=SIZE) -> np.ndarray:
    """Of (name or number, corners)."""
    annotation = Annotation(Path("a.json"), [Shape((name,), corners, "a shape") for name, corners in shapes], [])
    return label_map(annotation, size, dataset or dataset_of())


def rows(labels: np.ndarray) -> list[str]:
    return ["".join({0: ".", 1: "c", 2: "s", 255: "x"}[label] for label in row) for row in labels]


def test_polygon_covers_its_inside_and_its_border():
    rectangle = [(1, 1), (5, 1), (5, 3), (1, 3)]
    triangle = [(7, 0), (11, 4), (7, 4)]
    labels = drawn(("car", rectangle), ("traffic sign", triangle), size=(12, 6))
    assert labels.dtype == np.uint8
    assert rows(labels) == [
        ".......s....",
        ".ccccc.ss...",
        ".ccccc.sss..",
        ".ccccc.ssss.",
        ".......sssss",
        "............",
    ]


def test_corner_stands_for_the_pixel_that_it_lies_in():
    whole = drawn(("car", [(1, 1), (5, 1), (5, 3), (1, 3)]))
    inside = drawn(("car", [(1.9, 1.9), (5.9, 1.2), (5.5, 3.99), (1.01, 3.5)]))
    nearly_whole = drawn(("car", [(0.9999, 0.996), (5.004, 0.9999), (5, 2.9999999), (0.9999999, 3)]))
    np.testing.assert_array_equal(inside, whole)
    np.testing.assert_array_equal(nearly_whole, whole)


def test_corner_up_to_one_pixel_outside_is_cut_off():
    assert rows(drawn(("car", [(-0.5, -1), (2, -1), (2, 2.9), (-0.5, 2.9)]), size=(3, 2))) == ["ccc", "ccc"]
    assert rows(drawn(("car", [(-1, 0), (1, 0), (1, 1), (-1, 1)]), size=(3, 2))) == ["cc.", "cc."]


@pytest.mark.parametrize("form", FORMATS)
def test_scene_has_the_same_label_map_in_every_format(form, tmp_path):
    labels = label_map(read(form, written(form, tmp_path / "a", SCENE)), SIZE, dataset_of(form))
    assert rows(labels) == KNOWN


@pytest.mark.parametrize("size", [(4096, 1), (1, 1333)])
def test_six_digits_of_yolo_bring_every_whole_number_back(size, tmp_path):
    names = ["car", "traffic sign"]
    each_pixel = [(names[(x + y) % 2], [(x, y)] * 3) for y in range(size[1]) for x in range(size[0])]
    labels = label_map(read("yolo", written("yolo", tmp_path / "a", each_pixel, size)), size, dataset_of("yolo"))
    np.testing.assert_array_equal(labels.ravel(), np.arange(labels.size) % 2 + 1)


def test_cityscapes_polygons_give_the_official_label_ids(tmp_path):
    rng = np.random.default_rng(0)
    names = ["road", "car", "cargroup", "polegroup", "license plate", "sky", "persongroup", "out of roi"]
    objects = [
        {"label": str(name), "polygon": rng.integers(-1, 33, (6, 2)).tolist(), "deleted": int(name == "sky")}
        for name in rng.choice(names, 40)
    ]
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_text(json.dumps({"imgWidth": 32, "imgHeight": 32, "objects": objects}))
    official = OfficialAnnotation()
    official.fromJsonFile(str(path))
    expected = np.array(createLabelImage(official, "trainIds"))
    scored = sorted((label.trainId, name) for name, label in name2label.items() if 0 <= label.trainId < 255)
    ignored = [name for name, label in name2label.items() if label.trainId == 255]
    classes = {name: () for _, name in scored}
    dataset = dataset_of("cityscapes-polygons", classes, ignored, outside="ignored")
    np.testing.assert_array_equal(label_map(read("cityscapes-polygons", path), (32, 32), dataset), expected)
    assert len(np.unique(expected)) == 4  # road, car, person, and what is ignored


def test_outside_is_what_the_data_set_says():
    corner = ("car", [(0, 0), (1, 0), (0, 1)])
    for outside, expected in (("road", "."), ("traffic sign", "s"), ("ignored", "x")):
        assert rows(drawn(corner, dataset=dataset_of(outside=outside), size=(3, 1))) == ["cc" + expected]
    with pytest.raises(AdlError, match=r"labels\.outside: raod is no class"):
        dataset_of(outside="raod")
    with pytest.raises(AdlError, match="polygons need `outside:`"):
        dataset_of(outside="")


def test_overlaps_go_by_order_or_by_area():
    small = ("car", [(1, 0), (2, 0), (2, 1), (1, 1)])
    as_small = ("traffic sign", [(2, 0), (3, 0), (3, 1), (2, 1)])
    large = ("void", [(0, 0), (4, 0), (4, 1), (0, 1)])
    by_area = dataset_of(overlap="area")
    assert rows(drawn(small, as_small, large, size=(5, 1))) == ["xxxxx"]
    assert rows(drawn(large, small, as_small, size=(5, 1))) == ["xcssx"]
    assert rows(drawn(small, as_small, large, dataset=by_area, size=(5, 1))) == ["xcssx"]


def test_number_counts_through_the_classes_unless_there_are_values():
    whole = [(0, 0), (1, 0), (1, 1)]
    of_the_second = dataset_of("yolo", {"road": [7], "car": [0, 1]}, ignored=())
    assert rows(drawn((1, whole), dataset=dataset_of("yolo"), size=(2, 1))) == ["cc"]
    assert rows(drawn((0, whole), dataset=of_the_second, size=(2, 1))) == ["cc"]
    assert rows(drawn((7, whole), dataset=of_the_second, size=(2, 1))) == [".."]
    with pytest.raises(DataError, match="class number 2; there are 0, 1, 7"):
        drawn((2, whole), dataset=of_the_second)


def test_unlisted_labels_are_ignored_on_request():
    whole = [(0, 0), (1, 0), (1, 1)]
    for form, name in (("labelme", "bus"), ("yolo", 9)):
        lenient = dataset_of(form, unlisted="ignore")
        assert rows(drawn((name, whole), dataset=lenient, size=(3, 1))) == ["xx."]


def test_rectangle_of_labelme_is_a_polygon(tmp_path):
    path = tmp_path / "a.json"
    shape = {"label": "car", "points": [[3, 2], [1, 0]], "shape_type": "rectangle"}
    path.write_text(json.dumps({"shapes": [shape]}), encoding="utf-8-sig")
    assert rows(label_map(READERS["labelme"](path), (5, 3), dataset_of())) == [".ccc.", ".ccc.", ".ccc."]


def test_text_file_of_yolo_may_be_empty_or_come_from_windows(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"")
    assert rows(label_map(READERS["yolo"](path), (3, 1), dataset_of("yolo"))) == ["..."]
    path.write_bytes(b"\xef\xbb\xbf1 0 0 0.5 0 0.5 1\r\n\r\n")
    assert rows(label_map(READERS["yolo"](path), (4, 2), dataset_of("yolo"))) == ["ccc.", ".cc."]


def in_labelme(label="car", points=TRIANGLE, size=SIZE, **further) -> dict:
    shape = {"label": label, "points": points} | further
    return {"imageWidth": size[0], "imageHeight": size[1], "shapes": [shape]}


def in_cityscapes(label="car", points=TRIANGLE) -> dict:
    return {"imgWidth": 12, "imgHeight": 8, "objects": [{"label": label, "polygon": points}]}


def in_coco(file_name="a.jpg", size=SIZE, name="car", image_id=7, **further) -> dict:
    return {
        "images": [{"id": 7, "file_name": file_name, "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": name}],
        "annotations": [{"id": 5, "image_id": image_id, "category_id": 1} | further],
    }


FLAT = {"segmentation": [[0, 0, 3, 0, 3, 3]]}
RLE = {"segmentation": {"counts": [0, 96], "size": [8, 12]}}
FAULTS = {
    "misspelt label": (
        "labelme",
        in_labelme("carr"),
        "polygon label",
        "a polygon is labelled carr, which the data set's YAML does not list. Likely cause: car was meant. "
        'Correct the file, or write `- {name: "carr", colour: [0, 0, 0]}` below `classes:` or `ignored:`',
    ),
    "unlisted label": ("cityscapes-polygons", in_cityscapes("bus"), "polygon label", "the YAML lacks a class"),
    "unlisted category": ("coco", in_coco(name="bus", **FLAT), "polygon label", "labelled bus"),
    "unlisted number": (
        "yolo",
        "9 0 0 1 0 1 1",
        "class number",
        "a polygon has class number 9; there are 0, 1, 2, 3. Likely cause: the file was written for other classes, or "
        "its numbers begin at 1. Write below each of the `classes:` the number that means it, such as `values: [1]`",
    ),
    "two corners": ("labelme", in_labelme(points=[[0, 0], [3, 3]]), "too few corners", "shapes[0] (car) has 2 corners"),
    "two corners in COCO": (
        "coco",
        in_coco(segmentation=[[0, 0, 3, 0]]),
        "too few corners",
        "annotation 5 (car) of a.jpg has 2 corners",
    ),
    "outside": (
        "cityscapes-polygons",
        in_cityscapes(points=[[2, 1], [13, 4], [2, 4]]),
        "polygon outside",
        "objects[0] (car) reaches from (2, 1) to (13, 4), outside the image of 12×8 pixels. "
        "Likely cause: it was drawn on an image of another size",
    ),
    "pixels in YOLO": ("yolo", "1 0 0 5 0 5 7", "polygon outside", "its coordinates are pixels"),
    "circle": (
        "labelme",
        in_labelme(shape_type="circle"),
        "type of shape",
        "shapes[0] (car) is of the type circle; only polygons and rectangles are read",
    ),
    "size": (
        "coco",
        in_coco(size=(24, 16), segmentation=[[0, 0, 23, 0, 23, 15]]),
        "stated size",
        "a.jpg states 24×16 pixels, but the image is 12×8 pixels. Likely cause: the image was resized",
    ),
    "turned": ("labelme", in_labelme(size=(8, 12)), "stated size", "Write `orientation: apply` below `images:`"),
    "crowd": (
        "coco",
        in_coco(iscrowd=1, **RLE),
        "crowd",
        "annotation 5 (car) of a.jpg is a crowd (iscrowd). Likely cause: it outlines many things at once, in "
        "run-length encoding. Delete it, or export the labels as PNG masks and write `format: ids` below `labels:`",
    ),
    "RLE": ("coco", in_coco(**RLE), "RLE", "mask in run-length encoding (RLE), not a polygon"),
    "box in COCO": ("coco", in_coco(bbox=[0, 0, 3, 3]), "box", "annotation 5 (car) of a.jpg is a box, not a polygon"),
    "box in YOLO": ("yolo", "1 0.5 0.5 0.2 0.2", "box", "line 1 is a box, not a polygon"),
    "odd number in YOLO": (
        "yolo",
        "\n1 0 0 1 0 1 1 0.9",
        "odd coordinates",
        "line 2 has 7 coordinates; x and y of each corner make an even number",
    ),
    "odd number in COCO": ("coco", in_coco(segmentation=[[0, 0, 3, 0, 3]]), "odd coordinates", "has 5 coordinates"),
    "unknown image id": ("coco", in_coco(image_id=8, **FLAT), "damaged", "annotation 5 is of image 8 and category 1"),
    "unknown category": ("coco", in_coco(category_id=2, **FLAT), "damaged", "of image 7 and category 2, one of which"),
    "empty": ("labelme", "", "damaged", "the file is empty (0 bytes)"),
    "cut": ("coco", '{"images": [', "damaged", "Invalid JSON: EOF while parsing"),
    "no corner": ("labelme", in_labelme(points=[[1]]), "damaged", "shapes.0.points.0.1: Field required"),
    "no number": ("labelme", in_labelme(points=[*TRIANGLE, [1, math.nan]]), "polygon outside", "to (3, nan)"),
    "words in YOLO": (
        "yolo",
        "car 0 0 1 0 1 1\ncar 1",
        "damaged",
        "line 1 is not a class's number with coordinates: 'car",
    ),
    "NaN in YOLO": ("yolo", "1 nan 0 1 0 1 1", "polygon outside", "line 1 reaches from (nan, 0) to (nan, 8)"),
    "no class in YOLO": ("yolo", "0.5 0 0 1 0 1 1", "damaged", "line 1 is not a class's number"),
    "other format": (
        "coco",
        in_labelme(),
        "label format",
        "is not coco. Likely cause: it has the key `shapes`, which tells labelme. Write `format: labelme` below",
    ),
}


@pytest.mark.parametrize("problem", FAULTS)
def test_problem_is_one_problem_that_names_the_file(problem, tmp_path):
    form, content, kind, words = FAULTS[problem]
    path = tmp_path / "planted"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError) as error:
        label_map(read(form, path), SIZE, dataset_of(form))
    [problem] = error.value.problems
    assert (problem.kind, problem.file) == (kind, path)
    assert words in str(problem)


def test_every_problem_of_a_file_is_named_and_equal_ones_once(tmp_path):
    path = tmp_path / "a.json"
    shapes = [
        *in_labelme("bus")["shapes"] * 2,
        *in_labelme(shape_type="circle")["shapes"],
        *in_labelme("lorry")["shapes"],
    ]
    path.write_text(json.dumps({"shapes": shapes}))
    with pytest.raises(DataError) as error:
        label_map(READERS["labelme"](path), SIZE, dataset_of())
    assert [problem.kind for problem in error.value.problems] == ["type of shape", "polygon label", "polygon label"]


@pytest.mark.parametrize("form", FORMATS)
def test_missing_file_is_a_problem(form, tmp_path):
    with pytest.raises(DataError, match="missing: cannot be read"):
        read(form, tmp_path / "missing")


def test_text_file_of_another_encoding_is_damaged(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(DataError, match="not UTF-8 text"):
        READERS["yolo"](path)


def test_images_of_coco_are_found_by_their_names_and_if_need_be_by_their_folders(tmp_path):
    images = [Path("train") / name for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg")]
    content = in_coco("b\\1.jpg", **FLAT)
    content["images"] += [{"id": 8, "file_name": "a/1.jpg"}, {"id": 9, "file_name": "x/2.jpg"}]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    found, problems = coco(path, images)
    assert problems == []
    assert [len(found[image].shapes) for image in images] == [0, 1, 0]


def test_images_and_entries_of_coco_that_have_no_counterpart_are_problems(tmp_path):
    images = [Path("train") / name for name in ("a/1.jpg", "b/1.jpg")]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(in_coco("2.jpg", **FLAT)))
    _, problems = coco(path, images[:1])
    assert [(problem.kind, problem.file) for problem in problems] == [
        ("labels without image", path),
        ("image without labels", images[0]),
    ]
    assert "file_name 2.jpg is none of the split's images" in str(problems[0])
    assert f"{path} does not list it" in str(problems[1])
    path.write_text(json.dumps(in_coco("1.jpg", **FLAT)))
    assert "2 images have this name, and its folders are not theirs" in str(coco(path, images)[1][0])


def test_every_polygon_of_an_annotation_of_coco_is_drawn(tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(in_coco(segmentation=[[0, 0, 1, 0, 0, 0], [3, 0, 4, 0, 3, 0]])))
    assert rows(label_map(read("coco", path), SIZE, dataset_of("coco")))[0] == "cc.cc......."
