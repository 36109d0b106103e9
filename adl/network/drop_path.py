"""Scheduled drop path and dropout, with masks that follow from the seed and a position, never from a history.

MindSpore's own dropout is not reproducible on CPU (processes with one seed draw different masks), so a run could
neither be repeated nor resumed. Here every mask is a function of (seed, position, layer, place of the sample in the
global batch): the small drop path masks are drawn on the host, the large dropout masks hashed in the graph from a
key per sample.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.errors import AdlError

Array = TypeVar("Array", Tensor, np.ndarray)


def survivors(draws: np.ndarray, *, step: int, steps: int, final: float) -> np.ndarray:
    """Turn uniform draws (cells, operations, N) into factors: 0 for a dropped path, 1 / keep for a survivor.

    An operation survives with a probability that falls linearly with the depth of its cell and with the training's
    progress, from 1 to `final` in the last cell at the last step (Zoph et al. 2018, "scheduled drop path").
    """
    of_cell = 1 - np.arange(1, len(draws) + 1) / len(draws) * (1 - final)
    keep = 1 - (step + 1) / steps * (1 - of_cell[:, None, None])
    return np.where(draws < keep, 1 / keep, 0).astype(np.float32)


def draw(*, seed: int, position: int, places: range, cells: int, operations: int) -> tuple[np.ndarray, np.ndarray]:
    """What the masks of one batch follow from.

    places: the samples' places in the global batch.
    Returns dropout keys (2, N) int32 and uniform draws for drop path (cells, operations, N) float64.
    """
    keys, draws = [], []
    for place in places:
        # The last number keeps these draws apart from those of the order (1) and the augmentation (none).
        generator = np.random.default_rng([seed, position, place, 2])
        keys.append(generator.integers(0, 2**31, 2, dtype=np.int32))  # one for each dropout layer
        draws.append(generator.random((cells, operations)))
    return np.stack(keys, axis=-1), np.stack(draws, axis=-1)


class HashedDropout(nn.Cell):
    """Dropout whose mask is a hash of (key of the sample, index of the element)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.threshold = round(rate * 2**32) - 2**31

    def construct(self, x: Tensor, keys: Tensor) -> Tensor:
        """x: (N, C, H, W); keys: (N,) int32. Returns x with elements dropped, the others divided by 1 - rate."""
        elements = ops.arange(x.size // keys.size).astype(mstype.int32)
        kept = hashed(elements, keys.reshape(-1, 1)) >= self.threshold
        return x * kept.reshape(x.shape).astype(x.dtype) / (1 - self.rate)


def hashed(code: Array, keys: Array) -> Array:
    """int32 in, int32 out; of a tensor, or of a NumPy array for comparison.

    A round is x · (2x + 1) + key in int32 with wrap-around, a permutation of which the high bits depend on all of x
    (the quadratic of RC6: Rivest et al. 1998). It needs no shift, which is slow on Ascend.
    """
    # With fewer rounds, the masks of two samples with close keys resemble each other.
    for _ in range(3):
        code = code * (2 * code + 1) + keys
    return code


def check_hash() -> None:
    """Raises AdlError if the device's arithmetic gives other masks than NumPy's.

    Its whole numbers must wrap around: a device that saturates, or computes in floats, would drop nothing or all.
    """
    elements = np.array([0, 1, 2, 1_000, 172_000_000, 2**31 - 1], np.int32)
    keys = np.array([[0], [1], [123_456_789], [2**31 - 1]], np.int32)
    on_device = hashed(Tensor(elements), Tensor(keys)).asnumpy()
    if not np.array_equal(on_device, hashed(elements, keys)):
        raise AdlError(
            "this device does not multiply whole numbers as a CPU does, with wrap-around at 32 bits: dropout would not "
            "be what it should. Train on another device, and report this with its name."
        )
