"""`adl predict` and `adl submission`: any photograph, and the complete zip; on real files."""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from mindspore import Tensor
from PIL import Image

from adl.network import checkpoint
from adl.dataset.batches import descriptor
from adl import commands
from adl.deploy import export
from adl import inference
from adl import network
from adl import params
from adl.deploy import photographs
from adl.deploy import predictor
from adl.console import progress
from adl import runtime
from adl.deploy import submission
from adl.deploy import videos
from adl.artifacts import sidecar_path, write_json
from adl.intake import layout
from adl.dataset.descriptor import (COLOURS, LABEL_ID, LABELS)
from adl.commands import submission as submission_command
from adl.errors import AdlError
from adl.deploy.videos import Video
from tests.conftest import ROOT, TINY
from tests.data import write_record, write_scenes


@pytest.fixture(scope="module")
def models(once):
    """A tiny network as a checkpoint and as a MINDIR of 64×128."""
    return once("models", make_models)


def make_models(folder: Path) -> None:
    runtime.start("CPU", seed=1, graph=False)
    net = network.build(TINY)
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():  # weights that give more than one class
        if parameter.name.endswith("weight"):
            parameter.set_data(Tensor(rng.normal(0, 0.3, parameter.shape).astype(np.float32)))
    checkpoint.save(net, folder / "m.ckpt")
    write_json(sidecar_path(folder / "m.ckpt"), {"architecture": TINY.to_json()})
    record = write_record(write_scenes(folder / "raw", val=1), "val", folder)
    export.mindir(net, folder / "m.mindir", height=64, width=128, record=record)
    export.write_sidecar(folder / "m.mindir", source=folder / "m.ckpt", architecture=TINY, height=64, width=128)


def huge_png() -> bytes:
    """A sound header of 60000×60000 pixels, more than OpenCV takes, and no pixels behind it."""
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0), b"IDAT", b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content


@pytest.fixture
def photograph(rng):
    """A smooth picture: a network sees structure in it at any scale."""

    def make(height: int, width: int) -> np.ndarray:
        return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))

    return make


def predict(*arguments) -> None:
    commands.main(["predict", *map(str, arguments)])


def read(folder, name, kind):
    return cv2.imread(str(folder / f"{name}_{kind}.png"), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("model", ["m.ckpt", "m.mindir"])
@pytest.mark.parametrize("size", [(33, 33), (20, 90), (70, 50), (64, 128)])
def test_small_and_odd_sizes_are_labelled_at_their_size(models, photograph, tmp_path, model, size):
    cv2.imwrite(str(tmp_path / "p.png"), photograph(*size))
    predict(tmp_path / "p.png", "--model", models / model, "--output", tmp_path / "out")
    labels = read(tmp_path / "out", "p", "labelIds")
    assert labels.shape == size
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {label.id for label in LABELS}
    assert read(tmp_path / "out", "p", "color").shape == (*size, 3)
    np.testing.assert_array_equal(read(tmp_path / "out", "p", "color")[..., ::-1], COLOURS[labels])


@pytest.mark.slow
def test_photograph_of_48_megapixels_is_labelled_at_its_size(models, photograph, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "large.jpg"), photograph(6000, 8000))
    predict(tmp_path / "large.jpg", "--model", models / "m.ckpt", "--output", tmp_path / "out", "--longest-side", 512)
    assert read(tmp_path / "out", "large", "labelIds").shape == (6000, 8000)
    assert "8000×6000, " in capsys.readouterr().out


@pytest.mark.parametrize("takes", [None, (64, 128), (90, 60)])
def test_scaling_down_and_up_keeps_what_lies_where(takes):
    def blue_or_not(batch: Tensor) -> Tensor:
        blue = batch.asnumpy()[:, None, :, :, 0].astype(np.float32) / 255
        return Tensor(np.concatenate([blue, 1 - blue], axis=1))

    image = np.zeros((150, 200, 3), np.uint8)
    image[30:100, 20:80, 0] = 255
    labels = predictor.Predictor({1.0: blue_or_not}, takes, "flip")(image, longest_side=100)
    expected = np.where(image[..., 0] > 0, LABEL_ID[0], LABEL_ID[1])
    border = cv2.morphologyEx(image[..., 0], cv2.MORPH_GRADIENT, np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(labels[~border], expected[~border])


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_of_every_format_is_read_upright(tmp_path, suffix, orientation):
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :20] = 255, 0, 0
    upright[20:, :20] = 0, 0, 255
    # How the sensor lay: what its orientation's operation makes upright again.
    lying = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.ascontiguousarray(lying)).save(path, quality=100, exif=exif)
    found = photographs.read(path).pixels[..., ::-1]
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 4


def test_other_kinds_of_pixels_are_converted(tmp_path):
    values = np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12)
    three = np.stack([values] * 3, axis=-1)
    cv2.imwrite(str(tmp_path / "grey.png"), values)
    cv2.imwrite(str(tmp_path / "grey16.png"), values.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "rgb16.png"), three.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([three, np.full_like(values, 9)]))
    Image.fromarray(three).quantize(256).save(tmp_path / "palette.png")
    for path in tmp_path.glob("*.png"):
        found = photographs.read(path).pixels
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - three).max() <= (2 if path.stem == "palette" else 0), path
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(AdlError, match=r"float\.tif: has pixels of 32 bits"):
        photographs.read(tmp_path / "float.tif")


def test_options_do_what_they_say(models, photograph, tmp_path):
    image = photograph(64, 128)
    cv2.imwrite(str(tmp_path / "p.png"), image)
    load = functools.partial(predictor.Predictor.load, models / "m.ckpt", device_target="CPU")
    expected = {
        (): load(flip=True)(image),
        ("--no-flip",): load(flip=False)(image),
        ("--longest-side", "64"): load(flip=True)(image, longest_side=64),
    }
    assert len({labels.tobytes() for labels in expected.values()}) == 3
    for options, labels in expected.items():
        predict(tmp_path / "p.png", "--model", models / "m.ckpt", "--output", tmp_path / "out", *options)
        np.testing.assert_array_equal(read(tmp_path / "out", "p", "labelIds"), labels)
        overlay = read(tmp_path / "out", "p", "overlay")
        np.testing.assert_array_equal(overlay, image // 2 + COLOURS[labels][..., ::-1] // 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("predict", "p.png", "--longest-side", "64", "--model", "m.mindir"),
            "a MINDIR takes one size",
        ),
        (("predict", "p.png", "--output", "p.png"), "p.png is a file; name a folder"),
        (("predict", "p.png", "--output", "p.png/sub"), "p.png is a file; name a folder"),
        (
            ("submission", ".", "--predictions", "maps", "--no-flip", "--multiscale"),
            "leave out --no-flip, --mult",
        ),
        (("submission", ".", "--output", "s.tar"), "--output s.tar: must end with .zip"),
        (("submission", ".", "--output", "folder.zip"), "--output folder.zip: is a folder; name a file"),
        (("recipe", "--all"), "--dry-run, --all and --data-path are for a recipe"),
        (("recipe", "--dry-run"), "--dry-run, --all and --data-path are for a recipe"),
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


def test_prediction_equals_that_of_the_stages(models, photograph):
    image = photograph(64, 128)
    of_checkpoint = predictor.Predictor.load(models / "m.ckpt", device_target="CPU", flip=True)(image)
    of_mindir = predictor.Predictor.load(models / "m.mindir", device_target="CPU", flip=True)(image)
    passes = {1.0: inference.exported(models / "m.mindir")}
    stage = LABEL_ID[inference.label_maps(passes, image[None], flip=True)["flip"][0]]
    np.testing.assert_array_equal(of_mindir, stage)
    assert (of_checkpoint == of_mindir).mean() > 0.999


def test_folder_is_labelled_with_its_structure(models, photograph, tmp_path):
    for name in ("b.png", "sub/a.JPG"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    predict(tmp_path / "in", "--model", models / "m.ckpt", "--output", tmp_path / "out")
    assert photographs.find([tmp_path]).images == [tmp_path / "in/b.png", tmp_path / "in/sub/a.JPG"]
    assert {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*_labelIds.png")} == {
        "b_labelIds.png",
        "sub/a_labelIds.png",
    }


def test_several_images_a_folder_and_a_video_are_labelled_at_once(models, photograph, tmp_path, monkeypatch, capsys):
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
    assert "left out: 1 file (notes.txt)" in printed
    assert "3 images and videos labelled" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.jpg", b"hello", "text.jpg: not an image that can be read"),
        ("empty.png", b"", "empty.png: not an image that can be read"),
        ("cut.jpg", "truncated", "cut.jpg: the image is damaged (image file is truncated"),
        ("cut.png", "truncated", "cut.png: the image is damaged"),
        ("huge.png", huge_png(), "huge.png: states more pixels than can be read"),
        (None, None, "no such image or folder"),
    ],
)
def test_what_is_no_image_is_refused_before_the_model_is_loaded(models, tmp_path, capsys, name, content, message):
    if name and content == "truncated":
        whole = cv2.imencode(name[3:], np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))[1]
        content = whole.tobytes()[: len(whole) // 2]
    if name:
        (tmp_path / name).write_bytes(content)
        cv2.imwrite(str(tmp_path / "good.png"), np.zeros((40, 40, 3), np.uint8))  # a whole folder is checked first
    with pytest.raises(SystemExit, match="2"):
        predict(tmp_path if name else tmp_path / "lost.png", "--model", models / "m.ckpt", "--output", tmp_path / "out")
    printed = capsys.readouterr()
    assert message in printed.err
    assert "cells at levels" not in printed.out
    assert not (tmp_path / "out").exists()


def test_folder_without_images_missing_model_and_shared_names_are_refused(models, photograph, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for arguments, message in (
        ((tmp_path / "in",), "holds no image"),
        ((tmp_path / "in" / "a.png", "--model", tmp_path / "none.ckpt"), "none.ckpt: no such model"),
        ((tmp_path / "in",), "would write the same files; rename one"),
    ):
        with pytest.raises(SystemExit, match="2"):
            predict(*arguments, "--output", tmp_path / "out")
        assert message in capsys.readouterr().err
        for name in ("a.png", "a.jpg") if "none.ckpt" in str(arguments) else ("a.png",):
            cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))


@pytest.mark.parametrize(
    ("name", "sidecar", "message"),
    [
        ("m.onnx", "{}", r"m\.onnx: not a model; name a \.ckpt or \.mindir"),
        ("m.mindir", None, r"m\.mindir\.json: lacks the size of the input"),
    ],
)
def test_what_is_no_complete_model_is_refused(models, tmp_path, name, sidecar, message):
    shutil.copy(models / "m.mindir", tmp_path / name)
    (tmp_path / f"{name}.json").write_text(sidecar or (models / "m.ckpt.json").read_text())
    with pytest.raises(AdlError, match=message):
        predictor.Predictor.load(tmp_path / name, device_target="CPU", flip=True)


# The submission.


@pytest.fixture(scope="module")
def scenes(once):
    return once("three-test-scenes", lambda folder: write_scenes(folder, test=3))


@pytest.fixture
def submit(models, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        model = [] if "--predictions" in arguments else ["--model", str(models / "m.ckpt")]
        commands.main(["submission", str(scenes), *model, *map(str, arguments)])

    return run


def test_zip_passes_the_official_file_matching(submit, scenes, tmp_path, capsys):
    submit("--partial", "--output", tmp_path / "s.zip")
    assert "withheld" in capsys.readouterr().out
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    matching = argparse.Namespace(predictionPath=str(tmp_path / "unpacked"), predictionWalk=None)
    for truth in sorted((scenes / "gtFine/test").rglob("*_labelIds.png")):
        found = official.getPrediction(matching, str(truth))
        label = cv2.imread(found, cv2.IMREAD_UNCHANGED)
        assert label.shape == cv2.imread(str(truth), cv2.IMREAD_UNCHANGED).shape
        assert set(np.unique(label)) <= {c.id for c in descriptor.CLASSES}
    assert len(list((tmp_path / "unpacked").rglob("*.png"))) == 3


def test_submission_over_several_scales_averages_them(submit, models, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "SCALES", (0.5, 1.0))  # a graph each
    submit("--partial", "--multiscale", "--output", tmp_path / "s.zip")
    predictor = predictor.Predictor.load(models / "m.ckpt", device_target="CPU", flip=True, multiscale=True)
    single = predictor.Predictor.load(models / "m.ckpt", device_target="CPU", flip=True)
    path = min((scenes / "leftImg8bit/test").rglob("*.png"))
    [written] = (tmp_path / "data/predictions/test").rglob(path.name.replace("_leftImg8bit", ""))
    labels, image = cv2.imread(str(written), cv2.IMREAD_UNCHANGED), cv2.imread(str(path))
    assert written.parent.parent.name.endswith("-multiscale_flip")
    # Compiled there, operation by operation here: a tie may fall either way.
    assert (labels == predictor(image)).mean() > 0.999
    assert (labels == single(image)).mean() < 0.999


def test_interrupted_submission_goes_on_and_gives_the_same_zip(submit, tmp_path, monkeypatch, capsys):
    submit("--partial", "--output", tmp_path / "one.zip")
    maps = sorted((tmp_path / "data/predictions/test").rglob("*.png"))
    maps[1].unlink()
    before = maps[0].stat().st_mtime_ns
    capsys.readouterr()
    submit("--partial", "--output", tmp_path / "two.zip")
    assert "2 of 3 label maps were made before" in capsys.readouterr().out
    assert maps[0].stat().st_mtime_ns == before
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_maps_belong_to_the_bytes_of_their_images(models, scenes, tmp_path):
    shutil.copytree(scenes / "leftImg8bit", tmp_path / "other/leftImg8bit")
    of = functools.partial(submission_command._key, models / "m.ckpt", None)
    frames = layout.unlabelled(scenes, "test").frames
    others = layout.unlabelled(tmp_path / "other", "test").frames
    assert of(frames) == of(others), "copies, elsewhere"
    cv2.imwrite(str(others[1].image), cv2.imread(str(others[1].image))[::-1])
    assert of(frames) != of(others), "the same names"


def test_maps_of_a_2021_file_belong_to_the_parameters_that_stand_for_its_sidecar(scenes, models):
    frames = layout.unlabelled(scenes, "test").frames
    p = params.load(ROOT / "params.yaml")
    keys = [
        submission_command._key(models / "m.ckpt", p.model_copy(update={"bn_eps": e}), frames) for e in (1e-5, 1e-3)
    ]
    assert keys[0] != keys[1]
    assert submission_command._key(models / "m.ckpt", None, frames) not in keys


def test_incomplete_test_split_is_refused_with_both_numbers(submit, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        submit()
    assert "the test split has 3 images here; the server scores only a complete set of 1525" in capsys.readouterr().err
    assert not (tmp_path / "submission.zip").exists()
    assert not (tmp_path / "data").exists()


def test_damaged_image_is_refused_before_anything_is_predicted(models, scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(scenes / "leftImg8bit", tmp_path / "cityscapes/leftImg8bit")
    image = sorted((tmp_path / "cityscapes").rglob("*.png"))[-1]
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        commands.main(["submission", "cityscapes", "--model", str(models / "m.ckpt"), "--partial"])
    assert f"{image.relative_to(tmp_path)}: wrong checksum" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_every_missing_label_map_is_listed(tmp_path):
    frames = [descriptor.Frame(f"a_{i:06d}_000019", tmp_path / "a.png", tmp_path / "b.png") for i in range(50)]
    with pytest.raises(AdlError) as error:
        submission.check(tmp_path, frames)
    assert str(error.value).count("no label map") == 50


def lost(path):
    path.unlink()


def twice(path):
    path.with_name(f"{path.stem}_again.png").write_bytes(path.read_bytes())


def stranger(path):
    path.with_name("x_000000_000000.png").write_bytes(path.read_bytes())


def wrong_size(path):
    cv2.imwrite(str(path), np.full((10, 10), 7, np.uint8))


def colours(path):
    cv2.imwrite(str(path), np.full((64, 128, 3), 7, np.uint8))


def huge(path):
    path.write_bytes(huge_png())


def train_ids(path):
    cv2.imwrite(str(path), np.full((64, 128), 255, np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lost, "grenholm_000000_000019: no label map"),
        (twice, "grenholm_000000_000019: more than one label map"),
        (stranger, "x_000000_000000.png: belongs to no image of the test split"),
        (wrong_size, "grenholm_000000_000019.png: is 10×10, its image 128×64"),
        (colours, "grenholm_000000_000019.png: has 3 channel(s) of 8 bits"),
        (huge, "grenholm_000000_000019.png: cannot be read"),
        (train_ids, "grenholm_000000_000019.png: holds ids that are no label ids: [255]"),
    ],
)
def test_faulty_set_is_refused_with_the_list(submit, scenes, tmp_path, capsys, damage, message):
    for truth in (scenes / "gtFine/test").rglob("*_labelIds.png"):
        place = descriptor.prediction_path(tmp_path / "maps", truth.name.removesuffix("_gtFine_labelIds.png"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(truth.read_bytes())
    submit("--partial", "--predictions", tmp_path / "maps", "--output", tmp_path / "good.zip")
    damage(tmp_path / "maps/grenholm/grenholm_000000_000019.png")
    with pytest.raises(SystemExit, match="2"):
        submit("--partial", "--predictions", tmp_path / "maps")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "submission.zip").exists()


def test_mindir_does_several_scales_only_as_a_checkpoint(models):
    with pytest.raises(AdlError, match="takes one size"):
        predictor.Predictor.load(models / "m.mindir", device_target="CPU", flip=True, multiscale=True)
