"""Which samples an epoch shows, in which order."""

from __future__ import annotations

import numpy as np


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps that show every image at least once; the last batch is completed."""
    return -(-images // batch_size)


def epoch_order(*, seed: int, epoch: int, images: int, batch_size: int) -> np.ndarray:
    """Indices of the samples of an epoch: a permutation, completed from its own start to whole batches.

    Returns (steps per epoch · batch_size,) int64; it follows from seed and epoch alone.
    """
    # The 1 keeps these draws apart from those of the masks (2) and of the augmentation (none).
    permutation = np.random.default_rng([seed, epoch, 1]).permutation(images)
    return np.resize(permutation, steps_per_epoch(images, batch_size) * batch_size)
