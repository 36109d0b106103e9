"""One training step: what the host hands over, and the graph: forward, backward, sums over the ranks, update."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn, ops
from mindspore import dtype as mstype

from adl.network import drop_path
from adl.parallel.collective import AllSum, AllSumEach
from adl.parallel.world import ALONE, World
from adl.training.optimizers import Optimizer
from adl.training.plan import Counters

_product = ops.MultitypeFuncGraph("product")


@_product.register("Tensor", "Tensor")
def _product_of_one(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor.astype(gradient.dtype)


class TrainStep(nn.Cell):
    """Forward, backward and update as one graph.

    The criterion gives this rank's share of the loss: the shares of all ranks add up to it, and so do the gradients.
    """

    def __init__(
        self, network: nn.Cell, criterion: nn.Cell, optimizer: Optimizer, world: World = ALONE
    ) -> None:
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


class StepResult(NamedTuple):
    """The same on all ranks. applied: the update was not skipped. stop: a rank was asked to stop."""

    loss: float
    applied: bool
    stop: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostStep:
    """The graph with what it takes from the host: learning rate, loss scale, masks of dropout and drop path.

    learning_rates: (steps,), by applied update. cells, operations: of the network. batch_size: over all ranks.
    drop_path_keep_prob: the final one; 1 is off.
    """

    graph: TrainStep
    learning_rates: np.ndarray
    seed: int
    batch_size: int
    cells: int
    operations: int
    drop_path_keep_prob: float
    world: World = ALONE

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, counters: Counters, *, stop: bool
    ) -> StepResult:
        """images: (N, 3, H, W) float32. labels: (N, H, W) int32. counters: before the step; notes the learning rate."""
        counters.learning_rate = float(self.learning_rates[counters.step])
        keys, survivors = self._masks(counters)
        scalars = [
            Tensor(np.float32(x)) for x in (counters.learning_rate, counters.loss_scale.value, stop)
        ]
        loss, applied, stopped = self.graph(
            Tensor(images), Tensor(labels), keys, survivors, *scalars
        )
        return StepResult(loss=float(loss), applied=bool(applied), stop=float(stopped) > 0)

    def _masks(self, counters: Counters) -> tuple[Tensor, Tensor | None]:
        keys, draws = drop_path.draw(
            seed=self.seed,
            position=counters.position,
            places=self.world.share(self.batch_size),
            cells=self.cells,
            operations=self.operations,
        )
        if self.drop_path_keep_prob == 1:
            return Tensor(keys), None
        survivors = drop_path.survivors(
            draws,
            step=counters.step,
            steps=len(self.learning_rates),
            final=self.drop_path_keep_prob,
        )
        return Tensor(keys), Tensor(survivors)
