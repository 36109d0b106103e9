"""`adl dataset`: the file that init writes, and the sheet that show draws, from the command line."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from adl import commands
from adl.commands.dataset_show import SHOWN
from adl.dataset import descriptor
from adl.prepare.layout import Split
from adl.report import figures
from tests.prepare.test_guess import labelme, mask, picture, plain, shapes, voc


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit, match="2"):
        commands.main(["dataset", *arguments])
    return capsys.readouterr().err


def test_init_writes_a_file_that_check_accepts_and_lists_its_guesses(tmp_path, capsys):
    voc(tmp_path / "My Photos")
    (tmp_path / "datasets").unlink()
    commands.main(["dataset", "init", "My Photos"])
    *guesses, last = capsys.readouterr().out.splitlines()
    assert "labels.format: palette, because PNGs with a palette were found in 2 files" in guesses
    assert last.startswith("datasets/my-photos.yaml: written")
    assert descriptor.load("datasets/my-photos.yaml").name == "my-photos"
    commands.main(["check-data", "My Photos", "--dataset", "datasets/my-photos.yaml"])


def test_file_that_is_there_is_replaced_by_force_only(tmp_path, capsys):
    labelme(tmp_path / "data")
    arguments = ["init", "data", "--name", "cars", "--output", "own.yaml"]
    (tmp_path / "own.yaml").write_text("edited by hand")
    assert refused(capsys, *arguments) == (
        "error: own.yaml: exists. --force replaces it; --output names another place.\n"
    )
    assert (tmp_path / "own.yaml").read_text() == "edited by hand"
    commands.main(["dataset", *arguments, "--force"])
    assert descriptor.load("own.yaml").name == "cars"


def test_missing_folder_and_impossible_name_are_refused(tmp_path, capsys):
    assert "nowhere: is no folder" in refused(capsys, "init", "nowhere")
    voc(tmp_path / "data")
    message = refused(capsys, "init", "data", "--name", "My Cars", "--output", "a.yaml")
    assert "name: 'My Cars' is not accepted" in message
    assert not (tmp_path / "a.yaml").exists()


def test_missing_splits_are_drawn_by_the_command_that_init_names(tmp_path, capsys):
    for name in "abcdefghi":
        shapes(picture(tmp_path / f"data/{name}.jpg").with_suffix(".json"), "_background_", "car")
    (tmp_path / "datasets").unlink()
    commands.main(["dataset", "init", "data"])
    printed = capsys.readouterr().out
    assert "draw: `adl dataset split` draws the splits" in printed
    commands.main(printed.rpartition(" with: adl ")[2].split())
    assert "data.split.json: commit it" in capsys.readouterr().out
    drawn = Split(tmp_path / "data", "val", descriptor.load("datasets/data.yaml")).passed()
    assert len(drawn.frames) == 1


@pytest.fixture
def sheets(monkeypatch) -> list:
    """What is drawn: pictures, colours, title."""
    drawn = []
    original = figures.sheet
    monkeypatch.setattr(figures, "sheet", lambda *given: drawn.append(given) or original(*given))
    return drawn


def test_show_draws_images_of_all_sizes_with_their_labels_and_the_classes_that_occur(tmp_path, capsys, sheets):
    plain(tmp_path / "data")
    large = tmp_path / "data/Images/validation/val1.JPG"
    Image.new("RGB", (2000, 1000), (200, 100, 50)).save(large)
    Image.new("L", (2000, 1000), 255).save(tmp_path / "data/Masks/validation/val1.png")
    turned = tmp_path / "data/Images/validation/val2.JPG"
    exif = Image.Exif()
    exif[0x112] = 6
    picture(turned, exif=exif)
    Image.new("L", (6, 8), 255).save(tmp_path / "data/Masks/validation/val2.png")
    mask(tmp_path / "data/Masks/validation/val3.png", 255)
    commands.main(["dataset", "init", "data", "--output", "own.yaml"])
    commands.main(["dataset", "show", "data", "--dataset", "own.yaml"])
    assert capsys.readouterr().out.endswith("dataset.png: data, val: 3 of 3 images\n")
    [(pictures, colours, _)] = sheets
    assert {name: image.shape for name, image in pictures.items()} == {
        "val1": (320, 640, 3),
        "val2": (8, 6, 3),
        "val3": (6, 8, 3),
    }
    assert [*colours] == ["class_255"]
    np.testing.assert_allclose(pictures["val1"][0, 0], [100 + 64, 50, 25], atol=3)
    assert cv2.imread("dataset.png").shape[1] > 1000


def test_sheet_shows_sixteen_images_spread_over_the_split(tmp_path, sheets, monkeypatch):
    monkeypatch.setattr(figures, "save", lambda *_: None)
    for number in range(50):
        for split in ("train", "val"):
            picture(tmp_path / f"data/images/{split}/{split}{number:02}.png")
            mask(tmp_path / f"data/masks/{split}/{split}{number:02}.png", 0, 1, 255)
    commands.main(["dataset", "init", "data", "--output", "own.yaml"])
    commands.main(["dataset", "show", "data", "--dataset", "own.yaml", "--split", "train", "--output", "a.png"])
    [(pictures, colours, title)] = sheets
    numbers = [int(name.removeprefix("train")) for name in pictures]
    assert len(numbers) == SHOWN == 16
    assert numbers == sorted(numbers)
    assert max(np.diff([0, *numbers, 50])) <= 4
    assert [*colours] == ["background", "class_1", "(ignored)"]
    assert title == "data, train: 16 of 50 images"


def test_split_without_labels_and_output_that_is_no_png_are_refused(tmp_path, capsys):
    plain(tmp_path / "data")
    commands.main(["dataset", "init", "data", "--output", "own.yaml"])
    show = ("show", "data", "--dataset", "own.yaml")
    assert "the labels of the test split are withheld" in refused(capsys, *show, "--split", "test")
    assert "--output a.jpg: must end with .png" in refused(capsys, *show, "--output", "a.jpg")
