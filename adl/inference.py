"""From an image to label maps: scales, mirror, average, argmax. Everything stays on the device up to the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.cityscapes import MEAN, STD
from adl.errors import AdlError
from adl.network.operations import resize

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

Pass = Callable[[Tensor], Tensor]
"""(N, H, W, 3) uint8 BGR → (N, classes, H, W) float32 probabilities: a network, or an exported file (N = 1)."""


class Probabilities(nn.Cell):
    """One pass: normalise, scale, network, softmax, scale back. Takes and returns what `Pass` says."""

    def __init__(self, network: nn.Cell, scale: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.mean = Tensor(255 * np.array(MEAN, np.float32))
        self.factor = Tensor(1 / (255 * np.array(STD, np.float32)))

    def construct(self, image: Tensor) -> Tensor:
        _, height, width, _ = image.shape
        x = ((image.astype(mstype.float32) - self.mean) * self.factor).transpose(0, 3, 1, 2)
        x = resize(x, (round(height * self.scale), round(width * self.scale)))
        return resize(ops.softmax(self.network(x), axis=1), (height, width))


def passes(network: nn.Cell, *, multiscale: bool) -> dict[float, Pass]:
    """A pass for each scale, in evaluation mode; each is compiled for every image size it meets."""
    network.set_train(False)
    scales = SCALES if multiscale else (1.0,)
    return {scale: Probabilities(network, scale).set_train(False) for scale in scales}


def exported(path: Path) -> Pass:
    """A MINDIR file as a pass."""
    try:
        return nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        raise AdlError(f"{path}: cannot be loaded as a MINDIR ({str(error).strip().splitlines()[0]}).") from None


def modes(*, multiscale: bool, flip: bool) -> tuple[str, str]:
    """(the mode that the parameters select, the mode at scale 1): single, flip, multiscale, multiscale_flip."""
    at_scale_1 = "flip" if flip else "single"
    return ("multiscale" + ("_flip" if flip else "") if multiscale else at_scale_1), at_scale_1


def label_maps(passes: Mapping[float, Pass], images: np.ndarray, *, flip: bool) -> dict[str, np.ndarray]:
    """Predict images in every mode that their passes allow.

    images: (N, H, W, 3) uint8 BGR. Returns mode → (N, H, W) uint8 train ids: all that leaves the device.
    """
    return {
        mode: summed.argmax(axis=1).astype(mstype.uint8).asnumpy()
        for mode, summed in probabilities(passes, images, flip=flip).items()
    }


def probabilities(passes: Mapping[float, Pass], images: np.ndarray, *, flip: bool) -> dict[str, Tensor]:
    """Mode → (N, classes, H, W) float32: probabilities, summed over that mode's passes. images: as `label_maps`."""
    upright = Tensor(np.ascontiguousarray(images))
    mirrored = Tensor(np.ascontiguousarray(images[:, :, ::-1])) if flip else None
    summed: dict[str, Tensor] = {}
    for scale, run in passes.items():
        plain = run(upright)
        both = plain + ops.flip(run(mirrored), (3,)) if flip else None
        for suffix, addend in (("", plain), ("_flip", both)):
            if addend is None:
                continue
            if scale == 1:
                summed[suffix.removeprefix("_") or "single"] = addend
            if len(passes) > 1:
                mode = f"multiscale{suffix}"
                summed[mode] = summed[mode] + addend if mode in summed else addend
    return summed
