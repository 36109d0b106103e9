"""The loss of a pixel's class: gather_elements, as the project has it, beside a one-hot product; and the whole losses.

Forward and gradient, compiled, in turns; the median of each. Ascend computes a product faster than it gathers, so a
product would be taken if it were no slower here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl import device
from adl.dataset import descriptor
from adl.training.losses import CrossEntropy, CrossEntropyAndDice, OhemCrossEntropy, SoftDice

CITYSCAPES = descriptor.shipped("cityscapes")
CLASSES = len(CITYSCAPES.classes)
SIZES = ((97, 4), (257, 2), (769, 2))
"""(crop, images)."""
SECONDS = 10.0


def gathered(shifted: Tensor, classes: Tensor) -> Tensor:
    return ops.gather_elements(shifted, 1, classes.expand_dims(1)).squeeze(1)


def multiplied(shifted: Tensor, classes: Tensor) -> Tensor:
    one, zero = Tensor(1.0, mstype.float32), Tensor(0.0, mstype.float32)
    return (shifted * ops.stop_gradient(ops.one_hot(classes, CLASSES, one, zero, 1))).sum(axis=1)


def with_gradient(
    pick: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        shifted = logits - ops.stop_gradient(logits.max(axis=1, keepdims=True))
        return (ops.log(ops.exp(shifted).sum(axis=1)) - pick(shifted, classes)).mean()

    return ms.jit(ms.value_and_grad(loss))


def losses(pixels: int) -> dict[str, nn.Cell]:
    """All that the parameters can choose. pixels: of a batch."""
    ours = {"ignore_label": 255}
    weights = {"class_weights": Tensor(np.linspace(0.1, 1, CLASSES), mstype.float32)}
    mined = {"threshold": 0.7, "min_kept": pixels // 16}
    return {
        "ce": CrossEntropy(**ours),
        "ce, weighted": CrossEntropy(**ours, **weights),
        "ohemce": OhemCrossEntropy(**mined, **ours),
        "ohemce, weighted": OhemCrossEntropy(**mined, **ours, **weights),
        "ce+dice": CrossEntropyAndDice(CrossEntropy(**ours), SoftDice(**ours), 1.0),
    }


def in_turns(ways: Mapping[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]], *inputs: Tensor) -> str:
    """The median of each, in words."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS or min(map(len, taken.values())) < 5:
        for name, way in ways.items():
            start = time.perf_counter()
            float(way(*inputs)[0])
            taken[name].append(time.perf_counter() - start)
    return "; ".join(f"{name} {1000 * np.median(seconds):.1f} ms" for name, seconds in taken.items())


def main() -> None:
    device.start("CPU")
    rng = np.random.default_rng(0)
    ways = {
        "gather_elements": with_gradient(gathered),
        "one-hot product": with_gradient(multiplied),
    }
    for crop, images in SIZES:
        logits = Tensor(rng.normal(size=(images, CLASSES, crop, crop)).astype(np.float32))
        classes = Tensor(rng.integers(0, CLASSES, (images, crop, crop)).astype(np.int32))
        results = [way(logits, classes)[1].asnumpy() for way in ways.values()]
        np.testing.assert_array_equal(*results)
        print(f"crop {crop}, {images} images: {in_turns(ways, logits, classes)}", flush=True)
        whole = {name: ms.jit(ms.value_and_grad(loss)) for name, loss in losses(classes.size).items()}
        for way in whole.values():
            way(logits, classes)  # compiles
        print(f"  {in_turns(whole, logits, classes)}", flush=True)


if __name__ == "__main__":
    main()
