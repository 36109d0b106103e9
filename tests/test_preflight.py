"""What `check` refuses before DVC removes anything."""

from __future__ import annotations

import contextlib
import types
from pathlib import Path

import pytest

from adl import commands, device, preflight
from adl.config import params
from adl.errors import AdlError, Caution
from adl.files import write_json
from adl.training import runs as key_module
from tests.conftest import ROOT
from tests.data import write_frame
from tests.workspace import git


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`check` with some parameters, in a folder with the project's architectures."""
    (tmp_path / "architectures").symlink_to(ROOT / "architectures")
    monkeypatch.setenv("ADL_STATE_DIR", str(tmp_path / "states"))

    def run(**values) -> str:
        return preflight.check(params.load(ROOT / "params.yaml", **values))

    return run


def test_devices_that_this_machine_lacks_are_refused_unless_several_machines_trained(check, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "devices", lambda device_target: 2)
    ascend = {"device_target": "Ascend", "export_formats": []}
    of_16 = ascend | {"device_num": 16, "batch_size": 32}
    with pytest.raises(
        AdlError,
        match=r"^device_target Ascend: this machine has 2 such devices .*, 16 are needed.*--help",
    ):
        check(**of_16)
    assert check(**ascend, device_num=2) == "none"
    monkeypatch.setattr(device, "devices", lambda device_target: 0)
    with pytest.raises(AdlError, match="1 are needed") as error:
        check(**ascend)
    assert "--help" not in str(error.value), "several machines would not help"
    monkeypatch.setattr(device, "devices", lambda device_target: 2)
    p = params.load(ROOT / "params.yaml", **of_16)
    key = {"params": p.model_dump(include=set(params.of_stage("train")))}
    own = key_module.state_of(tmp_path / "states", key)
    write_json(own.folder / "about.json", {"key": key})
    with pytest.raises(AdlError, match="16 are needed"):
        check(**of_16)
    own.result.mkdir()
    assert check(**of_16) == "none", "`dvc repro` puts in place what was trained on several machines"
    with pytest.raises(AdlError, match="16 are needed"):
        check(**of_16, bn_momentum=0.5)


def test_onnx_is_refused_on_ascend_before_anything_is_trained(check, monkeypatch):
    monkeypatch.setattr(device, "devices", lambda device_target: 8)
    with pytest.raises(AdlError, match=r"leave onnx, onnx-int8 out on Ascend.*--checkpoint FILE"):
        check(device_target="Ascend")
    assert check(device_target="Ascend", export_formats=["mindir-labels", "air"]) == "none"


def test_back_end_that_is_not_installed_is_refused_before_anything_is_trained(check):
    with pytest.raises(AdlError, match="back end lite: the package mindspore_lite is not inst"):
        check(infer_backends=["openvino", "lite"])


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy as `dvc exp run --temp` makes it, in which we are; returns its workspace."""
    inside = tmp_path / ".dvc/tmp/exps/tmp1"
    inside.mkdir(parents=True)
    for name in ("architectures", "datasets"):
        (inside / name).symlink_to(ROOT / name)
    monkeypatch.chdir(inside)
    return tmp_path


def test_copy_of_a_workspace_says_what_it_lacks_and_why(check, copy):
    with pytest.raises(
        AdlError,
        match=rf"is resolved inside the copy|This is a copy of {copy}.* Use an absolute path",
    ):
        check(data_path="../cs")
    with pytest.raises(AdlError, match=rf"This is a copy of {copy}, .*: `dvc add pretrained/old.ckpt` there first"):
        check(ckpt_name="old.ckpt")
    with pytest.raises(AdlError) as error:
        check(data_path="/no/such/folder")
    assert "copy" not in str(error.value), "an absolute path does not begin in the copy"


def test_copy_of_a_shallow_clone_is_refused_because_dvc_would_lose_the_experiment(check, copy, tmp_path_factory):
    origin = tmp_path_factory.mktemp("origin")
    for command in (
        ("init", "-q"),
        ("config", "user.name", "t"),
        ("config", "user.email", "t@example.org"),
    ):
        git(origin, *command)
    for message in ("one", "two"):
        git(origin, "commit", "-q", "--allow-empty", "-m", message)
    git(copy, "init", "-q")
    assert check() == "none"
    git(copy, "fetch", "-q", "--depth=1", f"file://{origin}", "HEAD")
    with pytest.raises(AdlError, match=r"is a shallow clone.*`git fetch --unshallow` first"):
        check()


def test_data_path_has_one_way_to_be_written(tmp_path, monkeypatch, capsys):
    for written in ("/x/cs/", "/x//cs", "./cs", "a/../cs"):
        with pytest.raises(AdlError, match=r"data_path: write (/x/)?cs instead of"):
            params.load(ROOT / "params.yaml", data_path=written)
    for name in ("params.yaml", "pipeline", "architectures"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    commands.main(["recipe", "cityscapes-cpu", "--data-path", "/x/cs/", "--dry-run"])
    assert '"/x/cs"' in capsys.readouterr().out


def test_scenes_that_would_be_drawn_are_counted_too(check):
    with pytest.raises(
        AdlError, match=r"data/synthetic has 480 train images \(not 2975\) and 60 val images \(not 500\)"
    ):
        check(dataset="datasets/cityscapes.yaml")


def test_weights_are_as_many_as_the_classes(check):
    with pytest.raises(AdlError, match=r"class_weights: 2 weights, but datasets/synthetic\.yaml has 19 classes"):
        check(class_weights=[1, 2])


@pytest.fixture
def free(monkeypatch):
    """free(n): as if n bytes were free on every disk."""

    def pretend(number: int) -> None:
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=number))

    return pretend


def test_records_that_cannot_fit_are_refused_and_a_copy_that_may_not_is_a_caution(tmp_path, free):
    out = tmp_path / "data/mindrecord"
    free(4_000_000_000)
    with pytest.raises(AdlError, match=r"the records take 7\.6 GB, .* only 4\.0 GB are free there"):
        preflight.check_room(7_600_000_000)
    free(8_000_000_000)
    with pytest.raises(Caution, match=r"`dvc config cache.type reflink,hardlink,symlink` lets DVC"):
        preflight.check_room(7_600_000_000)
    free(15_200_000_000)
    preflight.check_room(7_600_000_000)
    # What is there already makes room when it is replaced.
    out.mkdir(parents=True)
    (out / "train.mindrecord").write_bytes(bytes(7000))
    free(0)
    preflight.check_room(7000)
    assert not list(out.glob("*val*"))


def test_check_compares_the_data_with_what_is_free(check, tmp_path, free):
    for split in ("train", "val"):
        write_frame(tmp_path / "cs", split, "a", f"a_{len(split):06d}_000019")
    free(300)
    with pytest.raises(AdlError, match="the records take"):
        check(data_path=str(tmp_path / "cs"))


def test_check_prints_a_caution_and_goes_on(check, tmp_path, free, capsys):
    for split in ("train", "val"):
        write_frame(tmp_path / "cs", split, "a", f"a_{len(split):06d}_000019")
    free(1.5 * sum(path.stat().st_size for path in (tmp_path / "cs").rglob("*.png")))
    with pytest.raises(AdlError, match="warmup_iters"):
        check(data_path=str(tmp_path / "cs"))
    assert "DVC's cache as much again if it copies, but only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("window", "sizes", "message"),
    [
        (None, {(224, 112)}, None),
        ([112, 224], {(224, 112)}, None),
        ([112, 224], {(480, 360), (30, 900)}, None),
        (
            None,
            {(480, 360), (224, 112)},
            r"the val images in data/synthetic have 2 sizes \(224×112 pixels, 480×360 pixels\), but the exported file, "
            r"which the stage infer runs on them, takes one\. Set eval_window to \[112, 224\] \(export_height, ",
        ),
        (
            None,
            {(480, 360)},
            r"export_width × export_height is 224×112 pixels, but the val images .* are 480×360 pixels",
        ),
        (
            [224, 112],
            {(480, 360)},
            r"eval_window is \[224, 112\], but the exported file takes images of 224×112 pixels: the stage infer runs "
            r"it on windows\. Set eval_window to \[112, 224\]",
        ),
    ],
)
def test_exported_file_must_take_the_val_images_or_windows_of_them(window, sizes, message):
    p = params.load(ROOT / "params.yaml", eval_window=window)
    refused = pytest.raises(AdlError, match=message) if message else contextlib.nullcontext()
    with refused:
        preflight.check_sizes(p, sizes)
