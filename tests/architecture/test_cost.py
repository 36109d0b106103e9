"""What is said before a training: sizes against the network itself, and the warnings."""

from __future__ import annotations

import pytest

from adl import network
from adl.architecture import Architecture, cost
from adl.config import params
from adl.console import summary
from tests.conftest import ROOT


@pytest.mark.parametrize(("filters", "parameters"), [(20, 10_395_808), (32, 22_258_336), (48, 45_855_456)])
def test_parameters_of_the_published_networks(filters, parameters):
    assert cost.parameters(Architecture(filter_multiplier=filters)) == parameters


@pytest.mark.parametrize("use_abn", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_parameters_are_those_of_the_network(pynative, tiny, use_abn, affine):
    cell = ((0, 7), (1, 5), (0, 1), (2, 3))
    for architecture in (
        Architecture(**{**tiny.to_json(), "use_abn": use_abn, "affine": affine}),
        Architecture(net=(0, 1, 2, 1), cell=cell, filter_multiplier=3, use_abn=use_abn, affine=affine),
    ):
        built = network.build(architecture)
        assert cost.parameters(architecture) == sum(p.size for p in built.trainable_params())


def test_multiplications_of_the_published_network():
    # About 316 GMAC at 1024×2048, bilinear resizes counted in.
    assert 310e9 < cost.macs(Architecture(), 1024, 2048) < 316e9


def test_memory_and_time_grow_with_crop_and_batch():
    small = Architecture()
    assert (
        cost.training_memory(small, 257, 2) < cost.training_memory(small, 513, 2) < cost.training_memory(small, 513, 4)
    )
    assert cost.cpu_step(small, 257, 2, cores=2) == pytest.approx(2 * cost.cpu_step(small, 257, 2, cores=4))


def lines(**values) -> str:
    settings = {
        "epochs": 4000, "batch_size": 16, "crop_size": 769, "parallel": True, "device_target": "Ascend",
    } | values  # fmt: skip
    of_run = {
        name: settings.pop(name, usual)
        for name, usual in {"images": 2975, "steps": 744_000, "first_step": 0, "devices": 8}.items()
    }
    p = params.load(ROOT / "params.yaml").model_copy(update=settings)
    return "\n".join(summary.before_training(Architecture(), p, **of_run))


def test_table_says_what_will_run():
    text = lines()
    assert "stride  4  ■ ■ ■ · · · · · · · · ·" in text
    assert "stride 32  · · · · · · · · ■ ■ · ·" in text
    for part in (
        "10,395,808",
        "2975 images, 186 steps per epoch",
        "744,000 in 4000 epochs",
        "16 images per group",
    ):
        assert part in text
    assert "warning: batch norm" not in text
    assert "beginning at" not in text
    assert "744,000 in 4000 epochs, beginning at step 1,860" in lines(first_step=1860)
    assert " GB on each device" in text
    assert "on each device" not in lines(devices=1)


def test_small_batch_norm_groups_are_warned_of():
    assert "warning: batch norm over 8 images" in lines(batch_size=8)
    assert "2 images. The published mIOU needs 16 or more: raise batch_size, or set parallel" in lines(parallel=False)


def test_more_memory_than_there_is_is_warned_of():
    warning = "warning: this machine has"
    alone = lines(crop_size=2049, batch_size=512, devices=1, device_target="CPU")
    assert warning in alone
    assert " GB in 1 process. Lower crop_size" in alone
    assert warning not in lines(crop_size=2049, batch_size=512, devices=1), "the memory is the device's"
    assert warning not in lines(crop_size=129, batch_size=2, devices=1, device_target="CPU")
    assert " GB in 10,000 processes. Lower crop_size" in lines(
        crop_size=129, batch_size=20000, devices=10000, device_target="CPU"
    )
