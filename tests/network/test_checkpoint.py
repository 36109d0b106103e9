"""Strict loading: every parameter accounted for, or an error that helps."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from adl import commands, device, network, preflight
from adl.config import params
from adl.dataset import descriptor
from adl.errors import AdlError
from adl.files import digest, write_json
from adl.network import checkpoint, names_2021
from adl.workspace import sidecar
from pipeline import export as export_stage
from tests import checkpoints_2021
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture
def file(tiny, once, tmp_path):
    def make(folder):
        ms.set_seed(5)
        checkpoint.save(checkpoint.native(network.build(tiny)), folder / "a.ckpt")

    return Path(shutil.copy(once("checkpoint-of-seed-5", make) / "a.ckpt", tmp_path))


def values(net):
    return {name: p.asnumpy().copy() for name, p in net.parameters_and_names()}


def rewrite(file, change):
    stored = {name: p.asnumpy() for name, p in ms.load_checkpoint(str(file)).items()}
    change(stored)
    ms.save_checkpoint([{"name": n, "data": Tensor(v)} for n, v in stored.items()], str(file))


def test_saved_weights_come_back(tiny, file):
    ms.set_seed(5)
    saved = values(network.build(tiny))
    net = network.build(tiny)
    assert checkpoint.load(net, file) == f"{len(saved)} parameters, native names"
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, saved[name])


def test_names_do_not_depend_on_what_the_network_is_part_of(tiny, file, tmp_path):
    net = network.build(tiny)

    class Training(nn.Cell):
        def __init__(self):
            super().__init__()
            self.network = net

    Training().update_parameters_name("training.")
    checkpoint.save(checkpoint.native(net), tmp_path / "b.ckpt")
    assert ms.load_checkpoint(str(tmp_path / "b.ckpt")).keys() == ms.load_checkpoint(str(file)).keys()
    checkpoint.load(net, file)


def test_2021_file_with_optimizer_entries_loads_and_reports_them(tiny, tmp_path):
    net = network.build(tiny)
    entries = [{"name": names_2021.in_2021(n, use_abn=True), "data": p} for n, p in net.parameters_and_names()]
    others = ["moments.x", "learning_rate", "momentum", "global_step", "encoder.NASCells.0.operations.0.1.global_step",
              "loss_scale", "current_iterator_step"]  # fmt: skip
    entries += [{"name": n, "data": Tensor(np.zeros(1, np.float32))} for n in others]
    ms.save_checkpoint(entries, str(tmp_path / "old.ckpt"))
    assert checkpoint.load(network.build(tiny), tmp_path / "old.ckpt") == (
        f"{len(entries) - 7} parameters, 2021 names; 7 entries left out that are not weights"
    )


# Each pair of two of them.
@pytest.mark.parametrize(
    ("use_abn", "trained", "wanted"),
    [(True, True, False), (True, False, True), (False, True, True), (False, False, False)],
)
def test_2021_file_loads_whatever_affine_it_was_trained_with(tiny, tmp_path, rng, use_abn, trained, wanted):
    """affine decides what is trained. What a file holds, and what the network gives, is the same either way."""
    tiny = dataclasses.replace(tiny, use_abn=use_abn)
    saved = checkpoints_2021.as_trained(dataclasses.replace(tiny, affine=trained))
    path = checkpoints_2021.write(saved, tmp_path / "old.ckpt")
    net = network.build(dataclasses.replace(tiny, affine=wanted))
    found = checkpoint.load(net, path)
    assert found.startswith(f"{len(values(saved))} parameters, 2021 names")
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, values(saved)[name])
    image = Tensor(rng.normal(0, 1, (1, 3, 33, 33)).astype(np.float32))
    logits = [n.set_train(False)(image).asnumpy() for n in (saved, net)]
    np.testing.assert_array_equal(*logits)
    fixed = "encoder.nas_cells.0.operations.0.norm.gamma"
    assert dict(net.parameters_and_names())[fixed].requires_grad == wanted
    assert (values(net)[fixed] == 1).all() != trained


def test_missing_unexpected_and_misshaped_are_listed_with_the_nearest_name(tiny, file):
    def change(stored):
        stored["decoder.clasifier.weight"] = stored.pop("decoder.classifier.weight")
        stored["aspp.pooled.norm.gamma"] = np.ones(3, np.float32)

    rewrite(file, change)
    net = network.build(tiny)
    before = values(net)
    with pytest.raises(AdlError) as error:
        checkpoint.load(net, file)
    message = str(error.value)
    assert "1 parameters are missing, 1 unexpected, 1 of another shape" in message
    assert "missing decoder.classifier.weight (nearest: decoder.clasifier.weight)" in message
    assert "aspp.pooled.norm.gamma: shape (3,) in the file, (8,) in the network" in message
    for name, value in values(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_only_the_first_of_many_faults_are_listed(tiny, file):
    rewrite(file, lambda stored: stored.update({f"extra{i}": np.ones(1, np.float32) for i in range(60)}))
    with pytest.raises(AdlError) as error:
        checkpoint.load(network.build(tiny), file)
    lines = str(error.value).splitlines()
    assert "60 unexpected" in lines[0]
    assert len(lines) == 1 + 51
    assert all("unexpected extra" in line for line in lines[1:-1])
    assert lines[-1].strip() == "…"
    rewrite(file, lambda stored: [stored.pop(f"extra{i}") for i in range(50, 60)])
    with pytest.raises(AdlError) as error:
        checkpoint.load(network.build(tiny), file)
    assert str(error.value).count("unexpected extra") == 50
    assert "…" not in str(error.value)


def test_epochs_of_a_checkpoint_are_those_of_its_sidecar(file):
    assert checkpoint.epoch_of(file) is None
    write_json(sidecar(file), {"epoch": 7})
    assert checkpoint.epoch_of(file) == 7


@pytest.mark.parametrize("wanted", [{}, {"graph": False}])
def test_restored_network_runs_as_a_graph_unless_it_is_told_otherwise(tiny, file, wanted):
    checkpoint.restore(file, tiny, device_target="CPU", **wanted)
    assert (ms.get_context("mode") == ms.GRAPH_MODE) == (not wanted)
    device.start("CPU", seed=0, graph=False)


def test_optimizer_entries_are_unexpected_in_a_native_file(tiny, file):
    rewrite(file, lambda stored: stored.update({"moments.x": np.zeros(1, np.float32)}))
    with pytest.raises(AdlError, match=r"unexpected moments\.x"):
        checkpoint.load(network.build(tiny), file)


def test_another_architecture_is_refused(tiny, file):
    other = network.build(dataclasses.replace(tiny, num_classes=20))
    with pytest.raises(AdlError, match="1 of another shape"):
        checkpoint.load(other, file)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_what_is_no_checkpoint_is_refused_by_name(tiny, file, content):
    if content is None:
        content = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(content)
    with pytest.raises(AdlError, match=r"a\.ckpt"):
        checkpoint.load(network.build(tiny), file)


def test_missing_file_is_named(tiny, tmp_path):
    with pytest.raises(AdlError, match=r"none\.ckpt: no such checkpoint"):
        checkpoint.load(network.build(tiny), tmp_path / "none.ckpt")


def test_sidecar_beats_the_parameters(tiny, file):
    published = ROOT / "architectures/published"
    files = {
        "net_arch": str(published / "net_arch.npy"),
        "cell_arch": str(published / "cell_arch.npy"),
    }
    p = params.load(ROOT / "params.yaml", **files, block_multiplier=5)
    assert len(checkpoint.origin(file, p)[0].net) == 12
    write_json(sidecar(file), {"architecture": tiny.to_json()})
    assert checkpoint.origin(file, p)[0] == tiny


def export(model):
    sys.argv = ["export", "--checkpoint", str(model), "--output", "exported"]
    export_stage.main()


def start_training(model):
    p = params.load(ckpt_name=model.name)
    preflight.start_weights(p)


def predict(model):
    cv2.imwrite("p.png", np.zeros((40, 40, 3), np.uint8))
    commands.main(["predict", "p.png", "--model", str(model)])


@pytest.mark.parametrize("use", [export, start_training, predict])
def test_sidecar_of_another_checkpoint_is_refused(tiny, file, monkeypatch, capsys, use):
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(sys, "argv", sys.argv)
    Path("pretrained").mkdir()
    model = shutil.move(file, Path("pretrained/m.ckpt"))
    write_json(sidecar(model), {"architecture": tiny.to_json(), "digest": "0" * 64})
    with pytest.raises((AdlError, SystemExit)) as refusal:
        use(model)
    said = f"{refusal.value}{capsys.readouterr().err}"
    assert f"{sidecar(model)}: describes another file than m.ckpt: the digests differ" in said


def test_weights_are_not_loaded_from_beside_the_sidecar_of_another_checkpoint(tiny, file):
    write_json(sidecar(file), {"architecture": tiny.to_json(), "digest": digest(file)})
    checkpoint.load(network.build(tiny), file)
    rewrite(file, lambda stored: stored["decoder.classifier.weight"].fill(0))
    with pytest.raises(AdlError, match="describes another file"):
        checkpoint.load(network.build(tiny), file)


def test_sidecar_without_a_data_set_means_cityscapes_and_so_19_classes(tiny, file):
    write_json(sidecar(file), {"architecture": tiny.to_json()})
    assert checkpoint.origin(file, None)[1] == descriptor.shipped("cityscapes")
    for classes in (5, 30):
        write_json(sidecar(file), {"architecture": dataclasses.replace(tiny, num_classes=classes).to_json()})
        with pytest.raises(AdlError, match=rf"a\.ckpt\.json: names no data set, .* but {classes} classes.*ckpt_name"):
            checkpoint.origin(file, None)


def test_data_set_is_that_of_the_sidecar_and_else_of_the_parameters(tiny, file):
    p = params.load(ROOT / "params.yaml")
    camvid = descriptor.shipped("camvid")
    of_11 = dataclasses.replace(tiny, num_classes=11)
    write_json(sidecar(file), {"architecture": of_11.to_json(), "dataset": camvid.to_json()})
    assert checkpoint.origin(file, p) == (of_11, camvid)
    write_json(sidecar(file), {"architecture": tiny.to_json(), "dataset": {"name": "x"}})
    with pytest.raises(AdlError, match=r"a\.ckpt\.json: is not valid:\n  title: missing"):
        checkpoint.origin(file, p)
    sidecar(file).unlink()
    changes = {name: str(ROOT / getattr(p, name)) for name in ("net_arch", "cell_arch")}
    assert checkpoint.origin(file, p.model_copy(update=changes))[1].name == "synthetic"
