"""One training step: what the host hands over, and the graph: forward, backward, sums over the ranks, update."""

from __future__ import annotations

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn, ops
from mindspore import dtype as mstype

from adl.architecture import Architecture
from adl.config.params import Params
from adl.network import drop_path
from adl.parallel.collective import AllSum, AllSumEach
from adl.parallel.world import ALONE, World
from adl.training.optimizers import Momentum
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
        self, network: nn.Cell, criterion: nn.Cell, optimizer: Momentum, world: World = ALONE
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostStep:
    """The graph with what it takes from the host: learning rate, loss scale, masks of dropout and drop path.

    learning_rates: (steps,), by applied update. architecture: of the network.
    """

    graph: TrainStep
    learning_rates: np.ndarray
    params: Params
    architecture: Architecture
    world: World

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, counters: Counters, *, stop: bool
    ) -> tuple[float, bool, bool]:
        """images: (N, 3, H, W) float32. labels: (N, H, W) int32. counters: before the step; notes the learning rate.

        stop: this rank was asked to stop. Returns the loss, whether the update was applied, and whether any rank was
        asked to stop: the same on all ranks.
        """
        params = self.params
        counters.learning_rate = float(self.learning_rates[counters.step])
        keys, draws = drop_path.draw(
            seed=params.seed,
            position=counters.position,
            places=self.world.share(params.batch_size),
            cells=len(self.architecture.net),
            operations=len(self.architecture.cell),
        )
        survivors = None
        if params.drop_path_keep_prob < 1:
            survivors = Tensor(
                drop_path.survivors(
                    draws,
                    step=counters.step,
                    steps=counters.plan.steps,
                    final=params.drop_path_keep_prob,
                )
            )
        scalars = np.array([counters.learning_rate, counters.loss_scale.value, stop], np.float32)
        results = self.graph(
            Tensor(images), Tensor(labels), Tensor(keys), survivors, *map(Tensor, scalars)
        )
        loss, applied, stopped = map(float, results)
        return loss, applied > 0, stopped > 0
