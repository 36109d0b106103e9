"""The contract of the network: sizes, dropout, drop path, batch norm, initialisation."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from adl import network
from adl.architecture.genotype import Architecture, side_after
from adl.network import drop_path, operations
from adl.network.aspp import ASPP
from adl.network.normalization import GlobalBatchNorm, batch_norm

pytestmark = pytest.mark.usefixtures("pynative")


def images(rng, n=2, h=33, w=33) -> Tensor:
    return Tensor(rng.normal(size=(n, 3, h, w)).astype(np.float32))


@pytest.mark.parametrize("size", [(33, 33), (34, 47), (64, 33), (65, 80)])
def test_logits_have_the_size_of_the_image(tiny, rng, size):
    deep = dataclasses.replace(tiny, net=(1, 2, 3, 2, 1, 0))
    for architecture in (tiny, deep):
        net = network.build(architecture).set_train(False)
        assert net(images(rng, 1, *size)).shape == (1, 19, *size)


def test_sizes_move_down_and_up_with_aligned_corners():
    assert [
        side_after(33, 1),
        side_after(17, -1),
        side_after(32, 1),
        side_after(16, -1),
        side_after(9, 0),
    ] == [
        17,
        33,
        16,
        32,
        9,
    ]


def test_stem_width_and_classes_follow_the_architecture(tiny, rng):
    net = network.build(dataclasses.replace(tiny, initial_fm=6, num_classes=5)).set_train(False)
    assert net.encoder.stem[2].conv.weight.shape == (12, 6, 3, 3)
    assert net(images(rng)).shape[1] == 5


def test_head_has_the_width_of_the_architecture(tiny, rng):
    net = network.build(dataclasses.replace(tiny, head_channels=12)).set_train(False)
    assert net.aspp.projection.conv.weight.shape == (12, 5 * 12, 1, 1)
    assert [conv.conv.weight.shape[:2] for conv in net.decoder.refine] == [(12, 12 + 48), (12, 12)]
    assert net(images(rng)).shape == (2, 19, 33, 33)


def test_affine_false_reaches_searched_convolutions_only(tiny):
    untrained = {
        name for name, p in network.build(dataclasses.replace(tiny, affine=False)).parameters_and_names()
        if name.endswith(("gamma", "beta")) and not p.requires_grad
    }  # fmt: skip
    assert untrained
    assert all(".operations." in name for name in untrained)
    without_abn = dataclasses.replace(tiny, affine=False, use_abn=False)
    untrained = {
        name for name, p in network.build(without_abn).parameters_and_names()
        if name.endswith("gamma") and not p.requires_grad
    }  # fmt: skip
    assert any(".older." in name for name in untrained)


def test_pooled_mean_of_half_precision_is_taken_in_float32(monkeypatch):
    """With a device's mean that adds in the precision of its input, as Ascend may."""

    def mean(self, axis, keep_dims):
        values = self.asnumpy()
        total = np.cumsum(values.reshape(*values.shape[:2], -1), axis=-1, dtype=values.dtype)[..., -1]
        return Tensor((total / (values.shape[2] * values.shape[3])).reshape(*values.shape[:2], 1, 1))

    monkeypatch.setattr(Tensor, "mean", mean)
    aspp = ASPP(1, 1, lambda channels: nn.Identity())
    aspp.branches, aspp.pooled, aspp.projection = nn.CellList([]), nn.Identity(), nn.Identity()
    # 9409 times 100 is more than half precision holds.
    pooled = aspp(Tensor(np.full((1, 1, 97, 97), 100, np.float16)))
    assert pooled.dtype == ms.float16
    assert (pooled.asnumpy() == 100).all()


def test_convolutions_start_he_normal_and_projections_small():
    net = network.build(Architecture(net=(0, 0, 0), filter_multiplier=20))
    deviation = {name: p.asnumpy().std() for name, p in net.parameters_and_names() if name.endswith("weight")}
    assert deviation["decoder.refine.0.conv.weight"] == pytest.approx(np.sqrt(2 / (304 * 9)), rel=0.02)
    assert deviation["encoder.nas_cells.1.previous.conv.weight"] == pytest.approx(0.01, rel=0.1)
    assert deviation["decoder.low_level.conv.weight"] == pytest.approx(0.01, rel=0.1)


def test_one_step_moves_the_running_mean_by_one_minus_momentum(rng):
    norm = batch_norm(momentum=0.7, eps=1e-5)(4).set_train()
    x = rng.normal(3, 2, (2, 4, 5, 5)).astype(np.float32)
    norm(Tensor(x))
    np.testing.assert_allclose(norm.moving_mean.asnumpy(), 0.3 * x.mean(axis=(0, 2, 3)), rtol=1e-5)
    unbiased = x.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.moving_variance.asnumpy(), 0.7 + 0.3 * unbiased, rtol=1e-5)


def test_momentum_of_the_architecture_reaches_every_batch_norm(tiny, rng):
    net = network.build(dataclasses.replace(tiny, bn_momentum=1 - 1e-7, bn_eps=0.25)).set_train()
    norms = [cell for _, cell in net.cells_and_names() if type(cell).__name__ == "BatchNorm2d"]
    assert {cell.eps for cell in norms} == {0.25}
    net(images(rng))
    assert max(np.abs(cell.moving_mean.asnumpy()).max() for cell in norms) < 1e-5


def test_keep_probability_follows_the_schedule():
    def keep(cell, step):
        factors = drop_path.survivors(np.zeros((12, 1, 1)), step=step, steps=100, final=0.8)
        return 1 / factors[cell, 0, 0]

    assert keep(11, 99) == pytest.approx(0.8)
    assert keep(0, 0) == pytest.approx(1 - 0.01 * (0.2 / 12))
    assert keep(5, 49) == pytest.approx(1 - 0.5 * 0.1)


def test_dropped_paths_are_zero_and_survivors_are_scaled():
    draws = np.array([[[0.1, 0.95]], [[0.1, 0.85]]])
    factors = drop_path.survivors(draws, step=0, steps=1, final=0.8)
    np.testing.assert_allclose(factors[0, 0], [1 / 0.9, 0])
    np.testing.assert_allclose(factors[1, 0], [1 / 0.8, 0])


def test_drop_path_is_the_identity_in_evaluation_and_when_all_survive(tiny, rng):
    net = network.build(dataclasses.replace(tiny, drop_path_keep_prob=0.5)).set_train(False)
    x = images(rng)
    plain = net(x).asnumpy()
    ones = Tensor(np.ones((3, 2, 2), np.float32))
    np.testing.assert_array_equal(net(x, None, ones).asnumpy(), plain)
    zeros = Tensor(np.zeros((3, 2, 2), np.float32))
    assert np.abs(net(x, None, zeros).asnumpy() - plain).max() > 0.1 * np.abs(plain).max()


def test_drop_path_acts_on_single_samples(tiny, rng):
    net = network.build(tiny).set_train(False)
    x = images(rng)
    factors = np.ones((3, 2, 2), np.float32)
    factors[:, :, 1] = 0
    dropped = net(x, None, Tensor(factors)).asnumpy()
    plain = net(x).asnumpy()
    np.testing.assert_array_equal(dropped[0], plain[0])
    assert np.abs(dropped[1] - plain[1]).max() > 0.1 * np.abs(plain[1]).max()


def test_masks_follow_from_seed_position_and_place():
    keys, draws = drop_path.draw(seed=3, position=7, places=range(4), cells=2, operations=5)
    second_half = drop_path.draw(seed=3, position=7, places=range(2, 4), cells=2, operations=5)
    assert keys.dtype == np.int32, "a hash of wider numbers would be another one"
    np.testing.assert_array_equal(keys[:, 2:], second_half[0])
    np.testing.assert_array_equal(draws[..., 2:], second_half[1])
    assert len(np.unique(keys)) == keys.size
    assert not np.array_equal(keys, drop_path.draw(seed=3, position=8, places=range(4), cells=2, operations=5)[0])


def test_decoder_drops_half_and_then_a_tenth(tiny):
    ones = Tensor(np.ones((4, 16, 50, 50), np.float32))
    for dropout, share in zip(network.build(tiny).decoder.dropout, (0.5, 0.1), strict=True):
        out = dropout(ones, Tensor(np.full(4, 7, np.int32))).asnumpy()
        assert (out == 0).mean() == pytest.approx(share, abs=0.01)
        assert out.max() == pytest.approx(1 / (1 - share))


def test_dropout_drops_its_share_independently_and_keeps_the_mean():
    dropout = drop_path.HashedDropout(0.1)
    ones = Tensor(np.ones((2, 16, 50, 50), np.float32))
    out = dropout(ones, Tensor(np.array([1, 2], np.int32))).asnumpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.9)}
    assert (out == 0).mean() == pytest.approx(0.1, abs=0.005)
    flat = (out == 0).reshape(2, -1).astype(float)
    assert abs(np.corrcoef(flat)[0, 1]) < 0.02, "two samples"
    assert abs(np.corrcoef(flat[0, 1:], flat[0, :-1])[0, 1]) < 0.02, "neighbours"
    np.testing.assert_array_equal(out, dropout(ones, Tensor(np.array([1, 2], np.int32))).asnumpy())


@pytest.mark.parametrize("size", [(33, 17), (5, 30), (1, 9), (9, 12), (12, 12), (9, 9)])
def test_gradient_of_a_resize_is_that_of_the_operation(rng, size):
    x = Tensor(rng.normal(size=(2, 3, 9, 12)).astype(np.float32))
    sensitivity = Tensor(rng.normal(size=(2, 3, *size)).astype(np.float32))
    of_resize = operations.Resize()
    ours, theirs = (
        ms.grad(lambda x, f=f: (f(x, size) * sensitivity).sum())(x).asnumpy() for f in (of_resize, operations.resize)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_graph_pynative_and_numpy_hash_alike():
    dropout = drop_path.HashedDropout(0.25)
    x, keys = Tensor(np.ones((2, 3, 4, 50), np.float32)), np.array([2**31 - 2, 7], np.int32)
    eager = dropout(x, Tensor(keys)).asnumpy()
    np.testing.assert_array_equal(ms.jit(dropout)(x, Tensor(keys)).asnumpy(), eager)
    code = np.arange(3 * 4 * 50, dtype=np.uint32)[None]
    for _ in range(3):
        code = code * (np.uint32(2) * code + np.uint32(1)) + keys[:, None].astype(np.uint32)
    kept = code.astype(np.int32) >= -(2**30)  # the lowest quarter is dropped
    np.testing.assert_array_equal(eager != 0, kept.reshape(eager.shape))


def test_two_builds_from_one_seed_are_equal_and_from_another_are_not(tiny):
    def weights(seed):
        ms.set_seed(seed)
        return network.build(tiny).decoder.classifier.weight.asnumpy()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


class OfTwo(nn.Cell):
    """`AllSum` where another rank has the same values."""

    def construct(self, x):
        return x + x


def test_batch_norm_over_ranks_is_that_of_all_their_images(rng):
    settings = {"eps": 0.01, "momentum": 0.7, "affine": True}
    one, two = nn.BatchNorm2d(5, **settings), GlobalBatchNorm(2, OfTwo(), 5, **settings)
    gamma, beta = (Tensor(rng.normal(size=5).astype(np.float32)) for _ in range(2))
    images = Tensor(rng.normal(2, 3, (2, 5, 3, 4)).astype(np.float32))
    weights = Tensor(rng.normal(size=(2, 5, 3, 4)).astype(np.float32))
    twice = ms.ops.concat([images, images])
    for norm in (one, two):
        norm.gamma.set_data(gamma)
        norm.beta.set_data(beta)
        norm.set_train()
    np.testing.assert_allclose(two(images).asnumpy(), one(twice)[:2].asnumpy(), atol=1e-5)
    for name in ("moving_mean", "moving_variance"):
        np.testing.assert_allclose(getattr(two, name).asnumpy(), getattr(one, name).asnumpy(), rtol=1e-5)
    of_two = ms.grad(lambda x: (two(x) * weights).sum())(images).asnumpy()
    of_one = ms.grad(lambda x: (one(x) * ms.ops.concat([weights, weights])).sum())(twice)[:2].asnumpy()
    np.testing.assert_allclose(of_two, of_one, atol=1e-4)
    for norm in (one, two):
        norm.set_train(False)
    np.testing.assert_allclose(two(images).asnumpy(), one(images).asnumpy(), atol=1e-5)
