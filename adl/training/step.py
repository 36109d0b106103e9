"""One training step, as a graph: forward, backward, sums over the ranks, update."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, amp, nn, ops
from mindspore import dtype as mstype

from adl.parallel.collective import AllSum, AllSumEach
from adl.parallel.world import ALONE, World
from adl.training.optimizers import Momentum

_product = ops.MultitypeFuncGraph("product")


@_product.register("Tensor", "Tensor")
def _product_of_one(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor.astype(gradient.dtype)


class TrainStep(nn.Cell):
    """Forward, backward and update as one graph.

    The criterion gives this rank's share of the loss: the shares of all ranks add up to it, and so do the gradients.
    """

    def __init__(self, network: nn.Cell, criterion: nn.Cell, optimizer: Momentum, world: World = ALONE) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.optimizer = optimizer
        self.value_and_grad = ms.value_and_grad(self.scaled_loss, None, optimizer.parameters)
        self.sum = AllSum(world)
        self.sum_gradients = AllSumEach(world)
        self.each = ops.HyperMap()

    def scaled_loss(
        self,
        images: Tensor,
        labels: Tensor,
        keys: Tensor | None,
        survivors: Tensor | None,
        scale: Tensor,
    ) -> Tensor:
        return self.criterion(self.network(images, keys, survivors), labels) * scale

    def construct(
        self,
        images: Tensor,
        labels: Tensor,
        keys: Tensor | None,
        survivors: Tensor | None,
        learning_rate: Tensor,
        scale: Tensor,
        stop: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """learning_rate, scale of the loss: () float32. stop: () float32, above 0 if this rank wants to stop.

        Returns the loss, whether the gradients were finite on all ranks, that is, whether the update was applied, and
        whether any rank wants to stop: the same on all ranks.
        """
        scaled_loss, gradients = self.value_and_grad(images, labels, keys, survivors, scale)
        gradients = self.each(ops.partial(_product, 1 / scale), self.sum_gradients(gradients))
        # On some Ascend devices each rank reads a status register of its own: they decide by the sum, all alike.
        infinite = 1 - amp.all_finite(gradients).astype(mstype.float32)
        loss, infinite, stop = self.sum(ops.stack([scaled_loss / scale, infinite, stop]))
        applied = infinite == 0
        if applied:
            self.optimizer(gradients, learning_rate)
        return loss, applied, stop
