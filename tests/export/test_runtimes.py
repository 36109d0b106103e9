"""One interface to the runtimes, and clear words where one is missing or does not fit."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from adl import device
from adl.config.params import Params
from adl.errors import AdlError
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.parallel.world import World

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.mark.parametrize("name", ["m.onnx", "m.int8.onnx", "m.labels.onnx"])
def test_back_ends_of_one_file_agree(models, photograph, name):
    image, mode = photograph(50, 80)[None], Mode(mirror=True)
    maps = [
        Exported.load(models / name, backend=backend).label_maps(image, mode)["flip"]
        for backend in ("openvino", "onnxruntime")
    ]
    # In 8 bits each rounds at other places, and these weights are random.
    assert (maps[0] == maps[1]).mean() > (0.5 if "int8" in name else 0.9999)


def test_name_of_a_file_decides_what_runs_it():
    for name, backend in (("m.onnx", "openvino"), ("m.labels.mindir", "mindspore")):
        assert runtimes.able_to_run(Path(name))[0] == backend
    with pytest.raises(AdlError, match=r"m\.air: no back end runs \.air files"):
        runtimes.able_to_run(Path("m.air"))


def test_parameters_name_every_format_and_back_end():
    names = {}
    for parameter in ("export_formats", "infer_backends"):
        annotation = get_type_hints(Params)[parameter]
        (items,) = get_args(annotation)
        names[parameter] = {*get_args(items)}
    assert names["export_formats"] == FORMATS.keys() - {"mindir"}
    assert names["infer_backends"] == runtimes.BACKENDS.keys() - {"mindspore"}


def test_device_is_refused_or_used(models, monkeypatch):
    with pytest.raises(AdlError, match=r"m\.onnx: openvino runs it on a CPU only"):
        Exported.load(models / "m.onnx", device_target="Ascend")
    started = []
    monkeypatch.setattr(device, "start", lambda *device, world: started.append((device, world)))
    Exported.load(models / "m.mindir", device_target="Ascend", device_id=3)
    assert started == [(("Ascend",), World(device=3))]


@pytest.mark.parametrize(
    ("name", "backend", "message"),
    [
        ("m.onnx", "mindspore", "mindspore runs .mindir files; for this one take openvino, onnx"),
        ("m.mindir", "openvino", "openvino runs .onnx files; for this one take mindspore, lite"),
        ("m.mindir", "lite", "the package mindspore_lite is not installed. Download the wheel of"),
    ],
)
def test_back_end_that_does_not_fit_is_refused(models, name, backend, message):
    with pytest.raises(AdlError, match=message):
        runtimes.load(models / name, backend=backend)


def test_lite_is_given_the_device_and_its_number(models, monkeypatch):
    """The package is not here; what is called stands in its documentation."""
    called = {}
    buffer = np.zeros((1, 19, 64, 128), np.float32)

    class Tensor:
        def set_data_from_numpy(self, images):
            called["images"] = images

        def get_data_to_numpy(self):
            return buffer

    class Model:
        def build_from_file(self, path, kind, context):
            called.update(path=path, kind=kind, context=context)

        def get_inputs(self):
            return [Tensor()]

        def predict(self, inputs):
            buffer[:] = called["images"].max()
            return [Tensor()]

    context = types.SimpleNamespace(ascend=types.SimpleNamespace())
    lite = types.ModuleType("mindspore_lite")
    lite.__spec__ = types.SimpleNamespace()
    lite.Context, lite.Model = lambda: context, Model
    lite.ModelType = types.SimpleNamespace(MINDIR="MINDIR")
    monkeypatch.setitem(sys.modules, "mindspore_lite", lite)
    run = runtimes.load(models / "m.mindir", backend="lite", device_target="Ascend", device_id=3)
    images = np.zeros((1, 64, 128, 3), np.uint8)
    first = run(images)
    assert first.shape == (1, 19, 64, 128)
    assert called["images"] is images
    assert (run(images + 9) == 9).all()
    assert not first.any(), "the next image does not overwrite what the last one gave"
    assert called["path"] == str(models / "m.mindir")
    assert (context.target, context.ascend.device_id) == (["ascend"], 3)


def test_openvino_is_not_held_to_the_instructions_that_suit_mindspore(monkeypatch):
    variable = "ONEDNN_MAX_CPU_ISA"
    monkeypatch.setenv(variable, "AVX2")
    with device.all_instructions():
        assert os.environ[variable] == "DEFAULT"
    assert os.environ[variable] == "AVX2"
    monkeypatch.setenv(variable, "SSE41")  # a person's own choice
    with device.all_instructions():
        assert os.environ[variable] == "SSE41"


OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise SystemExit(f"{event}: {arguments}")

sys.addaudithook(refuse)
import numpy as np
from pathlib import Path
from adl.export import runtimes
from adl.export import quantise

for name in ("openvino", "onnxruntime"):
    runtimes.load(Path(sys.argv[1]), backend=name)(np.zeros((1, 40, 40, 3), np.uint8))
assert not any("openvino_telemetry" in name for name in sys.modules)
print("quiet")
"""


def test_nothing_is_sent_anywhere(models):
    ran = subprocess.run([sys.executable, "-c", OFFLINE, models / "m.onnx"], capture_output=True, text=True)
    assert ran.stdout.endswith("quiet\n"), ran.stderr


READER = """
import json, sys
import numpy as np

path, output = sys.argv[1:]
about = json.load(open(f"{path}.json"))
takes = about["input"]
rgb = np.arange(64 * 128 * 3).reshape(64, 128, 3) % 251
image = rgb[..., ["RGB".index(one) for one in takes["channels"]]]
axes = {"N": None, "H": 0, "W": 1, "C": 2}
assert sorted(takes["layout"]) == sorted(axes)
image = image.transpose([axes[one] for one in takes["layout"] if one != "N"])
image = np.expand_dims(image, takes["layout"].index("N")).astype(takes["dtype"])
if takes["height"]:
    assert image.shape[takes["layout"].index("H")] == takes["height"]
    assert image.shape[takes["layout"].index("W")] == takes["width"]
assert image.shape[0] == takes["batch"]
assert len(about["classes"]) == len(about["palette"]) == about["architecture"]["num_classes"]
np.save(output, image)
assert not {"adl", "cv2", "mindspore", "onnx"} & set(sys.modules)
"""


@pytest.mark.parametrize("name", ["m.mindir", "m.onnx", "m.labels.onnx"])
def test_sidecar_alone_tells_how_to_feed_the_file(models, tmp_path, name):
    output = tmp_path / "image.npy"
    subprocess.run([sys.executable, "-I", "-c", READER, models / name, output], check=True)
    image = np.load(output)
    expected = (np.arange(64 * 128 * 3).reshape(1, 64, 128, 3) % 251)[..., ::-1].astype(np.uint8)
    np.testing.assert_array_equal(image, expected)
    assert Exported.load(models / name)(image).shape[-2:] == (64, 128)
