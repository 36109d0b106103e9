"""One training step: what is applied, what is skipped."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from adl import network
from adl.training.losses import CrossEntropy
from adl.training.optimizers import Momentum
from adl.training.step import TrainStep

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture
def step(tiny):
    net = network.build(tiny)
    return TrainStep(net, CrossEntropy(ignore_label=255), Momentum(net, weight_decay=0.5)).set_train()


@pytest.fixture
def batch(rng):
    """Images, labels, dropout keys."""
    images = rng.normal(size=(2, 3, 33, 33)).astype(np.float32)
    return images, rng.integers(0, 19, (2, 33, 33)).astype(np.int32), np.ones((2, 2), np.int32)


def take(step, images, labels, keys, *, learning_rate=0.1, scale=2.0**16):
    """One step; whether it was applied."""
    keys = None if keys is None else Tensor(keys)
    scalars = (Tensor(np.float32(x)) for x in (learning_rate, scale, 0))
    return bool(step(Tensor(images), Tensor(labels), keys, None, *scalars)[1])


def test_overflow_skips_the_update_and_decay_spares_batch_norm(step, batch):
    images, labels, keys = batch
    weight, gamma = step.network.decoder.classifier.weight, step.network.aspp.projection.norm.gamma

    before = weight.asnumpy().copy()
    infinite = images.copy()
    infinite[0, 0, 0, 0] = np.inf
    assert not take(step, infinite, labels, keys)
    np.testing.assert_array_equal(weight.asnumpy(), before)

    # Where nothing is valid the gradient is zero: what moves, moves by weight decay.
    gamma_before = gamma.asnumpy().copy()
    assert take(step, images, np.full_like(labels, 255), keys)
    np.testing.assert_allclose(weight.asnumpy(), before * (1 - 0.1 * 0.5), rtol=1e-5)
    np.testing.assert_array_equal(gamma.asnumpy(), gamma_before)


def test_update_is_that_of_the_plain_gradient(step, batch):
    images, labels, keys = (Tensor(values) for values in batch)
    weight = step.network.decoder.classifier.weight

    def loss():
        return step.criterion(step.network(images, keys, None), labels)

    gradient = ms.grad(loss, None, (weight,))()[0].asnumpy()
    before = weight.asnumpy().copy()
    assert take(step, *batch)
    np.testing.assert_allclose(weight.asnumpy(), before - 0.1 * (gradient + 0.5 * before), rtol=1e-4, atol=1e-6)
    assert np.abs(gradient).max() > 0.01


def test_momentum_is_that_of_mindspore(pynative, rng):
    def parameters():
        return [Parameter(Tensor(values), name=name) for name, values in start.items()]

    start = {
        "a.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "a.gamma": rng.normal(size=4).astype(np.float32),
    }
    rates = [0.1, 0.05, 0.02]
    ours, theirs = nn.Cell(), parameters()
    ours.a, ours.b = parameters()
    own = Momentum(ours, weight_decay=0.01)
    groups = [
        {"params": theirs[:1], "weight_decay": 0.01},
        {"params": theirs[1:], "weight_decay": 0.0},
    ]
    reference = nn.Momentum(groups, learning_rate=rates, momentum=0.9)
    for rate in rates:
        gradients = tuple(Tensor(rng.normal(size=values.shape).astype(np.float32)) for values in start.values())
        own(gradients, Tensor(np.float32(rate)))
        reference(gradients)
    for mine, other in zip(own.parameters, theirs, strict=True):
        np.testing.assert_array_equal(mine.asnumpy(), other.asnumpy())


def test_loss_scale_does_not_change_the_update(tiny, batch):
    def trained(scale):
        ms.set_seed(1)
        net = network.build(tiny)
        step = TrainStep(net, CrossEntropy(ignore_label=255), Momentum(net, weight_decay=1e-4)).set_train()
        assert take(step, *batch, scale=scale)
        return net.decoder.classifier.weight.asnumpy()

    np.testing.assert_allclose(trained(1.0), trained(1024.0), rtol=1e-5, atol=1e-7)
