"""Losses, by the names that the parameter `criterion` has for them, and the weights of the classes in them.

Cross entropy, plain or of the hard pixels, and soft Dice. Each is a cell of (logits (N, C, H, W) float32, labels
(N, H, W) int32), computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.config.params import Params
from adl.errors import AdlError
from adl.parallel.collective import AllSum
from adl.parallel.world import ALONE, World


def class_weights(chosen: str | Sequence[float], manifest: Mapping[str, Any]) -> Tensor | None:
    """The weight of each class, (C,) float32, the largest 1, since only their ratios count; None: all are alike.

    chosen: the parameter. manifest: that of the training record. Balanced weights are those of median frequency (Eigen
    & Fergus 2015): the median of the classes' pixel counts, divided by the class's own. Counted are the pixels of all
    images, while the authors leave out, for each class, the images without it. A class without pixels has weight 0,
    and no part in the median. Raises AdlError if there are not as many as classes.
    """
    if chosen == "none":
        return None
    weights = np.array(chosen)
    pixels = np.array([*manifest["pixels"].values()])
    if chosen != "balanced" and len(weights) != len(pixels):
        raise AdlError(
            f"{len(weights)} weights, but the data set has {len(pixels)} classes",
            "Write a weight for each class, in their order.",
            where="class_weights",
        )
    if chosen == "balanced":
        present = pixels > 0
        weights = np.divide(np.median(pixels[present]), pixels, out=np.zeros(len(pixels)), where=present)
    return Tensor(weights / weights.max(), mstype.float32)


def _shifted(logits: Tensor, labels: Tensor, ignore_label: int) -> tuple[Tensor, Tensor, Tensor]:
    """The logits (N, C, H, W) float32 less the largest of each pixel, which changes no probability.

    Besides, for each pixel (N, H, W): its class, int32, 0 where ignored; and whether it is valid, as 0.0 and 1.0.
    """
    valid = labels != ignore_label
    classes = ops.where(valid, labels, ops.zeros_like(labels)).astype(mstype.int32)
    logits = logits.astype(mstype.float32)
    shifted = logits - ops.stop_gradient(logits.max(axis=1, keepdims=True))
    return shifted, classes, valid.astype(mstype.float32)


def _of_class(values: Tensor, classes: Tensor) -> Tensor:
    """Values of all classes (N, C, H, W) → those of each pixel's own class (N, H, W)."""
    return ops.gather_elements(values, 1, classes.expand_dims(1)).squeeze(1)


def _pixel_losses(
    logits: Tensor,
    labels: Tensor,
    ignore_label: int,
    of_classes: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of every pixel (N, H, W), ignored ones too; which of them count, as 0.0 and 1.0; their weights.

    of_classes: weight of each class. One of weight 0 does not count; what does not count has weight 0.
    """
    shifted, classes, valid = _shifted(logits, labels, ignore_label)
    # Written out, because the gradient of ops.log_softmax on this axis takes six times as long on a CPU.
    losses = ops.log(ops.exp(shifted).sum(axis=1)) - _of_class(shifted, classes)
    if of_classes is None:
        return losses, valid, valid
    weights = ops.gather(of_classes, classes, 0) * valid
    return losses, (weights > 0).astype(mstype.float32), weights


class CrossEntropy(nn.Cell):
    """Mean over the valid pixels, weighted if there are weights; 0 where there is none.

    class_weights: as the function of this name gives them. The mean is divided by the sum of the pixels' weights.
    On several ranks: this rank's share of the mean over the pixels of all; the shares add up to it.
    """

    def __init__(self, *, ignore_label: int, class_weights: Tensor | None = None, world: World = ALONE) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        self.class_weights = class_weights
        self.over_ranks = AllSum(world)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses, _, weights = _pixel_losses(logits, labels, self.ignore_label, self.class_weights)
        return (losses * weights).sum() / _above_zero(self.over_ranks(weights.sum()))


class OhemCrossEntropy(nn.Cell):
    """Mean over the hard pixels: those whose true class has at most probability `threshold`, or whose loss is among
    the `min_kept` largest of the batch, whichever are more (Shrivastava et al. 2016, as the 2021 system has it).

    Ignored pixels are never selected; the mean is 0 where nothing is valid. No gradient flows through the selection.
    On several ranks each selects among its own pixels, as published; the result is its share of the mean over the
    ranks.

    class_weights: as the function of this name gives them. They act after mining: a pixel is as hard as without them,
    and only the mean over the selected pixels, which is each rank's own, is weighted and divided by the sum of their
    weights. But a class of weight 0 is never selected.
    """

    def __init__(
        self,
        *,
        threshold: float,
        min_kept: int,
        ignore_label: int,
        class_weights: Tensor | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.largest_threshold = -math.log(threshold)
        self.min_kept = min_kept
        self.ignore_label = ignore_label
        self.class_weights = class_weights
        self.ranks = world.size

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses, counted, weights = _pixel_losses(logits, labels, self.ignore_label, self.class_weights)
        losses = losses * counted
        detached = ops.stop_gradient(losses)
        kept = min(max(self.min_kept, 1), detached.size)
        hardest = ops.TopK(sorted=True)(detached.reshape(-1), kept)[0]
        threshold = ops.minimum(hardest[kept - 1], Tensor(self.largest_threshold, mstype.float32))
        selected = ops.stop_gradient((detached >= threshold).astype(mstype.float32) * weights)
        return (losses * selected).sum() / _above_zero(selected.sum()) / self.ranks


class SoftDice(nn.Cell):
    """1 − the mean Dice coefficient of those classes that the labels hold; 0 where nothing is valid.

    The coefficient of a class is 2·Σpy / (Σp + Σy), where p is its probability and y whether it is the true class
    (Sudre et al. 2017); the sums are over the valid pixels of all images on all ranks. On several ranks: this rank's
    share of the loss; they are equal, and add up to it.
    """

    def __init__(self, *, ignore_label: int, world: World = ALONE) -> None:
        super().__init__()
        self.ignore_label = ignore_label
        self.ranks = world.size
        self.over_ranks = AllSum(world)
        self.sum_by_class = ops.UnsortedSegmentSum()
        self.product = ops.BatchMatMul()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        shifted, classes, valid = _shifted(logits, labels, self.ignore_label)
        images, number = shifted.shape[:2]
        exponentials = ops.exp(shifted)
        # What makes probabilities of them. Those of all classes are never held, only summed, by a product of matrices.
        scale = valid / exponentials.sum(axis=1)
        predicted = self.product(exponentials.reshape(images, number, -1), scale.reshape(images, -1, 1)).sum((0, 2))
        correct = self.sum_by_class((_of_class(exponentials, classes) * scale).reshape(-1), classes.reshape(-1), number)
        true = ops.stop_gradient(self.sum_by_class(valid.reshape(-1), classes.reshape(-1), number))
        correct, predicted, true = self.over_ranks(ops.stack([correct, predicted, true]))
        present = (true > 0).astype(mstype.float32)
        dice = 2 * correct / (predicted + true + (1 - present))  # above 0 for an absent class too
        return ((1 - dice) * present).sum() / _above_zero(present.sum()) / self.ranks


class CrossEntropyAndDice(nn.Cell):
    """Cross entropy plus `dice_weight` times soft Dice; class weights are those of the cross entropy alone."""

    def __init__(self, cross_entropy: CrossEntropy, dice: SoftDice, dice_weight: float) -> None:
        super().__init__()
        self.cross_entropy = cross_entropy
        self.dice = dice
        self.dice_weight = dice_weight

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.cross_entropy(logits, labels) + self.dice_weight * self.dice(logits, labels)


def _above_zero(total: Tensor) -> Tensor:
    """A sum of weights, or of none, to divide by. Not the smallest float32: its inverse, scaled, must be finite."""
    return ops.maximum(ops.stop_gradient(total), Tensor(1e-20, mstype.float32))


def _cross_entropy(params: Params, world: World, class_weights: Tensor | None) -> CrossEntropy:
    return CrossEntropy(ignore_label=params.ignore_label, class_weights=class_weights, world=world)


def _ohem(params: Params, world: World, class_weights: Tensor | None) -> OhemCrossEntropy:
    pixels = params.batch_size // world.size * params.crop_size**2
    return OhemCrossEntropy(
        threshold=params.ohem_thresh,
        min_kept=pixels // 16,  # of the pixels on this device, as published
        ignore_label=params.ignore_label,
        class_weights=class_weights,
        world=world,
    )


def _cross_entropy_and_dice(params: Params, world: World, class_weights: Tensor | None) -> CrossEntropyAndDice:
    return CrossEntropyAndDice(
        _cross_entropy(params, world, class_weights),
        SoftDice(ignore_label=params.ignore_label, world=world),
        params.dice_weight,
    )


LOSSES: dict[str, Callable[[Params, World, Tensor | None], nn.Cell]] = {
    "ce": _cross_entropy,
    "ohemce": _ohem,
    "ce+dice": _cross_entropy_and_dice,
}
"""Name → (parameters, world, class weights) → cell of (logits (N, C, H, W), labels (N, H, W)).

On several ranks it gives this rank's share: the shares add up to the loss.
"""
