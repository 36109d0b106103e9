"""A loaded file, and the sidecar that says how to feed it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adl import device
from adl.architecture import Architecture
from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.evaluation import inference
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.export.formats import Format
from adl.files import check_sidecar, digest, read_json, write_json
from adl.parallel.world import World
from adl.workspace import sidecar

Size = tuple[int, int]
"""(height, width) in pixels."""

PROBABILITIES = {
    "layout": "NCHW",
    "dtype": "float32",
    "meaning": "probability of each train id",
}
LABELS = {
    "layout": "NHW",
    "dtype": "uint8",
    "meaning": "train id of each pixel, averaged over the image and its mirror image",
}
"""What a file returns, as its sidecar says it."""

_AGAIN = "Export it again: `dvc repro export`."


@dataclasses.dataclass(frozen=True)
class Exported:
    """A loaded file: raw image in, label maps or probabilities out.

    size: of the only images that it takes; None: any. labels: it returns labels.
    """

    run: runtimes.Run
    size: Size | None
    labels: bool
    name: str

    @classmethod
    def load(
        cls,
        path: Path,
        dataset: DatasetDescriptor,
        *,
        backend: str | None = None,
        device_target: str = "CPU",
        device_id: int = 0,
    ) -> Exported:
        """A file with its sidecar. backend, device_target, device_id: as `runtimes.load`.

        Raises AdlError if either is missing or damaged, if they do not belong together, or if the classes are not
        those of the data set.
        """
        if not path.is_file():
            raise AdlError(f"{path}: no such exported file. `dvc repro export` writes it.")
        size, labels = _described(path)
        classes = Architecture.from_sidecar(sidecar(path)).num_classes
        dataset.check_classes(classes, f"{path}: number of classes")
        if (backend or runtimes.default(path)) == "mindspore":
            device.start(device_target, world=World(device=device_id))
        run = runtimes.load(path, backend=backend, device_target=device_target, device_id=device_id)
        check_sidecar(path)
        return cls(run, size, labels=labels, name=str(path))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(1, H, W, 3) uint8 → (1, classes, H, W) float32, or (1, H, W) uint8. Raises AdlError for other images."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[::3] != (1, 3):
            raise AdlError(
                f"{self.name}: takes (1, height, width, 3) uint8, not {images.shape} {images.dtype}."
            )
        given = images.shape[1:3]
        if self.size and given != self.size:
            raise AdlError(
                f"{self.name}: takes images of {text.size(*self.size)} pixels, not {text.size(*given)} "
                "(width × height). Export it for images of this size with export_height and export_width."
            )
        return self.run(images)

    def check_mode(self, mode: Mode) -> None:
        """Raises AdlError if the file cannot average as the mode says."""
        if len(mode.scales) > 1:
            raise AdlError(
                f"{self.name}: an exported file has a single scale; for several scales use the checkpoint."
            )
        if self.labels and not mode.mirror:
            raise AdlError(
                f"{self.name}: averages over the image and its mirror image by itself; it cannot do without."
            )

    def label_maps(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        """Name of the mode, and of every other that its passes allow → (1, H, W) uint8 train ids."""
        if self.labels:
            return {mode.name: self(images)}
        sums = self.probabilities(images, mode)
        return {name: total.argmax(axis=1).astype(np.uint8) for name, total in sums.items()}

    def probabilities(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        """As `label_maps`: (1, classes, H, W) float32, summed over passes; not for a file that returns labels."""
        return inference.summed({1.0: self}, images, mode, to_device=np.asarray, flip=np.flip)


def _described(path: Path) -> tuple[Size | None, bool]:
    """What a file's sidecar says of it: the size of the only images that it takes (None: any); does it return labels?

    Raises AdlError if the sidecar is missing, or lacks any of these or the digest.
    """
    description = sidecar(path)
    try:
        about = read_json(description)
        height, width = about["input"]["height"], about["input"]["width"]
        size = None if height is None else (height, width)
        about["digest"]  # `check_sidecar` compares it
        return size, about["output"]["dtype"] == "uint8"
    except OSError as error:
        raise AdlError(f"{description}: cannot be read ({error.strerror}). {_AGAIN}") from None
    except (KeyError, TypeError, ValueError):
        raise AdlError(
            f"{description}: lacks the digest, the size of the input or the output. {_AGAIN}"
        ) from None


def write_sidecar(
    path: Path,
    kind: Format,
    *,
    source: Path,
    architecture: Architecture,
    dataset: DatasetDescriptor,
    size: Size,
    instruction_sets: list[str] | None = None,
) -> None:
    """Say beside an exported file what it takes, what it returns, and from which checkpoint it comes.

    size: of the images that a file takes whose format takes only one size. instruction_sets: of a file in 8 bits, those
    with which it was proved.
    """
    height, width = (None, None) if kind.any_size else size
    described = read_json(sidecar(source)) if sidecar(source).exists() else {}
    content = {
        "format": 1,
        "architecture": architecture.to_json(),
        "checkpoint_digest": digest(source),
        "data": described.get("data", {}),
        "digest": digest(path),
        "verified": kind.verified,
        "input": {
            "layout": "NHWC",
            "dtype": "uint8",
            "channels": dataset.channels,
            "values": "0 to 255, as in the image; the file normalises them",
            "batch": 1,
            "height": height,
            "width": width,
        },
        "output": LABELS if kind.labels else PROBABILITIES,
        "classes": list(dataset.class_names),
        "palette": [one.colour for one in dataset.classes],
    }
    if instruction_sets is not None:
        content["proved_with"] = {"backend": "openvino", "instruction_sets": instruction_sets}
    write_json(sidecar(path), content)
