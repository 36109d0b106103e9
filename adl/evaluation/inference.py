"""From an image to label maps: scales, mirror, average, argmax. Everything stays on the device up to the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.network.operations import resize

MULTISCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales that `ms_infer` averages over, as published."""

Pass = Callable[[Tensor], Tensor]
"""(N, H, W, 3) uint8 BGR → (N, classes, H, W) float32 probabilities."""


class Mode(NamedTuple):
    """What is averaged for a prediction: the image at one scale or, if `multiscale`, at several; its mirror image too
    if `mirror`. The parameters `ms_infer` and `eval_flip` select it.
    """

    multiscale: bool = False
    mirror: bool = False

    @property
    def scales(self) -> tuple[float, ...]:
        return MULTISCALE if self.multiscale else (1.0,)

    @property
    def name(self) -> str:
        words = []
        if self.multiscale:
            words.append("multiscale")
        if self.mirror:
            words.append("flip")
        return "_".join(words) or "single"

    @property
    def at_scale_1(self) -> Mode:
        return Mode(mirror=self.mirror)


class Probabilities(nn.Cell):
    """One pass: normalise, scale, network, softmax, scale back. Takes and returns what `Pass` says."""

    def __init__(self, network: nn.Cell, dataset: DatasetDescriptor, scale: float = 1.0) -> None:
        super().__init__()
        normalise = Normalise(dataset)
        self.network = network
        self.scale = scale
        self.mean = Tensor(normalise.mean)
        self.factor = Tensor(normalise.factor)

    def construct(self, image: Tensor) -> Tensor:
        _, height, width, _ = image.shape
        x = ((image.astype(mstype.float32) - self.mean) * self.factor).transpose(0, 3, 1, 2)
        x = resize(x, (round(height * self.scale), round(width * self.scale)))
        return resize(ops.softmax(self.network(x), axis=1), (height, width))


def passes(network: nn.Cell, dataset: DatasetDescriptor, chosen: Mode) -> dict[float, Pass]:
    """A pass for each scale of a mode, in evaluation mode; each is compiled for every image size it meets."""
    return {scale: Probabilities(network, dataset, scale).set_train(False) for scale in chosen.scales}


def label_maps(passes: Mapping[float, Pass], images: np.ndarray, chosen: Mode) -> dict[str, np.ndarray]:
    """Predict images in a mode, and in every other that its passes allow.

    images: (N, H, W, 3) uint8 BGR. Returns name of the mode → (N, H, W) uint8 train ids: all that leaves the device.
    """
    return {
        name: total.argmax(axis=1).astype(mstype.uint8).asnumpy()
        for name, total in probabilities(passes, images, chosen).items()
    }


def probabilities(
    passes: Mapping[float, Callable[[Any], Any]],
    images: np.ndarray,
    chosen: Mode,
    *,
    to_device: Callable[[np.ndarray], Any] = Tensor,
    flip: Callable[[Any, tuple[int]], Any] = ops.flip,
) -> dict[str, Any]:
    """Predict as `label_maps` does. Returns name of the mode → (N, classes, H, W) float32, summed over its passes.

    to_device: makes of images what a pass takes. flip: mirrors what a pass gave, on one axis. Both are NumPy's for
    passes of NumPy's arrays.
    """
    upright = to_device(np.ascontiguousarray(images))
    sums: dict[str, Any] = {}
    for scale, run in passes.items():
        of_pass = {False: run(upright)}
        if chosen.mirror:
            mirrored = run(to_device(np.ascontiguousarray(images[:, :, ::-1])))
            of_pass[True] = of_pass[False] + flip(mirrored, (3,))
        for is_mirrored, addend in of_pass.items():
            for mode in {Mode(mirror=is_mirrored), Mode(chosen.multiscale, is_mirrored)}:
                if scale in mode.scales:
                    name = mode.name
                    sums[name] = sums[name] + addend if name in sums else addend
    return sums
