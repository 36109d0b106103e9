"""The data set as a value: tables that follow from its classes, what its file may say, and what a model keeps of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import id2label, labels

from adl.dataset import descriptor
from adl.errors import AdlError
from tests.conftest import ROOT
from tests.data import CITYSCAPES

FILE = """
name: own
title: Own
splits: {train: train, val: val}
images: {pattern: "images/{split}/{name}.png"}
labels: {pattern: "labels/{split}/{name}.png", format: ids}
classes:
  - {name: road, colour: [128, 64, 128], values: [1, 2]}
  - {name: sky, colour: [70, 130, 180], values: [3]}
ignored:
  - {name: void, values: [0]}
"""


def test_label_map_is_the_official_one():
    for label in labels:
        if label.id >= 0:
            assert CITYSCAPES.train_ids[label.id] == (255 if label.trainId in (-1, 255) else label.trainId)
            name = CITYSCAPES.label_names[label.id]
            assert name == label.name
    assert [id2label[CITYSCAPES.label_ids[i]].trainId for i in range(19)] == list(range(19))
    assert (CITYSCAPES.label_ids[19:] == 0).all()
    assert len(CITYSCAPES.class_names) == 19
    assert len(CITYSCAPES.categories) == 7
    by_name = {label.name: label for label in labels}
    for entry in (*CITYSCAPES.classes, *CITYSCAPES.ignored):
        official = by_name[entry.name]
        assert (entry.colour, entry.category) == (official.color, official.category)
    for train_id, entry in enumerate(CITYSCAPES.classes):
        assert tuple(CITYSCAPES.palette[train_id]) == entry.colour
    assert not CITYSCAPES.palette[19:].any()
    assert CITYSCAPES.categories[0] == "flat"
    assert [label.category for label in CITYSCAPES.classes[:3]] == ["flat", "flat", "construction"]


def test_drawn_scenes_have_the_labels_and_the_folders_of_cityscapes():
    drawn = descriptor.shipped("synthetic")
    for name in ("classes", "ignored", "unlisted", "normalise"):
        assert getattr(drawn, name) == getattr(CITYSCAPES, name)
    assert (drawn.images.pattern, drawn.labels.pattern) == (CITYSCAPES.images.pattern, CITYSCAPES.labels.pattern)


def load(tmp_path, text: str) -> descriptor.DatasetDescriptor:
    (tmp_path / "own.yaml").write_text(text)
    return descriptor.load(tmp_path / "own.yaml")


def test_what_is_left_out_has_its_default(tmp_path):
    own = load(tmp_path, FILE)
    assert (own.expect, own.unlisted, own.source, own.withheld) == ({}, "error", "", {})
    assert own.normalise == CITYSCAPES.normalise
    assert own.labelled_splits == ("train", "val")
    assert own.train_ids[:5].tolist() == [255, 0, 0, 1, 255]
    assert own.label_ids[[0, 1, 255]].tolist() == [1, 3, 0]
    assert own.categories == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Own", "titel: Own", "titel: unknown key; did you mean title?"),
        ("name: void, values", "name: void, value", "ignored.0.value: unknown key; did you mean values?"),
        ("title: Own", "zzz: 1", "zzz: unknown key."),
        ("title: Own\n", "", "title: missing."),
        (", format: ids", "", "labels.format: missing."),
        ("title: Own", "title: 3", "title: 3 is not accepted: input should be a valid string."),
        ("values: [3]", "values: ['3']", "sky: '3' is no value of ids; expected: a number from 0 to 255."),
        ("values: [3]", "values: [256]", "classes.1.values.0: 256 is not accepted"),
        ("name: sky", "name: true", "classes.1.name: True is not accepted"),
        ("name: sky", "name: true", "for truth values: write it in quotes, as"),
        ("name: own", "name: My set", "name: 'My set' is not accepted: string should match pattern"),
        ("format: ids", "format: rgb", "labels.format: 'rgb' is not accepted: input should be 'ids', 'palette', "),
        ("format: ids", "format: colours", "road: 1 is no value of colours; expected: a colour, as [R, G, B]."),
        ("format: ids", "format: labelme", "labels: polygons need `outside:` (the class of what none covers, or"),
        ("values: [3]", "values: [2]", "classes: the value 2 is given to road and sky; give it to one of them."),
        ("name: void", "name: sky", 'classes: the name "sky" is given to sky and sky'),
        ("[70, 130, 180]", "[128, 64, 128]", "classes: the colour [128, 64, 128] is given to road and sky"),
        ("name: sky,", "name: sky, category: air,", "classes: road: without a category, which the others have."),
        ("images/{split}/{name}", "images/{split}/{id}", "images.pattern: {id} has no meaning; there are {split}, "),
        ("images/{split}/{name}", "images/{split}/x", "images.pattern: must end with a file's name that holds {name}"),
        (
            "images/{split}/{name}",
            "images/{name}",
            "images.pattern: {split} must stand in a folder's name, unless each split has a list, or `draw:`",
        ),
        ("images/{split}/{name}", "{group}/{split}/{name}", "{group} must be the whole name of the last folder."),
        ("images/{split}/{name}", "images/{split/{name}", "images.pattern: "),
        (", val: val}", "}", "splits: val is missing."),
        ("val: val}", "val: {folder: val, labels: withheld}}", "splits.val: needs labels."),
        ("splits:", "expect: {tset: 3}\nsplits:", "expect: there is no split tset."),
        ("\n  - {name: sky, colour: [70, 130, 180], values: [3]}", "", "classes: there must be 2 to 255, not 1."),
        ("title: Own", "\ttitle: Own", "YAML takes no tabs: indent with spaces."),
    ],
)
def test_fault_of_the_file_is_named(tmp_path, old, new, message):
    assert FILE.count(old) == 1
    with pytest.raises(AdlError) as error:
        load(tmp_path, FILE.replace(old, new))
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/own.yaml: ")


def test_all_faults_are_listed_at_once(tmp_path):
    with pytest.raises(AdlError) as error:
        load(tmp_path, FILE.replace("title: Own", "titel: Own").replace("values: [3]", "values: x"))
    assert str(error.value).splitlines()[1:] == [
        "  title: missing.",
        "  classes.1.values: 'x' is not accepted: input should be a valid tuple.",
        "  titel: unknown key; did you mean title?",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory). The parameter dataset names the file"),
        (b"name: f\xfcr", "not UTF-8 text"),
        (b"name: [", "not valid YAML"),
        (b"- a", "is not valid:"),
        (b"", "is not valid:"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(AdlError, match=re.escape(message)):
        descriptor.load(tmp_path / "own.yaml")


def test_labels_of_a_split_are_there_withheld_or_of_no_split():
    CITYSCAPES.check_labelled("val")
    with pytest.raises(AdlError, match=r"test: the labels .* are withheld by Cityscapes.*adl submission"):
        CITYSCAPES.check_labelled("test")
    with pytest.raises(AdlError, match=r"tset: unknown split of Cityscapes; did you mean test\?"):
        CITYSCAPES.check_labelled("tset")


@pytest.mark.parametrize("name", [path.stem for path in sorted((ROOT / "datasets").glob("*.yaml"))])
def test_a_model_gives_back_the_data_set_that_it_was_trained_on(name):
    dataset = descriptor.shipped(name)
    content = json.loads(json.dumps({"dataset": dataset.to_json()}))
    found = descriptor.of_sidecar(content, "m.ckpt.json")
    assert found == dataset
    np.testing.assert_array_equal(found.train_ids, dataset.train_ids)
    assert descriptor.of_sidecar({}, "m.ckpt.json") == descriptor.shipped("cityscapes")


@pytest.mark.parametrize(
    ("pattern", "place", "path"),
    [
        ("leftImg8bit/{split}/{group}/{name}_x.png", "leftImg8bit/a", "leftImg8bit/a/ulm/n_x.png"),
        ("{split}/images/{name}.png", "a/images", "a/images/n.png"),
        ("{split}annot/{name}.png", "aannot", "aannot/n.png"),
    ],
)
def test_pattern_says_where_a_split_and_a_frame_are(pattern, place, path):
    files = descriptor.Images(pattern=pattern)
    assert files.place("a") == Path(place)
    assert files.path(Path(), "a", "ulm", "n") == Path(path)
    assert files.name_in(Path(path).name) == "n"
    assert files.name_in("else.jpg") is None
