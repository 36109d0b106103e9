"""`adl submission`: the complete zip, on real files."""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import zipfile

import cv2
import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official

import adl
from adl import commands
from adl.commands import submission as submission_command
from adl.config import params
from adl.dataset.descriptor import Frame
from adl.errors import AdlError
from adl.evaluation import inference
from adl.predict import submission
from adl.predict.predictor import Predictor
from adl.prepare import layout
from tests.conftest import ROOT
from tests.data import CITYSCAPES, huge_png, write_scenes
from tests.fixtures import operation_by_operation


@pytest.fixture(scope="module")
def scenes(once):
    return once("three-test-scenes", lambda folder: write_scenes(folder, test=3))


@pytest.fixture
def submit(models, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        model = [] if "--predictions" in arguments else ["--model", str(models / "m.onnx")]
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
        assert set(np.unique(label)) <= set(CITYSCAPES.label_ids[:19])
    assert len(list((tmp_path / "unpacked").rglob("*.png"))) == 3


def test_submission_over_several_scales_averages_them(submit, models, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "MULTISCALE", (0.5, 1.0))
    model = ("--model", models / "m.ckpt")
    with operation_by_operation():
        submit("--partial", "--multiscale", *model, "--output", tmp_path / "s.zip")
    predictor = Predictor.load(models / "m.ckpt", device_target="CPU", flip=True, multiscale=True)
    single = Predictor.load(models / "m.ckpt", device_target="CPU", flip=True)
    path = min((scenes / "leftImg8bit/test").rglob("*.png"))
    [written] = (tmp_path / "data/predictions/test").rglob(path.name.replace("_leftImg8bit", ""))
    labels, image = cv2.imread(str(written), cv2.IMREAD_UNCHANGED), cv2.imread(str(path))
    assert written.parent.parent.name.endswith("-multiscale_flip")
    np.testing.assert_array_equal(labels, CITYSCAPES.label_ids[predictor(image)])
    assert (labels == CITYSCAPES.label_ids[single(image)]).mean() < 0.999


def test_interrupted_submission_goes_on_and_gives_the_same_zip(submit, tmp_path, monkeypatch, capsys):
    submit("--partial", "--output", tmp_path / "one.zip")
    maps = sorted((tmp_path / "data/predictions/test").rglob("*.png"))
    maps[1].unlink()
    before = maps[0].stat().st_mtime_ns
    capsys.readouterr()
    submit("--partial", "--output", tmp_path / "two.zip")
    assert "2 of 3 label maps already exist" in capsys.readouterr().out
    assert maps[0].stat().st_mtime_ns == before
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_entries_of_the_zip_may_be_read_by_everybody(scenes, tmp_path):
    frames = layout.Split(scenes, "test", CITYSCAPES).frames
    (tmp_path / "a_000000_000019.png").write_bytes(frames[0].image.read_bytes())
    name = f"{'x' * 251}.zip"
    for umask in (0o022, 0o077):
        before = os.umask(umask)
        submission.pack([tmp_path / "a_000000_000019.png"], tmp_path / name)
        os.umask(before)
        with zipfile.ZipFile(tmp_path / name) as archive:
            [entry] = archive.infolist()
        assert entry.filename == "a/a_000000_000019.png"
        assert stat.filemode(entry.external_attr >> 16) == "-rw-r--r--"


@pytest.fixture
def key(models, monkeypatch):
    def of(frames, params=None, **changes):
        defaults = {"model": models / "m.ckpt", "backend": None, "device": "CPU"}
        monkeypatch.setattr(submission_command, "params_for", lambda model: params)
        return submission_command.key_of(argparse.Namespace(**defaults | changes), frames)

    return of


def test_maps_belong_to_the_bytes_of_their_images(key, scenes, tmp_path):
    shutil.copytree(scenes / "leftImg8bit", tmp_path / "other/leftImg8bit")
    frames = layout.Split(scenes, "test", CITYSCAPES).frames
    others = layout.Split(tmp_path / "other", "test", CITYSCAPES).frames
    assert key(frames) == key(others), "copies, elsewhere"
    cv2.imwrite(str(others[1].image), cv2.imread(str(others[1].image))[::-1])
    assert key(frames) != key(others), "the same names"


def test_maps_belong_to_their_code_back_end_device_and_parameters(key, scenes, tmp_path, monkeypatch):
    """A 2021 file has no sidecar: the parameters stand for it."""
    frames = layout.Split(scenes, "test", CITYSCAPES).frames
    p = params.load(ROOT / "params.yaml")
    keys = {
        key(frames),
        key(frames, backend="onnxruntime"),
        key(frames, device="Ascend"),
        *(key(frames, params=p.model_copy(update={"bn_eps": e})) for e in (1e-5, 1e-3)),
    }
    package = shutil.copytree(ROOT / "adl", tmp_path / "adl", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(adl, "__file__", str(package / "__init__.py"))
    assert key(frames) in keys, "a copy, elsewhere"
    for file in (
        "evaluation/inference.py",
        "network/aspp.py",
        "predict/predictor.py",
        "commands/predict.py",
    ):
        with (package / file).open("a") as code:
            code.write("# edited\n")
        keys.add(key(frames))
    assert len(keys) == 5 + 3, "a command changes no label map"


def test_maps_of_another_back_end_are_made_anew(submit, models, tmp_path, capsys):
    made = []
    for backend in ("openvino", "onnxruntime", "onnxruntime"):
        submit("--partial", "--model", models / "m.onnx", "--backend", backend, "--no-flip")
        made.append(len(list((tmp_path / "data/predictions/test").iterdir())))
    assert made == [1, 2, 2]
    assert capsys.readouterr().out.count("3 of 3 label maps already exist") == 1


def test_incomplete_test_split_is_refused_with_both_numbers(submit, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        submit()
    assert "the test split has 3 images, that of Cityscapes has 1525" in capsys.readouterr().err
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
    frames = [Frame(f"a_{i:06d}_000019", tmp_path / "a.png", tmp_path / "b.png") for i in range(50)]
    with pytest.raises(AdlError) as error:
        submission.check(tmp_path, frames, CITYSCAPES)
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
        (wrong_size, "grenholm_000000_000019.png: is 10×10 pixels, but its image"),
        (colours, "grenholm_000000_000019.png: is 8-bit RGB; expected 8-bit grey"),
        (huge, "grenholm_000000_000019.png: is "),
        (train_ids, "grenholm_000000_000019.png: label ids [255] do not exist"),
    ],
)
def test_faulty_set_is_refused_with_the_list(submit, scenes, tmp_path, capsys, damage, message):
    for truth in (scenes / "gtFine/test").rglob("*_labelIds.png"):
        place = CITYSCAPES.prediction_path(tmp_path / "maps", truth.name.removesuffix("_gtFine_labelIds.png"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(truth.read_bytes())
    submit("--partial", "--predictions", tmp_path / "maps", "--output", tmp_path / "good.zip")
    damage(tmp_path / "maps/grenholm/grenholm_000000_000019.png")
    with pytest.raises(SystemExit, match="2"):
        submit("--partial", "--predictions", tmp_path / "maps")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "submission.zip").exists()
