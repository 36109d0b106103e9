"""`adl predict` on any photograph, folder or video."""

from __future__ import annotations

import functools
import os
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from adl import commands
from adl.console import progress
from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import photographs, videos
from adl.deploy.predictor import Predictor
from adl.deploy.videos import Video
from tests.data import huge_png


def read(folder, name, kind):
    return cv2.imread(str(folder / f"{name}_{kind}.png"), cv2.IMREAD_UNCHANGED)


def predict(*arguments) -> None:
    commands.main(["predict", *map(str, arguments)])


@pytest.mark.parametrize("model", ["m.ckpt", "m.mindir"])
@pytest.mark.parametrize("size", [(33, 33), (20, 90), (70, 50), (64, 128)])
def test_small_and_odd_sizes_are_labelled_at_their_size(models, photograph, tmp_path, model, size):
    cv2.imwrite(str(tmp_path / "p.png"), photograph(*size))
    predict(tmp_path / "p.png", "--model", models / model, "--output", tmp_path / "out")
    labels = read(tmp_path / "out", "p", "labelIds")
    assert labels.shape == size
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= set(CITYSCAPES.label_names)
    assert read(tmp_path / "out", "p", "color").shape == (*size, 3)
    np.testing.assert_array_equal(
        read(tmp_path / "out", "p", "color")[..., ::-1],
        CITYSCAPES.palette[CITYSCAPES.train_ids[labels]],
    )


@pytest.mark.slow
def test_photograph_of_48_megapixels_is_labelled_at_its_size(models, photograph, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "large.jpg"), photograph(6000, 8000))
    predict(
        tmp_path / "large.jpg",
        "--model",
        models / "m.ckpt",
        "--output",
        tmp_path / "out",
        "--longest-side",
        512,
    )
    assert read(tmp_path / "out", "large", "labelIds").shape == (6000, 8000)
    assert "8000×6000, " in capsys.readouterr().out


def test_portrait_with_exif_rotation_is_labelled_upright(models, photograph, tmp_path):
    upright = photograph(96, 64)
    Image.fromarray(upright[..., ::-1]).save(tmp_path / "upright.jpg", quality=100, subsampling=0)
    lying = Image.open(tmp_path / "upright.jpg").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90° to the right to see it upright"
    lying.save(tmp_path / "lying.jpg", quality=100, subsampling=0, exif=exif)
    assert Image.open(tmp_path / "lying.jpg").size == (96, 64)
    predict(tmp_path, "--model", models / "m.ckpt", "--output", tmp_path / "out")
    one, other = (read(tmp_path / "out", name, "labelIds") for name in ("upright", "lying"))
    assert one.shape == other.shape == (96, 64)
    assert (one == other).mean() > 0.95
    assert len(np.unique(one)) > 1


def test_options_do_what_they_say(models, photograph, tmp_path):
    image = photograph(64, 128)
    cv2.imwrite(str(tmp_path / "p.png"), image)
    load = functools.partial(Predictor.load, models / "m.ckpt", CITYSCAPES, device_target="CPU")
    expected = {
        (): load(flip=True)(image),
        ("--no-flip",): load(flip=False)(image),
        ("--longest-side", "64"): load(flip=True)(image, longest_side=64),
    }
    assert len({labels.tobytes() for labels in expected.values()}) == 3
    for options, labels in expected.items():
        predict(
            tmp_path / "p.png", "--model", models / "m.ckpt", "--output", tmp_path / "out", *options
        )
        np.testing.assert_array_equal(
            read(tmp_path / "out", "p", "labelIds"), CITYSCAPES.label_ids[labels]
        )
        overlay = read(tmp_path / "out", "p", "overlay")
        np.testing.assert_array_equal(
            overlay, image // 2 + CITYSCAPES.palette[labels][..., ::-1] // 2
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("predict", "p.png", "--longest-side", "64", "--model", "m.mindir"),
            "a MINDIR has a fixed input size",
        ),
        (("predict", "p.png", "--output", "p.png"), "p.png is a file; name a folder"),
        (("predict", "p.png", "--output", "p.png/sub"), "p.png is a file; name a folder"),
        (
            ("submission", ".", "--predictions", "maps", "--no-flip", "--multiscale"),
            "leave out --no-flip, --mult",
        ),
        (("submission", ".", "--output", "s.tar"), "--output s.tar: must end with .zip"),
        (
            ("submission", ".", "--output", "folder.zip"),
            "--output folder.zip: is a folder; name a file",
        ),
        (("recipe", "--all"), "--dry-run, --all and --data-path need the NAME of a recipe"),
        (("recipe", "--dry-run"), "--dry-run, --all and --data-path need the NAME of a recipe"),
        (("recipe", "synthetic", "--data-path", ""), "--data-path: is empty"),
        (("compare", "HEAD", "--output", "c.jpg"), "--output c.jpg: must end with .png"),
        (("table", "--output", "p.png/t.md"), "p.png is a file; name a folder"),
    ],
)
def test_options_that_would_be_ignored_and_outputs_that_cannot_be_are_refused(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("p.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert message in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"p.png", "folder.zip"}


def test_folder_is_labelled_with_its_structure(models, photograph, tmp_path):
    for name in ("b.png", "sub/a.JPG"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    predict(tmp_path / "in", "--model", models / "m.ckpt", "--output", tmp_path / "out")
    assert photographs.find([tmp_path]).images == [tmp_path / "in/b.png", tmp_path / "in/sub/a.JPG"]
    assert {
        str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*_labelIds.png")
    } == {
        "b_labelIds.png",
        "sub/a_labelIds.png",
    }


def test_several_images_a_folder_and_a_video_are_labelled_at_once(
    models, photograph, tmp_path, monkeypatch, capsys
):
    odd = os.fsdecode(b"Stra\xdfe.png")
    cv2.imwrite(str(tmp_path / "a.png"), photograph(40, 40))
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "a.png", tmp_path / "in" / odd)
    (tmp_path / "in/notes.txt").write_text("no image")
    videos.write(tmp_path / "a.mp4", [photograph(64, 128) for _ in range(3)], rate=10)
    inputs = (tmp_path / "a.png", tmp_path / "in", tmp_path / "a.mp4")
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    predict(*inputs, "--model", models / "m.ckpt", "--output", tmp_path / "out")
    stem = odd.removesuffix(".png")
    kinds = ("labelIds", "color", "overlay")
    names = {f"{name}_{kind}.png" for name in ("a", stem) for kind in kinds}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "a_overlay.mp4"}
    assert len(list(Video.open(tmp_path / "out/a_overlay.mp4"))) == 3
    printed, told = capsys.readouterr()
    assert "predicting a.mp4: 3/3 frames, " in told
    assert "skipped: 1 file (notes.txt)" in printed
    assert "3 images and videos labelled" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"hello", "text.jpg: is not an image that can be read"),
        ("empty.png", b"", "empty.png: is not an image that can be read"),
        ("cut.jpg", "truncated", "cut.jpg: the image is damaged (image file is truncated"),
        ("cut.png", "truncated", "cut.png: the image is damaged"),
        ("huge.png", huge_png(), "huge.png: states more pixels than can be read"),
        (None, None, "no such image or folder"),
    ],
)
def test_what_is_no_image_is_refused_before_the_model_is_loaded(
    models, tmp_path, capsys, name, content, message
):
    if name and content == "truncated":
        whole = cv2.imencode(
            name[3:], np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        )[1]
        content = whole.tobytes()[: len(whole) // 2]
    if name:
        (tmp_path / name).write_bytes(content)
        cv2.imwrite(
            str(tmp_path / "good.png"), np.zeros((40, 40, 3), np.uint8)
        )  # a whole folder is checked first
    with pytest.raises(SystemExit, match="2"):
        predict(
            tmp_path if name else tmp_path / "lost.png",
            "--model",
            models / "m.ckpt",
            "--output",
            tmp_path / "out",
        )
    printed = capsys.readouterr()
    assert message in printed.err
    assert "cells at levels" not in printed.out
    assert not (tmp_path / "out").exists()


def test_folder_without_images_missing_model_and_shared_names_are_refused(
    models, photograph, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    for arguments, message in (
        ((tmp_path / "in",), "holds no image"),
        (
            (tmp_path / "in" / "a.png", "--model", tmp_path / "none.ckpt"),
            "none.ckpt: no such model",
        ),
        ((tmp_path / "in",), "would write the same files; rename one"),
    ):
        with pytest.raises(SystemExit, match="2"):
            predict(*arguments, "--output", tmp_path / "out")
        assert message in capsys.readouterr().err
        for name in ("a.png", "a.jpg") if "none.ckpt" in str(arguments) else ("a.png",):
            cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
