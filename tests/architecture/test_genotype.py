"""Genotype files: the published one, and each way to be wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adl.architecture.genotype import (
    PUBLISHED_CELL,
    PUBLISHED_NET,
    Architecture,
    load_cell,
    load_net,
)
from adl.config import params
from adl.errors import AdlError
from adl.files import write_json
from tests.conftest import ROOT


def saved(tmp_path, array):
    path = tmp_path / "arch.npy"
    np.save(path, np.array(array))
    return path


def test_shipped_files_hold_what_their_names_say():
    assert load_net(ROOT / "architectures/published/net_arch.npy") == PUBLISHED_NET
    assert load_cell(ROOT / "architectures/published/cell_arch.npy") == PUBLISHED_CELL
    assert len(load_net(ROOT / "architectures/small/net_arch.npy")) == 4
    load_cell(ROOT / "architectures/small/cell_arch.npy")


def test_every_field_is_that_of_the_parameters():
    published = {name: str(ROOT / f"architectures/published/{name}.npy") for name in ("net_arch", "cell_arch")}
    values = {
        "block_multiplier": 5, "filter_multiplier": 7, "initial_fm": 9, "head_channels": 11, "num_classes": 19,
        "affine": False, "bn_momentum": 0.8, "bn_eps": 0.003, "drop_path_keep_prob": 0.4,
    }  # fmt: skip
    p = params.load(ROOT / "params.yaml", **published).model_copy(update=values | {"use_ABN": False})
    assert Architecture.from_params(p) == Architecture(
        net=PUBLISHED_NET, cell=PUBLISHED_CELL, filter_multiplier=7, initial_fm=9, head_channels=11, num_classes=19,
        use_abn=False, affine=False, bn_momentum=0.8, bn_eps=0.003, drop_path_keep_prob=0.4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        ([0, 1], "at least 3"),
        ([0, 1, 4], "levels must lie in 0-3"),
        ([2, 1, 1], "cell 0 jumps from level 0 to 2"),
        ([0, 2, 1], "cell 1 jumps from level 0 to 2"),
        ([[0, 1], [1, 1]], "one row of levels"),
        ([0.5, 1, 1], "whole numbers"),
    ],
)
def test_malformed_network_path_is_refused_with_its_reason(tmp_path, net, reason):
    with pytest.raises(AdlError, match=reason):
        load_net(saved(tmp_path, net))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([[0, 8], [1, 0]], "operation 8 does not exist"),
        ([[0, 1], [2, 1]], "block 0 can read states 0-1, not 2.* edge indices"),
        ([[0, 1], [-1, 1]], "can read states 0-1, not -1"),
        ([[0, 1]], "two operations per block"),
        ([0, 1, 2], "two columns"),
    ],
)
def test_malformed_cell_is_refused_with_its_reason(tmp_path, cell, reason):
    with pytest.raises(AdlError, match=reason):
        load_cell(saved(tmp_path, cell))


def test_whole_numbers_stored_as_floats_are_accepted(tmp_path):
    assert load_net(saved(tmp_path, [0.0, 1.0, 1.0])) == (0, 1, 1)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(AdlError, match=r"none\.npy: no such file"):
        load_net(tmp_path / "none.npy")
    damaged = tmp_path / "damaged.npy"
    damaged.write_bytes(b"\x93NUMPY garbage")
    with pytest.raises(AdlError, match=r"damaged\.npy: not a readable"):
        load_net(damaged)


def test_each_file_is_used_on_its_own(tmp_path):
    p = params.load(
        ROOT / "params.yaml",
        net_arch=str(saved(tmp_path, [0, 0, 1, 2, 1])),
        cell_arch=str(ROOT / "architectures/published/cell_arch.npy"),
        block_multiplier=5,
    )
    architecture = Architecture.from_params(p)
    assert architecture.net == (0, 0, 1, 2, 1)
    assert architecture.cell == PUBLISHED_CELL


def test_block_multiplier_must_be_that_of_the_file(monkeypatch):
    monkeypatch.chdir(ROOT)
    published = str(ROOT / "architectures/published/cell_arch.npy")
    p = params.load(ROOT / "params.yaml", cell_arch=published, block_multiplier=3)
    with pytest.raises(AdlError, match=r"block_multiplier: 3, but .*cell_arch.npy has 5 blocks\. Leave it empty"):
        Architecture.from_params(p)
    for value in (5, None):
        assert Architecture.from_params(p.model_copy(update={"block_multiplier": value})).blocks == 5


def test_number_of_classes_is_that_of_the_data_set(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        AdlError, match=r"num_classes: 21, but datasets/synthetic\.yaml has 19 classes\. Leave it empty"
    ):
        Architecture.from_params(params.load(num_classes=21))
    for values in ({"num_classes": 19}, {}, {"ignore_label": 19}):
        assert Architecture.from_params(params.load(**values)).num_classes == 19
    assert Architecture.from_params(params.load(dataset="datasets/camvid.yaml")).num_classes == 11


def test_ignored_pixels_have_the_label_of_no_class(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(AdlError, match=r"ignore_label: 18 is a class of .*\. Set it to 255, or at least to 19"):
        Architecture.from_params(params.load(ignore_label=18))


def test_sidecar_gives_the_architecture_back(tmp_path):
    architecture = dataclasses.replace(Architecture(), net=(0, 1, 2), affine=False, bn_momentum=0.5)
    write_json(tmp_path / "x.json", {"architecture": architecture.to_json()})
    assert Architecture.from_sidecar(tmp_path / "x.json") == architecture


def test_sidecar_from_before_the_width_of_the_head_was_a_parameter_has_the_published_one(tmp_path):
    fields = Architecture(head_channels=64).to_json()
    del fields["head_channels"]
    write_json(tmp_path / "x.json", {"architecture": fields})
    assert Architecture.from_sidecar(tmp_path / "x.json").head_channels == 256


def test_width_of_the_head_comes_from_the_parameters_and_is_described():
    p = params.load(
        ROOT / "params.yaml",
        net_arch=str(ROOT / "architectures/small/net_arch.npy"),
        cell_arch=str(ROOT / "architectures/small/cell_arch.npy"),
        head_channels=48,
    )
    architecture = Architecture.from_params(p)
    assert architecture.head_channels == 48
    assert "ASPP and decoder 48" in architecture.describe()[-1]


@pytest.mark.parametrize("content", [{}, {"architecture": {"net": [0]}}, {"architecture": {"depth": 3}}])
def test_file_that_is_no_sidecar_is_refused(tmp_path, content):
    write_json(tmp_path / "x.json", content)
    with pytest.raises(AdlError):
        Architecture.from_sidecar(tmp_path / "x.json")


def test_stem_has_64_channels_unless_the_parameters_say_otherwise(monkeypatch):
    monkeypatch.chdir(ROOT)
    for initial_fm, channels in ((None, 64), (12, 12)):
        p = params.load(ROOT / "params.yaml", initial_fm=initial_fm)
        assert Architecture.from_params(p).initial_fm == channels
