"""Losses, by the names that the parameter `criterion` has for them: cross entropy, plain and of the hard pixels."""

from __future__ import annotations

import math
from collections.abc import Callable

from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.config.params import Params
from adl.parallel.collective import AllSum
from adl.parallel.world import ALONE, World


def _pixel_losses(logits: Tensor, labels: Tensor, ignore_label: int) -> tuple[Tensor, Tensor]:
    """Cross entropy of every pixel (N, H, W), 0 where ignored; and which pixels are valid, as 0.0 and 1.0."""
    valid = labels != ignore_label
    classes = ops.where(valid, labels, ops.zeros_like(labels)).astype(mstype.int32)
    logits = logits.astype(mstype.float32)
    # Written out, because the gradient of ops.log_softmax on this axis takes six times as long on a CPU.
    shifted = logits - ops.stop_gradient(logits.max(axis=1, keepdims=True))
    of_class = ops.gather_elements(shifted, 1, classes.expand_dims(1)).squeeze(1)
    losses = ops.log(ops.exp(shifted).sum(axis=1)) - of_class
    valid = valid.astype(mstype.float32)
    return losses * valid, valid


class CrossEntropy(nn.Cell):
    """Mean over the valid pixels of (logits (N, C, H, W) float32, labels (N, H, W) int32); 0 where there is none.

    On several ranks: this rank's share of the mean over the pixels of all; the shares add up to it.
    """

    def __init__(self, *, ignore_label: int, world: World = ALONE) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        self.over_ranks = AllSum(world)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses, valid = _pixel_losses(logits, labels, self.ignore_label)
        return losses.sum() / _at_least_one(self.over_ranks(valid.sum()))


class OhemCrossEntropy(nn.Cell):
    """Mean over the hard pixels: those whose true class has at most probability `threshold`, or whose loss is among
    the `min_kept` largest of the batch, whichever are more (Shrivastava et al. 2016, as the 2021 system has it).

    Takes (logits (N, C, H, W) float32, labels (N, H, W) int32). Ignored pixels are never selected; the mean is 0
    where nothing is valid. No gradient flows through the selection. On several ranks each selects among its own
    pixels, as published; the result is its share of the mean over the ranks.
    """

    def __init__(self, *, threshold: float, min_kept: int, ignore_label: int, world: World = ALONE) -> None:
        super().__init__()
        self.largest_threshold = -math.log(threshold)
        self.min_kept = min_kept
        self.ignore_label = ignore_label
        self.ranks = world.size

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses, valid = _pixel_losses(logits, labels, self.ignore_label)
        detached = ops.stop_gradient(losses)
        kept = min(max(self.min_kept, 1), detached.size)
        hardest = ops.TopK(sorted=True)(detached.reshape(-1), kept)[0]
        threshold = ops.minimum(hardest[kept - 1], Tensor(self.largest_threshold, mstype.float32))
        selected = ops.stop_gradient((detached >= threshold).astype(mstype.float32) * valid)
        return (losses * selected).sum() / _at_least_one(selected.sum()) / self.ranks


def _at_least_one(count: Tensor) -> Tensor:
    return ops.maximum(ops.stop_gradient(count), Tensor(1.0, mstype.float32))


def _cross_entropy(params: Params, world: World) -> nn.Cell:
    return CrossEntropy(ignore_label=params.ignore_label, world=world)


def _ohem(params: Params, world: World) -> nn.Cell:
    pixels = params.batch_size // world.size * params.crop_size**2
    return OhemCrossEntropy(
        threshold=params.ohem_thresh,
        min_kept=pixels // 16,  # of the pixels on this device, as published
        ignore_label=params.ignore_label,
        world=world,
    )


LOSSES: dict[str, Callable[[Params, World], nn.Cell]] = {
    "ce": _cross_entropy,
    "ohemce": _ohem,
}
"""Name → (parameters, world) → cell of (logits (N, C, H, W), labels (N, H, W)).

On several ranks it gives this rank's share: the shares add up to the loss.
"""
