"""The graphs whose primitives ascend_primitives.py looks up, each compiled for a small network and small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CELL = ((0, 0), (1, 1), (0, 2), (1, 3), (0, 4), (1, 5), (0, 6), (1, 7))
"""A genotype that has each of the eight primitives of the search space."""


def small_network(*, use_abn: bool = True, devices: int = 1) -> Any:
    """Three cells, each of which has all eight primitives of the search space."""
    from adl import network
    from adl.architecture import Architecture
    from adl.parallel.world import World

    architecture = Architecture(
        net=(0, 1, 1),
        cell=CELL,
        filter_multiplier=2,
        initial_fm=4,
        head_channels=4,
        use_abn=use_abn,
    )
    return network.build(architecture, world=World(size=devices))


def training(
    *,
    devices: int,
    criterion: str,
    use_abn: bool,
    parallel: bool = True,
    amp_level: str = "O0",
) -> None:
    """One step. parallel: batch norm over all devices."""
    import numpy as np
    from mindspore import Tensor, amp

    from adl.parallel.world import World
    from adl.training.losses import CrossEntropy, CrossEntropyAndDice, OhemCrossEntropy, SoftDice
    from adl.training.optimizers import Momentum
    from adl.training.step import TrainStep

    world, side, batch = World(size=devices), 33, 2
    net = small_network(use_abn=use_abn, devices=devices if parallel else 1)
    loss = CrossEntropy(ignore_label=255, world=world)
    if criterion == "ce+dice":
        weighted = CrossEntropy(ignore_label=255, class_weights=Tensor(np.ones(19, np.float32)), world=world)
        loss = CrossEntropyAndDice(weighted, SoftDice(ignore_label=255, world=world), 1.0)
    if criterion == "ohemce":
        kept = batch * side**2 // 16
        loss = OhemCrossEntropy(threshold=0.7, min_kept=kept, ignore_label=255, world=world)
    precise = amp.auto_mixed_precision(net, amp_level)
    step = TrainStep(precise, loss, Momentum(net, 1e-4), world)
    images = Tensor(np.zeros((batch, 3, side, side), np.float32))
    labels = Tensor(np.zeros((batch, side, side), np.int32))
    keys, survivors = (
        Tensor(np.ones((2, batch), np.int32)),
        Tensor(np.ones((3, 8, batch), np.float32)),
    )
    scalars = [Tensor(np.float32(x)) for x in (0.1, 1, 0)]
    step.set_train().compile(images, labels, keys, survivors, *scalars)


def evaluation() -> None:
    """Two scales and the mirror image up to label maps, as `inference.label_maps`; and the sum of counts over ranks."""
    import numpy as np
    from mindspore import Tensor, nn, ops
    from mindspore import dtype as mstype

    from adl.dataset import descriptor
    from adl.evaluation import inference
    from adl.parallel.collective import AllSum
    from adl.parallel.world import World

    mode = inference.Mode(multiscale=True, mirror=True)
    passes = inference.passes(small_network(), descriptor.shipped("cityscapes"), mode)

    class Evaluation(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.half, self.full = passes[0.5], passes[1.0]
            self.sum = AllSum(World(size=2))

        def construct(self, upright: Tensor, mirrored: Tensor, counts: Tensor) -> object:
            total = self.half(upright) + ops.flip(self.half(mirrored), (3,))
            total = total + self.full(upright) + ops.flip(self.full(mirrored), (3,))
            return total.argmax(axis=1).astype(mstype.uint8), self.sum(counts)

    image = Tensor(np.zeros((1, 66, 66, 3), np.uint8))
    counts = Tensor(np.zeros((19, 20, 3), np.float32))
    Evaluation().set_train(False).compile(image, image, counts)


def export(*, labels: bool) -> None:
    import numpy as np
    from mindspore import Tensor

    from adl.dataset import descriptor
    from adl.evaluation.inference import Probabilities
    from adl.export.writers import Labels

    model = Probabilities(small_network().set_train(False), descriptor.shipped("cityscapes"))
    cell = Labels(model) if labels else model
    cell.set_train(False).compile(Tensor(np.zeros((1, 65, 65, 3), np.uint8)))


def planted() -> None:
    """Not ours: a primitive that only the AICPU has, and one that Ascend lacks; the test must find both."""
    import numpy as np
    from mindspore import Tensor, nn, ops
    from mindspore import dtype as mstype

    class Planted(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.pool = ops.AdaptiveMaxPool3D()

        def construct(self, whole: Tensor, size: Tensor) -> object:
            shifted = ops.bitwise_right_shift(whole, 1)
            return self.pool(shifted.astype(mstype.float32), size), shifted + 1

    whole = Tensor(np.ones((1, 2, 4, 4), np.int32))
    Planted().compile(whole, Tensor(np.array([1, 1, 1], np.int32)))


GRAPHS: dict[str, Callable[[], None]] = {
    "training, 1 device, ce+dice, class weights": lambda: training(devices=1, criterion="ce+dice", use_abn=True),
    "training, 8 devices, ohemce, no ABN": lambda: training(devices=8, criterion="ohemce", use_abn=False),
    "evaluation": evaluation,
    "export": lambda: export(labels=False),
    "export of labels": lambda: export(labels=True),
}
"""The two trainings have between them every kind of batch norm, loss and cell, and drop path."""
OTHERS: dict[str, Callable[[], None]] = {
    "planted": planted,
    "training, 8 devices, ce, batch norm alone, O2": lambda: training(
        devices=8, criterion="ce", use_abn=True, parallel=False, amp_level="O2"
    ),
    "training, 1 device, ohemce, no ABN, O3": lambda: training(
        devices=1, criterion="ohemce", use_abn=False, amp_level="O3"
    ),
}
"""Every other variant of a training, several of them in each graph."""
