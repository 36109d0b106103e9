"""Label maps of any image, of any size, from a checkpoint or an exported file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from adl import inference, runtime
from adl.architecture import Architecture
from adl.dataset.descriptor import DatasetDescriptor
from adl.deploy import exported
from adl.errors import AdlError
from adl.inference import Mode, Pass
from adl.network import checkpoint
from adl.params import SMALLEST_SIDE, Params
from adl.workspace import sidecar

Size = tuple[int, int]
"""(height, width) in pixels."""


class Predictor:
    """A model at work: image in, train ids out.

    size: the only input that the model takes; None: any.
    """

    def __init__(self, passes: dict[float, Pass], size: Size | None, mode: Mode) -> None:
        self.passes, self.size, self.mode = passes, size, mode

    @classmethod
    def load(
        cls,
        model: Path,
        dataset: DatasetDescriptor,
        *,
        device_target: str,
        flip: bool,
        multiscale: bool = False,
        params: Params | None = None,
        one_size: bool = False,
    ) -> Predictor:
        """A `.ckpt` with its sidecar (or, without one, the architecture of params), or an exported file with its own.

        one_size: all images will have the same size, so that it is worth while to compile the network for it.
        Raises AdlError if the file is missing, or is not such a model.
        """
        mode = inference.mode(multiscale=multiscale, flip=flip)
        if not model.is_file():
            raise AdlError(
                f"{model}: no such model. Train one (`dvc repro`), or name a .ckpt, .mindir or .onnx with --model."
            )
        if model.suffix not in (".ckpt", *exported.LOADERS):
            raise AdlError(f"{model}: not a model; name a .ckpt, .mindir or .onnx with --model.")
        if model.suffix == ".ckpt":
            architecture = checkpoint.architecture_of(model, params, dataset)
            network = checkpoint.restore(
                model, architecture, device_target=device_target, graph=one_size
            )
            return cls(inference.passes(network, dataset, mode), None, mode)
        if multiscale:
            raise AdlError(
                f"{model}: an exported file has a single scale; for several scales use the checkpoint."
            )
        Architecture.from_sidecar(sidecar(model))
        size = exported.input_size(model)
        runtime.start(device_target)
        return cls({1.0: exported.load(model)}, size, mode)

    def __call__(self, image: np.ndarray, *, longest_side: int | None = None) -> np.ndarray:
        """image: (H, W, 3) uint8 BGR. Returns (H, W) uint8 train ids.

        An image with a side above longest_side, one too small, or of another size than the model takes is scaled, and
        its probabilities are scaled back; its aspect ratio is kept.
        """
        size = image.shape[0], image.shape[1]
        inner = _fitting(size, self.size, longest_side)
        canvas = (
            image if inner == size else cv2.resize(image, inner[::-1], interpolation=cv2.INTER_AREA)
        )
        if self.size and self.size != inner:
            # Padded as in training: black, at the bottom and on the right.
            below, right = self.size[0] - inner[0], self.size[1] - inner[1]
            canvas = cv2.copyMakeBorder(canvas, 0, below, 0, right, cv2.BORDER_CONSTANT)
        if canvas.shape[:2] == size:
            return inference.label_maps(self.passes, canvas[None], self.mode)[self.mode.name][0]
        summed = inference.probabilities(self.passes, canvas[None], self.mode)[self.mode.name]
        return _enlarged_argmax(summed[0].asnumpy()[:, : inner[0], : inner[1]], size)


def _fitting(size: Size, takes: Size | None, longest_side: int | None) -> Size:
    """What an image is scaled to. takes: the only input of the model; None: any."""
    if takes:
        scale = min(takes[0] / size[0], takes[1] / size[1])
        return min(takes[0], max(1, round(scale * size[0]))), min(
            takes[1], max(1, round(scale * size[1]))
        )
    scale = min(1.0, longest_side / max(size)) if longest_side else 1.0
    return max(SMALLEST_SIDE, round(scale * size[0])), max(SMALLEST_SIDE, round(scale * size[1]))


def _enlarged_argmax(probabilities: np.ndarray, size: Size) -> np.ndarray:
    """(classes, h, w) → (H, W) uint8 train ids. One class at a time: all of a large photograph's would not fit."""
    best = np.full(size, -1, np.float32)
    labels = np.zeros(size, np.uint8)
    for train_id, plane in enumerate(probabilities):
        enlarged = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
        better = enlarged > best
        best[better] = enlarged[better]
        labels[better] = train_id
    return labels
