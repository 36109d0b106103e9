"""An exported file is kept only if it gives the checkpoint's results, or in 8 bits loses little of its mIOU."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from adl import device
from adl.dataset import descriptor
from adl.errors import AdlError, reported
from adl.evaluation.inference import Mode, Probabilities
from adl.export import runtimes, writers
from adl.export.exported import Exported
from adl.export.formats import FORMATS
from adl.export.proofs import Equality
from adl.export.writers import Exporter
from adl.files import read_json
from pipeline import export as stage
from tests.conftest import ROOT
from tests.data import CITYSCAPES, largest_file

pytestmark = pytest.mark.usefixtures("graph")

KINDS = [name for name, kind in FORMATS.items() if kind.verified]


@pytest.fixture
def exporter(net, evaluation_data):
    val, train = (evaluation_data / f"{split}.mindrecord" for split in ("val", "train"))
    return Exporter(net, CITYSCAPES, size=(64, 128), record=val, training_record=train)


@pytest.mark.parametrize(
    ("proof", "kept"),
    [
        (Equality(3, difference=1e-4, agreement=0.9999), True),
        (Equality(3, difference=1.01e-4, agreement=1.0), False),
        (Equality(3, difference=0.0, agreement=0.99989), False),
        (Equality(3, difference=None, agreement=0.9999), True),
        (Equality(3, difference=4e-4, agreement=1.0, largest_logit=20.0), False),
        (Equality(3, difference=4e-4, agreement=1.0, largest_logit=81.0), True),
        (Equality(3, difference=1.0, agreement=0.9999, largest_logit=4e9), True),
        (Equality(3, difference=1.0, agreement=0.9998, largest_logit=4e9), False),
    ],
)
def test_file_that_differs_is_not_kept(exporter, tmp_path, monkeypatch, proof, kept):
    monkeypatch.setattr(Exporter, "compare", lambda *_: proof)
    path = tmp_path / "m.onnx"
    if kept:
        assert exporter.write(path, FORMATS["onnx"]) == proof
    else:
        with pytest.raises(AdlError, match="No file was kept"):
            exporter.write(path, FORMATS["onnx"])
    assert path.exists() == kept
    assert len(list(tmp_path.glob("*m.onnx*"))) == kept


def test_largest_logit_is_asked_for_only_where_the_difference_is_large(exporter, monkeypatch):
    device.start("CPU", seed=0, graph=False)  # two graphs less to compile
    for weight in exporter.network.get_parameters():
        if weight.name.endswith("classifier.weight"):
            weight.set_data(weight * 1e6)

    def right(images):
        return exporter.model(Tensor(images)).asnumpy()

    monkeypatch.setattr(runtimes, "load", lambda path: right)
    assert exporter.compare(Path("m.onnx"), FORMATS["onnx"]).largest_logit is None
    monkeypatch.setattr(runtimes, "load", lambda path: lambda images: 1 - right(images))
    assert exporter.compare(Path("m.onnx"), FORMATS["onnx"]).largest_logit > 100


def test_full_disk_in_export_is_one_message_and_no_file_is_kept(exporter, tmp_path, capsys):
    path = tmp_path / "m.mindir"
    with largest_file(2000), pytest.raises(SystemExit, match="2"), reported():
        exporter.write(path, FORMATS["mindir"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert said.endswith("m.mindir: File too large. Free up disk space.")
    assert not list(tmp_path.glob("*m.mindir*"))


def giving(outputs):
    """A file or network that gives these, one after the other."""
    outputs = iter(outputs)
    return lambda _: next(outputs)


@pytest.fixture
def compared(exporter, monkeypatch):
    """Compare what a file gives with what the checkpoint gives, image after image."""

    def compare(ours, theirs):
        monkeypatch.setattr(runtimes, "load", lambda path: giving(ours))
        no_logits = dataclasses.replace(exporter, network=lambda _: Tensor(np.zeros(1, np.float32)))
        no_logits.model = giving(map(Tensor, theirs))
        return no_logits.compare(Path("m.onnx"), FORMATS["onnx"])

    return compare


def test_comparison_sees_a_difference(compared, rng):
    p = rng.random((1, 3, 4, 5)).astype(np.float32)
    q = p.copy()
    q[0, :, 0, 0] = q[0, ::-1, 0, 0]
    proof = compared([q, p, p], [p, p, p])
    assert proof.images == 3
    assert proof.difference == pytest.approx(np.abs(p - q).max())
    assert proof.agreement == pytest.approx((2 + (p.argmax(1) == q.argmax(1)).mean()) / 3)


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["file", "checkpoint", "both"])
def test_output_that_is_no_number_is_no_agreement(compared, what, side):
    sound = np.full((1, 19, 64, 128), 1 / 19, np.float32)
    faulty = sound.copy()
    faulty[0, 3, 5, 7] = what
    # The first image alone: those that follow must not make good for it.
    ours = [sound if side == "checkpoint" else faulty, sound, sound]
    theirs = [sound if side == "file" else faulty, sound, sound]
    assert not compared(ours, theirs).holds


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_equals_the_network_or_nearly_does_in_8_bits(models, kind, photograph):
    from adl.network import checkpoint
    from tests.conftest import TINY

    # Operation by operation: nothing is compiled but the file.
    network = checkpoint.restore(models / "m.ckpt", TINY, device_target="CPU", graph=False)
    model = Probabilities(network.set_train(False), CITYSCAPES).set_train(False)
    size = (71, 102) if FORMATS[kind].any_size else (64, 128)
    image = photograph(*size)[None]
    mode = Mode(mirror=True)
    expected = writers.label_maps({1.0: model}, image, mode)["flip"]
    probabilities = model(Tensor(image)).asnumpy()
    file = Exported.load(FORMATS[kind].beside(models / "m.ckpt"))
    labels = file.label_maps(image, mode)["flip"]
    assert labels.shape == (1, *size)
    assert labels.dtype == np.uint8
    assert file.labels == ("labels" in kind)
    assert len(np.unique(expected)) > 1
    assert (labels == expected).mean() > (0.9 if FORMATS[kind].quantised else 0.9999)
    if file.labels:
        with pytest.raises(AdlError, match="always averages over the image and its mirror image"):
            file.check_mode(Mode())
    elif not FORMATS[kind].quantised:
        difference = np.abs(file(image) - probabilities).max()
        assert difference <= 1e-4


def test_8_bits_are_in_the_file(models):
    assert (models / "m.int8.onnx").read_bytes() != (models / "m.onnx").read_bytes()
    import onnx

    model = onnx.load(models / "m.int8.onnx")
    constants = {one.name: one for one in model.graph.initializer}
    nodes = {node.output[0]: node for node in model.graph.node}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        weight = nodes[node.input[1]]
        assert weight.op_type == "DequantizeLinear"
        stored, scale = (constants[name] for name in weight.input[:2])
        assert stored.data_type == onnx.TensorProto.INT8
        assert list(scale.dims) == [stored.dims[0]], "a scale for each channel"
        assert nodes[node.input[0]].op_type == "DequantizeLinear"


@pytest.mark.parametrize("name", ["m.onnx", "m.int8.onnx", "m.labels.onnx"])
def test_convolutions_say_all_that_readers_of_onnx_look_for(models, name):
    import onnx

    model = onnx.load(models / name)
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {one.name: tuple(one.dims) for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        assert given.keys() == {"strides", "dilations", "pads", "group", "kernel_shape"}
        weight = node.input[1]
        stored = constants[weight if weight in constants else makers[weight].input[0]]
        assert tuple(given["kernel_shape"]) == stored[2:]
    with pytest.raises(cv2.error) as refusal:
        cv2.dnn.readNetFromONNX(str(models / name))
    assert "kernel_size" not in str(refusal.value), "OpenCV stops later, at the first resize"


def test_mindir_follows_from_its_network_alone(models, tmp_path):
    """The fixture exported it earlier, mostly in another process, under another name."""
    from adl.network import checkpoint
    from tests.conftest import TINY

    network = checkpoint.restore(models / "m.ckpt", TINY, device_target="CPU")
    record = models / "val.mindrecord"
    exporter = Exporter(network, CITYSCAPES, size=(64, 128), record=record, training_record=record)
    path = tmp_path / "another.mindir"
    writers.WRITERS[".mindir"](exporter, path, FORMATS["mindir"])
    assert path.read_bytes() == (models / "m.mindir").read_bytes()
    assert path.stat().st_mode & 0o600 == 0o600


EXPORTING = """
import sys
from pathlib import Path
from adl import device
from tests.data import CITYSCAPES
from adl.export.writers import Exporter
from adl.network import checkpoint
from pipeline import export
from tests.conftest import TINY

source, target = map(Path, sys.argv[1:])
network = checkpoint.restore(source, TINY, device_target="CPU")
record = source.with_name("val.mindrecord")
exporter = Exporter(network, CITYSCAPES, size=(64, 128), record=record, training_record=record)
for kind in ("mindir", "mindir-labels", "onnx", "onnx-int8", "onnx-int8-labels"):
    export.export(exporter, kind, export.FORMATS[kind].beside(target), source)
"""


@pytest.mark.slow
def test_files_and_sidecars_of_another_process_are_equal(models, tmp_path):
    """To those of the fixture, whose process has other hashes and, among many tests, another number of threads."""
    target = tmp_path / "folder" / "another.mindir"
    environment = os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", EXPORTING, models / "m.ckpt", target]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    written = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    assert len(written) == 10
    assert written == {name: (models / name.replace("another", "m")).read_bytes() for name in written}


def test_air_is_refused_without_an_ascend(exporter, tmp_path):
    with pytest.raises(AdlError, match="MindSpore writes AIR only on Ascend"):
        exporter.write(tmp_path / "m.air", FORMATS["air"])
    assert not list(tmp_path.glob("*m.air*"))


def test_onnx_is_refused_on_an_ascend(exporter, tmp_path, monkeypatch):
    monkeypatch.setattr(writers.device, "on_ascend", lambda: True)
    with pytest.raises(AdlError, match=r"m\.onnx: an ONNX file cannot be proved on Ascend"):
        exporter.write(tmp_path / "m.onnx", FORMATS["onnx"])
    assert not list(tmp_path.glob("*m.onnx*"))


def test_air_is_not_verified_and_its_sidecar_says_so(exporter, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(writers.device, "on_ascend", lambda: True)
    asked = []

    def write(*_, file_name, file_format):
        asked.append(file_format)
        Path(file_name).touch()

    monkeypatch.setattr(ms, "export", write)
    (tmp_path / "m.ckpt").touch()
    assert stage.export(exporter, "air", tmp_path / "m.air", tmp_path / "m.ckpt") == {}
    assert asked == ["AIR"]
    assert "m.air: not verified" in capsys.readouterr().out
    assert read_json(tmp_path / "m.air.json")["verified"] is False


@pytest.mark.parametrize("kind", ["mindir", "onnx", "onnx-int8"])
@pytest.mark.parametrize("damage", ["foreign", "empty", "truncated"])
def test_damaged_file_is_named(models, tmp_path, kind, damage):
    source = FORMATS[kind].beside(models / "m.ckpt")
    content = source.read_bytes()
    path = tmp_path / source.name
    path.write_bytes({"foreign": b"x", "empty": b"", "truncated": content[: len(content) // 2]}[damage])
    suffix = path.suffix.removeprefix(".").upper()
    message = rf"{path.name}: cannot be loaded as {suffix} \((?!Exception from).+\)\. Export it again: `dvc"
    for name, backend in runtimes.BACKENDS.items():
        if backend.suffix == path.suffix and name != "lite":
            with pytest.raises(AdlError, match=message):
                runtimes.load(path, backend=name)


def test_sidecar_of_another_file_is_refused(models, tmp_path):
    shutil.copy(models / "m.onnx", tmp_path)
    shutil.copy(models / "m.int8.onnx.json", tmp_path / "m.onnx.json")
    with pytest.raises(AdlError, match=r"m\.onnx\.json: describes another file than m\.onnx"):
        Exported.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("kind", ["mindir", "onnx"])
def test_what_is_no_image_is_refused(models, kind):
    file = Exported.load(FORMATS[kind].beside(models / "m.ckpt"))
    for shape, dtype in (
        ((64, 128, 3), np.uint8),
        ((1, 64, 128, 3), np.float32),
        ((2, 64, 128, 3), np.uint8),
        ((1, 3, 64, 128), np.uint8),
    ):
        with pytest.raises(AdlError, match=r"takes \(1, height, width, 3\) uint8, not"):
            file(np.zeros(shape, dtype))


def test_size_that_a_file_does_not_take_is_refused(models):
    file = Exported.load(models / "m.mindir")
    with pytest.raises(AdlError, match="takes images of 128×64 pixels, not 130×66"):
        file(np.zeros((1, 66, 130, 3), np.uint8))


def test_data_set_of_a_file_is_in_its_sidecar_and_else_cityscapes(models, tmp_path):
    assert Exported.load(models / "m.onnx").dataset == CITYSCAPES
    shutil.copy(models / "m.onnx", tmp_path)
    about = read_json(models / "m.onnx.json")
    del about["dataset"]
    (tmp_path / "m.onnx.json").write_text(json.dumps(about))
    assert Exported.load(tmp_path / "m.onnx").dataset == descriptor.shipped("cityscapes")
    about["architecture"]["num_classes"] = 11
    (tmp_path / "m.onnx.json").write_text(json.dumps(about))
    with pytest.raises(AdlError, match=r"m\.onnx\.json: names no data set, .* but 11 classes"):
        Exported.load(tmp_path / "m.onnx")
