"""Which model works where none is named, and what is said of it."""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import commands
from adl.commands.predict import choose_model
from adl.files import digest, write_json
from adl.workspace import CHECKPOINT, EXPORTED, SCORED, sidecar
from tests.data import write_scenes
from tests.serving import running

ONNX = EXPORTED / "autodeeplab.onnx"
DRAWN = "trained on drawn scenes: means nothing on photographs"


def describe(model, **fields) -> None:
    write_json(sidecar(model), json.loads(sidecar(model).read_text()) | fields)


@pytest.fixture
def workspace(models):
    """A checkpoint and its ONNX file, plain and in 8 bits, where the stages leave them; the current folder."""
    EXPORTED.mkdir(parents=True)
    for name, place in (
        ("m.ckpt", CHECKPOINT),
        ("m.onnx", ONNX),
        ("m.int8.onnx", EXPORTED / "autodeeplab.int8.onnx"),
    ):
        shutil.copy(models / name, place)
        shutil.copy(sidecar(models / name), sidecar(place))
        describe(place, data={"digest": "d", "images": 2975, "drawn": True})
    describe(CHECKPOINT, digest=digest(CHECKPOINT))
    write_json(SCORED, {"digest": digest(CHECKPOINT), "mIOU": 53.2697, "images": 60})
    cv2.imwrite("p.png", np.zeros((40, 40, 3), np.uint8))


def model_line(capsys, *arguments: str) -> str:
    commands.main(["predict", "p.png", *arguments])
    [line] = re.findall("^model: (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    return line


def test_onnx_file_of_the_checkpoint_works_in_its_place(workspace, capsys):
    score = "mIOU 53.27 % on 60 val images"
    assert model_line(capsys) == f"{ONNX}, {DRAWN}; its checkpoint scored {score}"
    assert model_line(capsys, "--model", str(CHECKPOINT)) == f"{CHECKPOINT}, {DRAWN}; {score}"


@pytest.mark.parametrize("fault", ["another checkpoint", "damaged", "no sidecar", "8 bits alone"])
def test_checkpoint_works_where_no_file_is_known_to_equal_it(workspace, capsys, fault):
    if fault == "another checkpoint":
        describe(ONNX, checkpoint_digest=64 * "0")
    elif fault == "damaged":
        ONNX.write_bytes(ONNX.read_bytes()[:-1])
    elif fault == "no sidecar":
        sidecar(ONNX).unlink()
    else:
        ONNX.unlink()
    assert model_line(capsys).startswith(f"{CHECKPOINT}, ")


def test_checkpoint_works_where_an_onnx_file_cannot(workspace):
    for device, multiscale, expected in (
        ("CPU", False, ONNX),
        ("CPU", True, CHECKPOINT),
        ("Ascend", False, CHECKPOINT),
    ):
        arguments = argparse.Namespace(model=None, device=device, multiscale=multiscale, longest_side=math.inf)
        choose_model(arguments)
        assert arguments.model == expected


def test_submission_uses_the_same_file(workspace, capsys):
    commands.main(["submission", str(write_scenes(Path("scenes"), test=1)), "--partial"])
    assert f"model: {ONNX}, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"images": 2975, "drawn": False}, "trained on 2,975 images"),
        ({"images": 2975}, "what it was trained on is not recorded"),
        (None, "what it was trained on is not recorded"),
    ],
)
def test_page_is_told_what_a_model_was_trained_on_and_scored(workspace, data, sentence):
    describe(CHECKPOINT, **({} if data is None else {"data": data}))
    if data is None:
        sidecar(CHECKPOINT).unlink()
    with running(file=CHECKPOINT) as server:
        told = server.get("/api/model")
        assert (told["model"], told["trained_on"]) == (CHECKPOINT.name, sentence)
        assert told["score"] == (None if data is None else "mIOU 53.27 % on 60 val images")
        write_json(SCORED, {"digest": 64 * "0", "mIOU": 99.0, "images": 60})
        assert server.get("/api/model")["score"] is None, "it is of another checkpoint"


@pytest.mark.parametrize("command", [["predict", "a.jpg"], ["serve"]])
def test_device_that_is_none_here_is_told_what_works(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main([*command, "--device", "GPU"])
    assert "MindSpore's wheels have had no GPU back end: use CPU" in capsys.readouterr().err
