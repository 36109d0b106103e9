"""params.yaml: what is refused, in which words, and that everything is reported at once."""

from __future__ import annotations

import re
import shutil

import pytest

from adl.config import params
from adl.errors import AdlError
from tests.conftest import ROOT


@pytest.fixture
def file(tmp_path):
    return shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")


def edit(file, old: str, new: str):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    return file


def test_shipped_file_is_valid_and_commented():
    p = params.load(ROOT / "params.yaml")
    assert len(p.descriptor.classes) == 19
    lines = [line for line in (ROOT / "params.yaml").read_text().splitlines() if line and line[0] != "#"]
    assert all("  #" in line for line in lines), "one comment per line"
    assert len(lines) == len(params.Params.model_fields)


def test_numbers_that_dvc_writes_are_read_as_numbers(file):
    assert params.load(edit(file, "weight_decay: 0.0001", "weight_decay: 1e-05")).weight_decay == 1e-5


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "bn_momentum: ",
            "bn_momentun: 0.9\nbn_momentum: ",
            "bn_momentun: unknown parameter; did you mean bn_momentum?",
        ),
        ("\nseed: 0", "\n# seed: 0", "seed: missing. Meaning: seed of weights"),
        ("use_ABN: true", "use_ABN: 1", "use_ABN: 1 is not accepted; expected: true, false."),
        (
            "weight_decay: 0.0001",
            "weight_decay: '1e-4'",
            "expected: number ≥ 0. Remove the quotes.",
        ),
        (
            "save_epochs: 100",
            "save_epochs: 1.5",
            "save_epochs: 1.5 is not accepted; expected: whole number ≥ 1.",
        ),
        ("min_lr: ", "min_lr: x", "min_lr: 'x' is not accepted; expected: number ≥ 0 or empty."),
        (
            "device_target: CPU",
            "device_target: GPU",
            "MindSpore's wheels have had no GPU back end: use CPU",
        ),
        ("device_target: CPU", "device_target: cuda", "run on its GPU with any runtime for it."),
        (
            "criterion: ",
            "criterion: mse #",
            "criterion: 'mse' is not accepted; expected: ce, ohemce, ce+dice.",
        ),
        (
            "class_weights: none",
            "class_weights: median",
            "class_weights: 'median' is not accepted; expected: none, balanced or list of number ≥ 0.",
        ),
        ("class_weights: none", "class_weights: [1, -1]", "class_weights: -1 is not accepted; expected: none, "),
        ("class_weights: none", "class_weights: [0, 0]", "class_weights: no weight is above 0"),
        ("start_epoch: 0", "start_epoch: 2", "start_epoch: 2 needs ckpt_name"),
        ("min_lr: ", "min_lr: 0.2", "min_lr: 0.2 is above base_lr (0.1)"),
        (
            "warmup_start_lr: 5.0e-06",
            "warmup_start_lr: 1.0",
            "warmup_start_lr: 1.0 is above base_lr",
        ),
        ("amp_level: O0", "amp_level: O2", "amp_level: O2 needs device_target Ascend"),
        ("[onnx, onnx-int8]", "[air]", "MindSpore writes air only on device_target Ascend"),
        (
            "[onnx, onnx-int8]",
            "[onnx, onnx]",
            "export_formats: names one of ['onnx', 'onnx'] twice",
        ),
        (
            "[onnx, onnx-int8]",
            "[onnx, pth]",
            "export_formats: 'pth' is not accepted; expected: list of onnx, onnx-int8, ",
        ),
        (
            "[onnx, onnx-int8]",
            "onnx",
            "export_formats: 'onnx' is not accepted; expected: list of onnx, onnx-int8, ",
        ),
        ("[openvino]", "[openvino, tensorrt]", "infer_backends: 'tensorrt' is not accepted"),
        (
            "device_num: 1",
            "device_num: 3",
            "4 images cannot be divided evenly among device_num 3 devices",
        ),
        ("min_scale: 1.0", "min_scale: 3", "min_scale: 3.0 is above max_scale (1.0)"),
        ("base_lr: ", "base_lr: .inf #", "base_lr: inf is not accepted"),
        ("ckpt_name: ", "ckpt_name: ../x.ckpt", "without a folder"),
    ],
)
def test_fault_is_named(file, old, new, expected):
    with pytest.raises(AdlError) as error:
        params.load(edit(file, old, new))
    assert expected in str(error.value)
    assert str(file) in str(error.value)


def test_other_devices_are_not_told_of_gpus(file):
    with pytest.raises(AdlError) as error:
        params.load(edit(file, "device_target: CPU", "device_target: TPU"))
    assert "device_target: 'TPU' is not accepted; expected: CPU, Ascend." in str(error.value)
    assert "GPU" not in str(error.value)


def test_momentum_of_two_is_refused_with_its_range():
    with pytest.raises(AdlError, match="bn_momentum: 2 is not accepted; expected: number ≥ 0, < 1"):
        params.load(ROOT / "params.yaml", bn_momentum=2)


def test_limits_themselves_are_taken():
    p = params.load(
        ROOT / "params.yaml",
        **{"min_lr": 0.1, "warmup_start_lr": 0.1, "min_scale": 1.0, "max_scale": 1.0},
        # Equal to epochs: the weights are only copied.
        **{"start_epoch": 16, "epochs": 16, "ckpt_name": "old.ckpt", "ignore_label": 19},
    )
    assert (p.min_lr, p.start_epoch) == (p.base_lr, p.epochs)


def test_batch_of_one_is_refused_with_the_reason():
    for values in ({"batch_size": 1}, {"batch_size": 2, "device_num": 2, "parallel": False}):
        with pytest.raises(AdlError, match="no variance with a single image; use at least 2 per"):
            params.load(ROOT / "params.yaml", **values)
    assert params.load(ROOT / "params.yaml", batch_size=2, device_num=2).batch_size == 2


def test_file_of_another_version_is_told_what_brings_it_up_to_date(file):
    advice = "`adl recipe --update` adds what is missing, and drops what is unknown."
    text = file.read_text()
    for old, new in (("\nseed: 0", "\n# seed: 0"), ("\nseed: 0", "\nexpected_val_images: 500\nseed: 0")):
        with pytest.raises(AdlError, match=re.escape(advice)):
            params.parse(text.replace(old, new), "p")
    with pytest.raises(AdlError) as error:
        params.parse(text.replace("\nseed: 0", "\nseed: x"), "p")
    assert advice not in str(error.value)


def test_all_faults_are_listed_at_once(file):
    edit(file, "num_classes: ", "num_classes: many")
    edit(file, "save_epochs: 100", "save_epochs: 0")
    with pytest.raises(AdlError) as error:
        params.load(file)
    assert len(str(error.value).splitlines()) == 3
    assert "num_classes" in str(error.value)
    assert "save_epochs" in str(error.value)


@pytest.mark.parametrize("content", ["", "- a\n", "a: [\n", "seed: 0\nseed: 1\n", "seed: 2026-13-45\n"])
def test_what_is_not_a_parameter_file_is_refused(tmp_path, content):
    file = tmp_path / "params.yaml"
    file.write_text(content)
    with pytest.raises(AdlError, match=r"params\.yaml"):
        params.load(file)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(AdlError, match=r"nowhere\.yaml: cannot be read"):
        params.load(tmp_path / "nowhere.yaml")


def test_file_of_another_encoding_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes() + b"# f\xfcr\n")
    with pytest.raises(AdlError, match=r"params\.yaml: not UTF-8 text .* Save it as UTF-8"):
        params.load(path)


def test_schema_gives_the_values_and_the_meaning_of_every_parameter():
    rows = {entry.name: (entry.takes, entry.meaning) for entry in params.schema()}
    assert list(rows) == list(params.Params.model_fields)
    assert rows["criterion"] == (
        "ce, ohemce, ce+dice",
        "loss: cross entropy, alone, with online hard example mining, or plus soft Dice",
    )
    assert rows["min_lr"][0] == "number ≥ 0 or empty"
    assert rows["bn_momentum"][0] == "number ≥ 0, < 1"
    assert rows["net_arch"][0] == "text"
    assert rows["affine"][0] == "true, false"
    assert all(meaning for _, meaning in rows.values())


def test_only_a_quoted_number_is_told_to_lose_its_quotes(file):
    for line in ("save_epochs: 1.5", "save_epochs: many"):
        text = file.read_text().replace("save_epochs: 100", line)
        with pytest.raises(AdlError, match="expected: whole number") as error:
            params.parse(text, "p")
        assert "quotes" not in str(error.value)
