"""The wheel, installed without the project's folder: it predicts and serves."""

from __future__ import annotations

import subprocess
import sys

import cv2
import pytest

from tests.serving import encoded, served, smooth
from tests.workspace import succeeds

PREDICT = """
import sys
from pathlib import Path
import adl
from adl.dataset import descriptor
assert Path(adl.__file__).is_relative_to(sys.argv[1]), adl.__file__
found = adl.load(sys.argv[2]).predict(sys.argv[3])
print(found.labels.shape, len(found.classes), descriptor.shipped("camvid").title)
"""


@pytest.mark.slow
def test_wheel_predicts_and_serves_outside_the_project(workspace, models, tmp_path):
    wheels, site, elsewhere = (tmp_path / name for name in ("wheels", "site", "elsewhere"))
    elsewhere.mkdir()
    succeeds(workspace, "pip", "wheel", "--quiet", ".", "--no-deps", "--wheel-dir", wheels)
    [wheel] = wheels.glob("*.whl")
    succeeds(elsewhere, "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    image = smooth(40, 60)
    cv2.imwrite(str(elsewhere / "p.png"), image)
    model = models / "m.onnx"
    environment = {"PYTHONPATH": str(site)}
    program = [sys.executable, "-c", PREDICT, site, model, "p.png"]
    told = subprocess.check_output(program, cwd=elsewhere, env=environment, text=True)
    assert told.splitlines()[-1] == "(40, 60) 19 CamVid"
    with served(model, cwd=elsewhere, **environment) as page:
        status, answer = page.predict(encoded(image))
        assert (status, answer["width"], answer["height"]) == (200, 60, 40)
