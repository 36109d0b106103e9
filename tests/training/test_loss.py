"""Losses against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from adl.parallel.world import ALONE, World
from adl.training.losses import CrossEntropy, OhemCrossEntropy

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


def test_loss_of_nothing_is_zero(rng):
    logits = Tensor(rng.normal(size=(1, 5, 4, 4)).astype(np.float32))
    labels = Tensor(np.full((1, 4, 4), IGNORE, np.int32))
    assert float(CrossEntropy(ignore_label=IGNORE)(logits, labels)) == 0
    assert float(OhemCrossEntropy(threshold=0.7, min_kept=1, ignore_label=IGNORE)(logits, labels)) == 0


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
