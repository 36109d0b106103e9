"""The formats of exported files, by the names that `export_formats` and the metrics use."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file that takes raw images (1, H, W, 3) uint8.

    suffix: of its name, behind the model's. any_size: False if it takes only the size that it was exported for.
    labels: it returns train ids (1, H, W) uint8, averaged over the image and its mirror image; otherwise probabilities
    (1, classes, H, W) float32. quantised: it computes in 8 bits, so that it cannot equal the checkpoint.
    verified: it is loaded after the export and compared with the checkpoint.
    """

    suffix: str
    any_size: bool = False
    labels: bool = False
    quantised: bool = False
    verified: bool = True

    def beside(self, model: Path) -> Path:
        """The file in this format, of a model whose file is named."""
        return model.with_name(f"{model.stem}{self.suffix}")


FORMATS = {
    "mindir": Format(".mindir"),
    "mindir-labels": Format(".labels.mindir", labels=True),
    "onnx": Format(".onnx", any_size=True),
    "onnx-labels": Format(".labels.onnx", any_size=True, labels=True),
    "onnx-int8": Format(".int8.onnx", any_size=True, quantised=True),
    "onnx-int8-labels": Format(".int8.labels.onnx", any_size=True, labels=True, quantised=True),
    "air": Format(".air", verified=False),
}
