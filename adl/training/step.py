"""One training step as a graph: forward, backward, sums over the ranks, loss scaling, update."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, amp, nn, ops

from adl.collective import AllSum, AllSumEach
from adl.loss import CrossEntropy, OhemCrossEntropy
from adl.params import Params
from adl.runtime import ALONE, World

FIRST_LOSS_SCALE = 2.0**16
LOSS_SCALE_FACTOR = 2
LOSS_SCALE_WINDOW = 1000
LARGEST_LOSS_SCALE = 2.0**24
"""MindSpore doubles it without end, and what is divided by 2^127 is zero."""


class TrainStep(nn.Cell):
    """Forward, backward and update as one graph, with dynamic loss scaling.

    The criterion gives this rank's share of the loss: the shares of all ranks add up to it, and so do the gradients.
    """

    def __init__(
        self,
        network: nn.Cell,
        criterion: nn.Cell,
        optimizer: nn.Optimizer,
        scaler: amp.DynamicLossScaler,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.optimizer = optimizer
        self.scaler = scaler
        self.value_and_grad = ms.value_and_grad(self._scaled_loss, None, optimizer.parameters)
        self.sum = AllSum(world)
        self.sum_gradients = AllSumEach(world)

    def _scaled_loss(self, images: Tensor, labels: Tensor, keys: Tensor, survivors: Tensor | None) -> Tensor:
        return self.scaler.scale(self.criterion(self.network(images, keys, survivors), labels))

    def construct(
        self, images: Tensor, labels: Tensor, keys: Tensor, stop: Tensor, survivors: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """stop: (1,) float32, above 0 where this rank wants to stop.

        Returns the loss, whether the gradients were finite, that is, whether the update was applied, and whether any
        rank wants to stop: the same on all ranks.
        """
        scaled_loss, gradients = self.value_and_grad(images, labels, keys, survivors)
        gradients = self.sum_gradients(gradients)
        gradients = self.scaler.unscale(gradients)
        loss_and_stop = self.sum(ops.cat([self.scaler.unscale(scaled_loss).reshape(1), stop]))
        # Summed gradients are equal on all ranks, and so is this.
        finite = amp.all_finite(gradients)
        if finite:
            self.optimizer(gradients)
        self.scaler.adjust(finite)
        scale = self.scaler.scale_value
        ops.assign(scale, ops.minimum(scale, LARGEST_LOSS_SCALE))
        return loss_and_stop[0], finite, loss_and_stop[1]


def mixed_precision(network: nn.Cell, level: str) -> nn.Cell:
    """Wrap the cells of a network as MindSpore's level O0, O2 or O3 does."""
    if level == "O3":
        return amp.auto_mixed_precision(network, "O3")
    if level == "O2":
        # MindSpore's own list of what stays in float32 lacks the batch norm over all devices.
        return amp.custom_mixed_precision(network, black_list=[*amp.get_black_list(), nn.SyncBatchNorm])
    return network


def criterion(params: Params, world: World) -> nn.Cell:
    if params.criterion == "ce":
        return CrossEntropy(ignore_label=params.ignore_label, world=world)
    images = params.batch_size // world.size
    return OhemCrossEntropy(
        threshold=params.ohem_thresh,
        # A sixteenth of the pixels on this device, as published.
        min_kept=images * params.crop_size**2 // 16,
        ignore_label=params.ignore_label,
        world=world,
    )
