"""Losses against NumPy."""

from __future__ import annotations

import functools

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from adl.parallel.world import ALONE, World
from adl.training.losses import CrossEntropy, CrossEntropyAndDice, OhemCrossEntropy, SoftDice, class_weights

pytestmark = pytest.mark.usefixtures("pynative")
IGNORE = 255


def pixel_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross entropy of the valid pixels, (valid,), in float64."""
    logits = logits.astype(np.float64).transpose(0, 2, 3, 1)[labels != IGNORE]
    classes = labels[labels != IGNORE]
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(classes)), classes]


def reference_ohem(logits, labels, threshold, kept) -> float:
    losses = pixel_losses(logits, labels)
    ranked = np.sort(np.concatenate([losses, np.zeros(labels.size - len(losses))]))[::-1]
    limit = min(-np.log(threshold), ranked[kept - 1])
    hard = losses[losses >= limit]
    return float(hard.mean()) if len(hard) else 0.0


@pytest.mark.parametrize("case", range(20))
def test_ohem_equals_numpy(case):
    rng = np.random.default_rng(case)
    logits = rng.normal(0, 2, (2, 5, 9, 11)).astype(np.float32)
    labels = rng.integers(0, 5, (2, 9, 11)).astype(np.int32)
    kept = 2 * 9 * 11 // 16
    valid = {0: 0, 1: 1, 2: kept - 1, 3: kept}.get(case, int(rng.integers(kept, labels.size)))
    ignored = rng.permutation(labels.size)[valid:]
    labels.ravel()[ignored] = IGNORE
    threshold = float(rng.uniform(0.01, 0.9))
    loss = OhemCrossEntropy(threshold=threshold, min_kept=kept, ignore_label=IGNORE)
    expected = reference_ohem(logits, labels, threshold, kept)
    assert float(loss(Tensor(logits), Tensor(labels))) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_cross_entropy_is_the_mean_over_valid_pixels(rng):
    logits = rng.normal(0, 2, (2, 5, 9, 11)).astype(np.float32)
    labels = rng.integers(0, 5, (2, 9, 11)).astype(np.int32)
    labels[0, :4] = IGNORE
    loss = CrossEntropy(ignore_label=IGNORE)(Tensor(logits), Tensor(labels))
    assert float(loss) == pytest.approx(pixel_losses(logits, labels).mean(), rel=1e-5)


WEIGHTS = np.array([0.125, 1, 0, 0.5, 0.25], np.float32)
"""Of five classes; the third counts as ignored."""


def weighted_mean(logits, labels, threshold=1.0, kept=1) -> float:
    """Over the pixels whose true class has at most probability `threshold`, or whose loss is among the largest."""
    labels = np.where(labels == 2, IGNORE, labels)
    losses, weights = pixel_losses(logits, labels), WEIGHTS[labels[labels != IGNORE]]
    hard = losses >= min(-np.log(threshold), np.sort(losses)[-kept])
    return (losses * weights)[hard].sum() / weights[hard].sum()


def soft_dice(logits, labels) -> float:
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    coefficients = []
    for number in np.unique(labels[labels != IGNORE]):
        predicted, true = probabilities[:, number][labels != IGNORE], (labels == number)[labels != IGNORE]
        coefficients.append(2 * predicted[true].sum() / (predicted.sum() + true.sum()))
    return 1 - np.mean(coefficients)


def sum_of_both(logits, labels) -> float:
    return weighted_mean(logits, labels) + 0.5 * soft_dice(logits, labels)


def differences(reference, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The gradient of a loss with respect to the logits, by central differences in float64."""
    gradient = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        gradient[place] = (reference(logits + step, labels) - reference(logits - step, labels)) / 2e-5
    return gradient


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Two images; the first has ignored pixels, the second has more classes, and neither has the fifth."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (2, 3, 4)).astype(np.int32)
    labels[0, 0], labels[0, 1:] = IGNORE, labels[0, 1:] % 2
    return rng.normal(0, 2, (2, 5, 3, 4)).astype(np.float32), labels


def cells(world: World = ALONE) -> dict[str, ms.nn.Cell]:
    ours = {"ignore_label": IGNORE, "world": world}
    weighted = CrossEntropy(class_weights=Tensor(WEIGHTS), **ours)
    return {
        "ce": weighted,
        "ohemce": OhemCrossEntropy(threshold=0.2, min_kept=4, class_weights=Tensor(WEIGHTS), **ours),
        "dice": SoftDice(**ours),
        "ce+dice": CrossEntropyAndDice(weighted, SoftDice(**ours), 0.5),
    }


REFERENCES = {
    "ce": weighted_mean,
    "ohemce": functools.partial(weighted_mean, threshold=0.2, kept=4),
    "dice": soft_dice,
    "ce+dice": sum_of_both,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_value_and_gradient_are_those_of_numpy(name):
    logits, labels = batch()
    value, gradient = ms.value_and_grad(cells()[name])(Tensor(logits), Tensor(labels))
    assert float(value) == pytest.approx(REFERENCES[name](logits, labels), rel=1e-5)
    expected = differences(REFERENCES[name], logits.astype(np.float64), labels)
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-4, atol=1e-6)


def test_dice_of_two_classes_by_hand():
    """Each probability is 1/2 but for a third class that no label holds, and an ignored pixel."""
    logits = np.zeros((1, 3, 1, 5), np.float32)
    logits[0, 2] = -100
    labels = np.array([[[0, 0, 0, 1, IGNORE]]], np.int32)
    mean = (2 * 1.5 / (2 + 3) + 2 * 0.5 / (2 + 1)) / 2
    assert float(SoftDice(ignore_label=IGNORE)(Tensor(logits), Tensor(labels))) == pytest.approx(1 - mean)


def test_balanced_weights_are_of_median_frequency():
    manifest = {"pixels": {"road": 400, "car": 100, "train": 0, "bike": 20}}
    balanced = class_weights("balanced", manifest).asnumpy()
    np.testing.assert_allclose(balanced, np.array([100 / 400, 1, 0, 100 / 20]) / 5, rtol=1e-6)
    np.testing.assert_array_equal(class_weights([4, 2, 0, 1], manifest).asnumpy(), np.float32([1, 0.5, 0, 0.25]))
    assert class_weights("none", manifest) is None


@pytest.mark.parametrize("name", REFERENCES)
def test_loss_of_nothing_is_zero_and_so_is_its_gradient(name, rng):
    def scaled(logits, labels):
        return cells()[name](logits, labels) * 2.0**24

    logits = Tensor(rng.normal(size=(1, 5, 4, 4)).astype(np.float32))
    value, gradient = ms.value_and_grad(scaled)(logits, Tensor(np.full((1, 4, 4), IGNORE, np.int32)))
    assert float(value) == 0
    assert not gradient.asnumpy().any()


def test_large_logits_do_not_overflow():
    logits = np.zeros((1, 2, 1, 1), np.float32)
    logits[0, 0] = 300
    loss = CrossEntropy(ignore_label=IGNORE)(Tensor(logits), Tensor(np.ones((1, 1, 1), np.int32)))
    assert float(loss) == pytest.approx(300)


def test_shares_of_the_ranks_add_up_to_the_mean_of_their_losses(rng):
    logits = rng.normal(0, 2, (2, 5, 9, 11)).astype(np.float32)
    labels = rng.integers(0, 5, (2, 9, 11)).astype(np.int32)

    def losses(world: World) -> list[float]:
        loss = OhemCrossEntropy(threshold=0.3, min_kept=6, ignore_label=IGNORE, world=world)
        return [float(loss(Tensor(logits[i : i + 1]), Tensor(labels[i : i + 1]))) for i in range(2)]

    assert sum(losses(World(0, 2))) == pytest.approx(np.mean(losses(ALONE)))
