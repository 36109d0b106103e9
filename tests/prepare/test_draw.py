"""Splits that are drawn: near to the shares, by group, and kept."""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import preflight
from adl.commands import dataset_split
from adl.config.recipes import edited, shipped_text
from adl.dataset import descriptor
from adl.dataset.descriptor import Draw
from adl.errors import AdlError
from adl.prepare import draw
from adl.prepare.check import check_dataset
from adl.prepare.layout import Split
from adl.workspace import CHECKED, DATASETS
from pipeline import check
from tests.conftest import ROOT

FILE = DATASETS / "mine.yaml"
LOCK = DATASETS / "mine.split.json"
YAML = """\
# By hand.
name: mine
title: Mine
images: {pattern: "images/{name}.png"}
labels: {pattern: "masks/{name}.png", format: ids}
classes:
  - {name: back, colour: [0, 0, 0], values: [0]}
  - {name: car, colour: [9, 0, 0], values: [1]}
draw: {val: 0.25, test: 0, group: "(film.)_"}
"""


def add(*names: str) -> None:
    rng = np.random.default_rng(len(list(Path().glob("data/images/*"))))
    for name in names:
        for folder, pixels in (("images", rng.integers(0, 256, (4, 4, 3))), ("masks", np.eye(4))):
            (Path("data") / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f"data/{folder}/{name}.png", pixels.astype(np.uint8))


@pytest.fixture(autouse=True)
def films(tmp_path, monkeypatch):
    """Four films of two frames each, of one data set, in a workspace of its own."""
    (tmp_path / "workspace" / DATASETS).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "workspace")
    FILE.write_text(YAML)
    add(*(f"film{letter}_{n}" for letter in "abcd" for n in (1, 2)))


def split(*options: str) -> dict[str, list[str]]:
    """Run the command; returns what it wrote."""
    parser = argparse.ArgumentParser()
    dataset_split.add(parser)
    dataset_split.run(parser.parse_args(["data", "--dataset", str(FILE), *options]))
    return json.loads(LOCK.read_text())["splits"]


def problems() -> list[str]:
    return [str(problem) for problem in check_dataset("data", descriptor.load(FILE)).problems]


def test_frames_of_a_film_lie_on_one_side_and_every_image_on_one():
    found = split()
    assert {side: len(names) for side, names in found.items()} == {"train": 6, "val": 2}
    for one, other in itertools.combinations(found.values(), 2):
        assert not {name[:5] for name in one} & {name[:5] for name in other}
    assert problems() == []
    assert split("--redraw") == found, "the seed decides"
    assert len({tuple(split("--redraw", "--seed", str(seed))["val"]) for seed in range(9)}) > 1


def test_frames_from_the_lock_are_those_of_a_list():
    found = split()
    drawn = descriptor.load(FILE)
    content = {key: value for key, value in drawn.to_json().items() if key != "draw"}
    for side, names in found.items():
        Path(f"data/{side}.txt").write_text("\n".join(names))
        content["splits"][side] = {"list": f"{side}.txt"}
    listed = descriptor.parse(content, "listed")
    for side in found:
        assert Split(Path("data"), side, drawn).passed().frames == Split(Path("data"), side, listed).passed().frames


def test_without_a_lock_or_with_other_images_one_message_says_what_to_run():
    [message] = problems()
    assert message.startswith(f"{LOCK}: does not exist")
    assert "Run `adl dataset split`, and commit" in message
    split()
    add("filma_3")
    Path("data/images/filmb_1.png").unlink()
    Path("data/masks/filmb_1.png").unlink()
    [message] = problems()
    assert "1 images are not in it, such as filma_3 and 1 images of it are gone, such as filmb_1" in message
    assert "`adl dataset split`: every frame stays on its side" in message


def test_again_it_keeps_everyone_and_places_new_groups_only():
    before = split()
    add("filma_3", *(f"filme_{n}" for n in range(4)))
    after = split()
    assert problems() == []
    side = {name: split for split, names in after.items() for name in names}
    assert all(side[name] == split for split, names in before.items() for name in names)
    assert side["filma_3"] == side["filma_1"]
    assert {side[f"filme_{n}"] for n in range(4)} == {"train"}, "val has nearly its share"


def test_another_draw_is_asked_for():
    split()
    FILE.write_text(YAML.replace("0.25", "0.5"))
    [message] = problems()
    assert 'was drawn with {"val": 0.25' in message
    with pytest.raises(AdlError, match="`adl dataset split --redraw`"):
        split()
    assert len(split("--redraw")["val"]) == 4
    LOCK.write_text(LOCK.read_text().replace("filma_1", "filma_9"))
    [message] = problems()
    assert "is not as it was written" in message


def test_options_are_written_into_the_file_of_the_data_set():
    assert split("--val", "0.5", "--seed", "3").keys() == {"train", "val"}
    text = FILE.read_text()
    assert text.startswith("# By hand.\n")
    assert text.endswith('draw: {"val": 0.5, "test": 0.0, "group": "(film.)_", "seed": 3}\n')
    assert text.count("draw:") == 1
    FILE.write_text(YAML.partition("draw:")[0])
    assert len(split("--redraw", "--val", "0.25", "--test", "0.25")["test"]) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(film.)_", "film.", "has no (…) around what tells the group"),
        ("(film.)_", "(film.", "is no regular expression"),
        ("(film.)_", "(movie)", "does not match the name filma_1"),
        ("(film.)_", "(film)", "8 images of 1 groups leave nothing for val"),
        ("0.25, test: 0", "0.5, test: 0.5", "leave nothing for train"),
        ("images/", "{split}/", "leave {split} out"),
        ("draw:", "splits: {train: a, val: b}\ndraw:", "leave `splits:` out, or leave `draw:` out"),
        ("draw:", "splits: {train: {list: t.txt}, val: {list: v.txt}}\n#", "are folders or lists, which are not drawn"),
    ],
)
def test_draw_that_cannot_be_is_one_message(old, new, words):
    FILE.write_text(YAML.replace(old, new))
    with pytest.raises(AdlError) as error:
        split()
    assert words in str(error.value)
    assert not LOCK.exists()


def test_shares_are_as_near_as_whole_groups_allow(rng):
    for _ in range(50):
        sizes = rng.integers(1, 30, 8).tolist()
        wanted = float(rng.uniform(0, sum(sizes)))
        chosen = draw.nearest_sum(sizes, wanted)
        assert len(chosen) == len(set(chosen))
        every = [sum(sizes[n] for n in some) for k in range(9) for some in itertools.combinations(range(8), k)]
        assert abs(sum(sizes[n] for n in chosen) - wanted) == min(abs(total - wanted) for total in every)
    names = [f"{n:05d}" for n in range(5000)]
    found = draw.drawn(names, Draw(val=0.15, test=0.1), {})
    assert [len(found[side]) for side in ("train", "val", "test")] == [3750, 750, 500]


def test_one_file_of_coco_may_hold_the_labels_of_all_splits():
    split()
    names = sorted(path.stem for path in Path("data/images").iterdir())
    content = {
        "images": [{"id": name, "file_name": f"{name}.png"} for name in names],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": name, "category_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3]]} for name in names],
    }
    Path("data/all.json").write_text(json.dumps(content))
    masks = 'labels: {pattern: "masks/{name}.png", format: ids}'
    polygons = "labels: {pattern: all.json, format: coco, outside: back, overlap: order}"
    FILE.write_text(YAML.replace(masks, polygons).replace(", values: [0]", "").replace(", values: [1]", ""))
    assert problems() == []


def test_later_stages_depend_on_the_draw_and_on_no_other_data_set_s(monkeypatch):
    monkeypatch.setattr(preflight, "check", lambda p: "none")
    monkeypatch.setattr(sys, "argv", ["check"])
    checked = set()
    for dataset, seed in (("synthetic", 0), ("synthetic", 1), ("mine", 0), ("mine", 1)):
        split("--redraw", "--seed", str(seed))
        text = edited(shipped_text(), {"dataset": f"datasets/{dataset}.yaml"})
        Path("params.yaml").write_text(text)
        shutil.copy(ROOT / "datasets/synthetic.yaml", DATASETS)
        check.main()
        checked.add(CHECKED.read_text())
    assert len(checked) == 3
    assert "parameters, architecture and data layout were checked\n" in checked
