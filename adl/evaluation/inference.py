"""From an image to label maps: scales, mirror, windows, average, argmax.

Of whole images everything stays on the device up to the labels. Windows are averaged on the host.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.network.operations import resize

MULTISCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales that `ms_infer` averages over, as published. They are multiples of a quarter (`scaled`)."""
FEW_SIZES = 2
"""Image sizes for which a graph each is compiled. Of more, one graph for any size takes less time in all, though more
for an image: up to twice as much for small images, 1.3 to 1.6 times for the published network at 257×513."""

Pass = Callable[[Tensor], Tensor]
"""(N, H, W, 3) uint8 BGR → (N, classes, H, W) float32 probabilities."""
Run = Callable[[np.ndarray], np.ndarray]
"""The same with NumPy's arrays."""


class Mode(NamedTuple):
    """What is averaged for a prediction: the image at one scale or, if `multiscale`, at several; its mirror image too
    if `mirror`. The parameters `ms_infer`, `eval_flip` and `eval_window` select it.

    window: (height, width) of the overlapping windows that are cut from each of these images, and averaged before
    everything else; None: whole images.
    """

    multiscale: bool = False
    mirror: bool = False
    window: Sequence[int] | None = None

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
        return self._replace(multiscale=False)

    def __str__(self) -> str:
        """What label maps follow from: the name, and the windows."""
        if not self.window:
            return self.name
        height, width = self.window
        return f"{self.name}, windows of {width}x{height}"


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
        if self.scale != 1:
            # Not by `resize`: a graph for any size cannot call it twice.
            x = ops.ResizeBilinearV2(align_corners=True)(x, (scaled(height, self.scale), scaled(width, self.scale)))
        return resize(ops.softmax(self.network(x), axis=1), (height, width))


def scaled(side: int, scale: float) -> int:
    """`round(side * scale)`, in whole numbers, because a graph for any size cannot round. scale: in quarters."""
    quarters = side * int(4 * scale)
    return (quarters + 1 + quarters // 4 % 2) // 4


class Windows:
    """A pass over windows of the scaled image. Takes and returns what `Pass` says. run: of one window."""

    def __init__(self, run: Pass, window: Sequence[int], scale: float = 1.0) -> None:
        self.run, self.window, self.scale = run, window, scale

    def __call__(self, image: Tensor) -> Tensor:
        _, height, width, _ = image.shape
        x = image.astype(mstype.float32).transpose(0, 3, 1, 2)
        x = resize(x, (scaled(height, self.scale), scaled(width, self.scale)))
        pixels = x.round().astype(mstype.uint8).transpose(0, 2, 3, 1).asnumpy()
        average = windowed(lambda window: self.run(Tensor(window)).asnumpy(), pixels, self.window)
        return resize(Tensor(average), (height, width))


def windowed(run: Run, images: np.ndarray, window: Sequence[int]) -> np.ndarray:
    """`strips`, put together: (N, H, W, 3) uint8 → (N, classes, H, W) float32."""
    return np.concatenate([strip.copy() for strip in strips(run, images, window)], axis=2)


def strips(run: Run, images: np.ndarray, window: Sequence[int], *, mirror: bool = False) -> Iterator[np.ndarray]:
    """Average probabilities over windows, from the top: as soon as no other window adds to them, rows are complete.

    run: of one window. images: (N, H, W, 3) uint8; smaller ones than a window are padded as in training: black, at the
    bottom and on the right. mirror: the mirror image's are added.
    Yields (N, classes, rows, W) float32, which the next strip overwrites: there is memory for one row of windows.
    """
    total: np.ndarray | None = None
    _, height, width, _ = images.shape
    tops, in_rows = _cut(height, window[0])
    lefts, in_columns = _cut(width, window[1])
    for top, next_top in itertools.pairwise([*tops, height]):
        for is_mirrored, left in itertools.product((False, True)[: 1 + mirror], lefts):
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            image = images[:, rows, ::-1] if is_mirrored else images[:, rows]
            part = image[:, :, columns]
            _, part_height, part_width, _ = part.shape
            missing = [(0, 0), (0, window[0] - part_height), (0, window[1] - part_width), (0, 0)]
            found = run(np.pad(part, missing))[:, :, :part_height, :part_width]
            if total is None:
                total = np.zeros((*found.shape[:3], width), np.float32)
            target = total[..., ::-1] if is_mirrored else total
            target[..., columns] += found / (in_rows[rows, None] * in_columns[columns])
        assert total is not None
        complete = next_top - top
        yield total[:, :, :complete]
        total[:, :, :-complete] = total[:, :, complete:]
        total[:, :, -complete:] = 0


def _cut(side: int, window: int) -> tuple[list[int], np.ndarray]:
    """Where the fewest windows begin that cover a side, evenly spread, and overlap by a third of a window.

    Also (side,) float32: how many of them hold each place.
    """
    spare = max(0, side - window)
    steps = math.ceil(spare / (window - window // 3))
    starts = [spare * place // max(1, steps) for place in range(steps + 1)]
    held = np.zeros(side, np.float32)
    for start in starts:
        held[start : start + window] += 1
    return starts, held


def passes(network: nn.Cell, dataset: DatasetDescriptor, chosen: Mode, *, sizes: int = 1) -> dict[float, Pass]:
    """A pass for each scale of a mode, in evaluation mode.

    sizes: of the images. Each pass is compiled for every size that it meets, or for any if there are more than a few.
    Windows have one size at all scales.
    """
    if chosen.window:
        run = Probabilities(network, dataset).set_train(False)
        return {scale: Windows(run, chosen.window, scale) for scale in chosen.scales}
    cells = {scale: Probabilities(network, dataset, scale).set_train(False) for scale in chosen.scales}
    if sizes > FEW_SIZES:
        for cell in cells.values():
            cell.set_inputs(Tensor(shape=(None, None, None, 3), dtype=mstype.uint8))
    return cells


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
