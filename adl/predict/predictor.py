"""Label maps of any image, of any size, from a checkpoint or an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from adl.config.params import SMALLEST_SIDE, Params
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.evaluation import inference
from adl.evaluation.inference import Mode, Pass
from adl.export.exported import Exported, Size
from adl.network import checkpoint

SUFFIXES = (".ckpt", ".mindir", ".onnx")


class Checkpoint:
    """A network with the methods of a loaded file. size: it takes images of any. labels: it gives probabilities."""

    size = None
    labels = False

    def __init__(self, passes: Mapping[float, Pass]) -> None:
        self.passes = passes

    def label_maps(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        return inference.label_maps(self.passes, images, mode)

    def probabilities(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        sums = inference.probabilities(self.passes, images, mode)
        return {mode.name: sums[mode.name].asnumpy()}


class Predictor:
    """Image in, train ids out."""

    def __init__(self, model: Checkpoint | Exported, mode: Mode) -> None:
        self.model, self.mode = model, mode

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
        backend: str | None = None,
    ) -> Predictor:
        """A `.ckpt` with its sidecar (or, without one, the architecture of params), or an exported file with its own.

        one_size: all images will have the same size, so that it is worth while to compile the network for it.
        backend: a name of `runtimes.BACKENDS`, for an exported file; None: its default.
        Raises AdlError if the file is missing, or is not such a model.
        """
        mode = inference.mode(multiscale=multiscale, flip=flip)
        if not model.is_file():
            raise AdlError(
                f"{model}: no such model. Train one (`dvc repro`), or name a .ckpt, .mindir or .onnx with --model."
            )
        if model.suffix not in SUFFIXES:
            raise AdlError(f"{model}: not a model; name a .ckpt, .mindir or .onnx with --model.")
        if model.suffix == ".ckpt":
            if backend:
                raise AdlError(
                    f"--backend {backend}: {model} is a checkpoint, which MindSpore runs."
                )
            architecture = checkpoint.architecture_of(model, params, dataset)
            network = checkpoint.restore(
                model, architecture, device_target=device_target, graph=one_size
            )
            return cls(Checkpoint(inference.passes(network, dataset, mode)), mode)
        file = Exported.load(model, dataset, backend=backend, device_target=device_target)
        file.check_mode(mode)
        return cls(file, mode)

    def __call__(self, image: np.ndarray, *, longest_side: int | None = None) -> np.ndarray:
        """image: (H, W, 3) uint8 BGR. Returns (H, W) uint8 train ids.

        An image with a side above longest_side, one too small, or of another size than the model takes is scaled, and
        its probabilities (or labels, from a file that gives no others) are scaled back; its aspect ratio is kept.
        """
        takes, mode = self.model.size, self.mode
        size = image.shape[0], image.shape[1]
        inner = _fitting(size, takes, longest_side)
        canvas = cv2.resize(image, inner[::-1], interpolation=cv2.INTER_AREA)
        if takes:
            # Padded as in training: black, at the bottom and on the right.
            below, right = takes[0] - inner[0], takes[1] - inner[1]
            canvas = cv2.copyMakeBorder(canvas, 0, below, 0, right, cv2.BORDER_CONSTANT)
        is_resized = canvas.shape[:2] != size
        if is_resized and not self.model.labels:
            probabilities = self.model.probabilities(canvas[None], mode)[mode.name][0]
            return _enlarged_argmax(probabilities[:, : inner[0], : inner[1]], size)
        labels = self.model.label_maps(canvas[None], mode)[mode.name][0]
        if not is_resized:
            return labels
        inside = labels[: inner[0], : inner[1]]
        return cv2.resize(inside, size[::-1], interpolation=cv2.INTER_NEAREST)


def _fitting(size: Size, takes: Size | None, longest_side: int | None) -> Size:
    """What an image is scaled to. takes: the only input of the model; None: any."""
    least, scale = SMALLEST_SIDE, 1.0
    if takes:
        least, scale = 1, min(takes[0] / size[0], takes[1] / size[1])
    elif longest_side:
        scale = min(1.0, longest_side / max(size))
    return max(least, round(scale * size[0])), max(least, round(scale * size[1]))


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
