"""Label maps of any image, of any size, from a checkpoint or an exported file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from mindspore import Tensor

from adl.config.params import SMALLEST_SIDE, Params
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.evaluation import inference
from adl.evaluation.inference import Mode, Pass
from adl.export.exported import Exported
from adl.network import checkpoint


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A network with the methods of a loaded file. size: it takes images of any. labels: it gives probabilities."""

    passes: Mapping[float, Pass]
    dataset: DatasetDescriptor
    size = None
    labels = False

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.passes[1.0](Tensor(images)).asnumpy()

    def label_maps(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        return inference.label_maps(self.passes, images, mode)

    def probabilities(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        sums = inference.probabilities(self.passes, images, mode)
        return {mode.name: sums[mode.name].asnumpy()}


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Image in, train ids out. longest_side: in pixels; larger images are scaled down to it."""

    model: Checkpoint | Exported
    mode: Mode
    longest_side: float = math.inf

    @property
    def dataset(self) -> DatasetDescriptor:
        """What the model was trained on."""
        return self.model.dataset

    @classmethod
    def load(
        cls,
        model: Path,
        *,
        device_target: str,
        flip: bool,
        multiscale: bool = False,
        window: Sequence[int] | None = None,
        longest_side: float = math.inf,
        params: Params | None = None,
        one_size: bool = False,
        backend: str | None = None,
    ) -> Predictor:
        """A `.ckpt` with its sidecar (or, without one, the architecture of params), or an exported file with its own.

        window: of `Mode`. one_size: all images will have the same size, so that it is worth while to compile the
        network for it; windows have.
        backend: a name of `runtimes.BACKENDS`, for an exported file; None: its default.
        Raises AdlError if the file is missing, or is not such a model.
        """
        mode = Mode(multiscale=multiscale, mirror=flip, window=window)
        if not model.is_file():
            raise AdlError(
                f"{model}: no such model. Train one (`dvc repro`), or name a .ckpt, .mindir or .onnx with --model."
            )
        if model.suffix in (".mindir", ".onnx"):
            file = Exported.load(model, backend=backend, device_target=device_target)
            file.check_mode(mode)
            return cls(file, mode, longest_side)
        if model.suffix != ".ckpt":
            raise AdlError(f"{model}: not a model; name a .ckpt, .mindir or .onnx with --model.")
        if backend:
            raise AdlError(f"--backend {backend}: {model} is a checkpoint, which MindSpore runs.")
        architecture, dataset = checkpoint.origin(model, params)
        graph = one_size or window is not None
        network = checkpoint.restore(model, architecture, device_target=device_target, graph=graph)
        return cls(Checkpoint(inference.passes(network, dataset, mode), dataset), mode, longest_side)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """image: (H, W, 3) uint8 BGR. Returns (H, W) uint8 train ids.

        An image with a side above longest_side, one too small, or of another size than the model takes is scaled, and
        its probabilities (or labels, from a file that gives no others) are scaled back; its aspect ratio is kept.
        Windows are cut from an image of any size.
        """
        model, mode = self.model, self.mode
        size = image.shape[:2]
        if mode.window and not mode.multiscale and max(size) <= self.longest_side:
            # Of a large image, no more than the labels fit into memory.
            strips = inference.strips(model, image[None], mode.window, mirror=mode.mirror)
            return np.concatenate([_enlarged_argmax(strip[0], strip.shape[2:]) for strip in strips])
        canvas, (height, width) = self._fitted(image)
        if canvas.shape[:2] != size and not model.labels:
            [probabilities] = model.probabilities(canvas[None], mode)[mode.name]
            return _enlarged_argmax(probabilities[:, :height, :width], size)
        [labels] = model.label_maps(canvas[None], mode)[mode.name]
        return cv2.resize(labels[:height, :width], size[::-1], interpolation=cv2.INTER_NEAREST)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """image: as above. Returns (classes, H, W) float32, which add up to 1 in each pixel.

        Raises AdlError for a file that returns labels.
        """
        if self.model.labels:
            raise AdlError("returns labels only", "Use the checkpoint, or a file without `-labels`.", where="the model")
        canvas, (height, width) = self._fitted(image)
        [planes] = self.model.probabilities(canvas[None], self.mode)[self.mode.name]
        size = image.shape[1::-1]
        enlarged = [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in planes[:, :height, :width]]
        return np.stack(enlarged) / np.sum(enlarged, axis=0)

    def _fitted(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """An image as the model takes it; and (height, width) of the part that is not padding."""
        takes = None if self.mode.window else self.model.size
        if takes:
            least, scale = 1, min(np.divide(takes, image.shape[:2]))
        else:
            least, scale = SMALLEST_SIDE, min(1, self.longest_side / max(image.shape[:2]))
        height, width = (max(least, round(scale * side)) for side in image.shape[:2])
        canvas = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if takes:
            # Padded as in training: black, at the bottom and on the right.
            below, right = np.subtract(takes, (height, width))
            canvas = cv2.copyMakeBorder(canvas, 0, below, 0, right, cv2.BORDER_CONSTANT)
        return canvas, (height, width)


def _enlarged_argmax(probabilities: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(classes, h, w) → (H, W) uint8 train ids. One class at a time: all of a large photograph's would not fit."""
    best = np.full(size, -1, np.float32)
    labels = np.zeros(size, np.uint8)
    for train_id, plane in enumerate(probabilities):
        enlarged = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
        labels[enlarged > best] = train_id
        np.maximum(best, enlarged, out=best)
    return labels
