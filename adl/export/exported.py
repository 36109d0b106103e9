"""A loaded file, and the sidecar that says how to feed it."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from adl import device
from adl.architecture.genotype import Size
from adl.console import text
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.evaluation import inference
from adl.evaluation.inference import Mode
from adl.export import runtimes
from adl.files import check_sidecar, read_json
from adl.parallel.world import World
from adl.workspace import sidecar


@dataclasses.dataclass(frozen=True)
class Exported:
    """A loaded file: raw image in, label maps or probabilities out.

    size: of the only images that it takes; None: any. labels: it returns labels. dataset: what it was trained on.
    """

    run: runtimes.Run
    dataset: DatasetDescriptor
    size: Size | None
    labels: bool
    name: str

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        backend: str | None = None,
        device_target: str = "CPU",
        device_id: int = 0,
    ) -> Exported:
        """A file with its sidecar. backend, device_target, device_id: as `runtimes.load`.

        Raises AdlError if either is missing or damaged, or if they do not belong together.
        """
        about = description_of(path)
        height, width = about["input"]["height"], about["input"]["width"]
        if (backend or runtimes.able_to_run(path)[0]) == "mindspore":
            device.start(device_target, world=World(device=device_id))
        run = runtimes.load(path, backend=backend, device_target=device_target, device_id=device_id)
        check_sidecar(path)
        return cls(
            run,
            descriptor.of_sidecar(about, sidecar(path)),
            (height, width) if height else None,
            labels=about["output"]["dtype"] == "uint8",
            name=str(path),
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(1, H, W, 3) uint8 → (1, classes, H, W) float32, or (1, H, W) uint8. Raises AdlError for other images."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[::3] != (1, 3):
            raise AdlError(f"{self.name}: takes (1, height, width, 3) uint8, not {images.shape} {images.dtype}.")
        given = images.shape[1:3]
        if self.size and given != self.size:
            raise AdlError(
                f"{self.name}: takes images of {text.size(*self.size)} pixels, not {text.size(*given)} "
                "(width × height). Export it for images of this size with export_height and export_width."
            )
        return self.run(images)

    def check_mode(self, mode: Mode) -> None:
        """Raises AdlError if the file cannot average as the mode says."""
        if mode.window and self.labels:
            raise AdlError(
                f"{self.name}: returns labels, which cannot be averaged over windows (eval_window, --window). Use the "
                "checkpoint, a file that returns probabilities, or whole images."
            )
        if mode.window and self.size not in (None, tuple(mode.window)):
            raise AdlError(
                f"{self.name}: takes images of {text.size(*self.size)} pixels (width × height), so that windows "
                f"(eval_window, --window) must be {list(self.size)}, not {list(mode.window)}."
            )
        if mode.multiscale:
            raise AdlError(f"{self.name}: an exported file has a single scale; for several scales use the checkpoint.")
        if self.labels and not mode.mirror:
            raise AdlError(
                f"{self.name}: always averages over the image and its mirror image. To do without, use the checkpoint "
                "or a file that returns probabilities."
            )

    def label_maps(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        """Name of the mode, and of every other that its passes allow → (1, H, W) uint8 train ids."""
        if self.labels:
            return {mode.name: self(images)}
        sums = self.probabilities(images, mode)
        return {name: total.argmax(axis=1).astype(np.uint8) for name, total in sums.items()}

    def probabilities(self, images: np.ndarray, mode: Mode) -> dict[str, np.ndarray]:
        """As `label_maps`: (1, classes, H, W) float32, summed over passes; not for a file that returns labels."""
        run = functools.partial(inference.windowed, self, window=mode.window) if mode.window else self
        return inference.probabilities({1.0: run}, images, mode, to_device=np.asarray, flip=np.flip)


def description_of(path: Path) -> dict[str, Any]:
    """What the sidecar of an exported file says. Raises AdlError if either is missing, or if it says too little."""
    if not path.is_file():
        raise AdlError(f"{path}: no such exported file. `dvc repro export` writes it.")
    description = sidecar(path)
    try:
        about = read_json(description)
        for section, key in (("input", "height"), ("input", "width"), ("output", "dtype")):
            about[section][key]
        about["digest"]  # `check_sidecar` compares it
    except OSError as error:
        raise AdlError(
            f"{description}: cannot be read ({error.strerror}). Keep it beside the file, or export the file again: "
            "`dvc repro export`."
        ) from None
    except (KeyError, TypeError, ValueError):
        raise AdlError(
            f"{description}: does not state the digest, the size of the input and the output. Export the file "
            "again: `dvc repro export`."
        ) from None
    return about
