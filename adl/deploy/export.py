"""The deployable files, MINDIR and ONNX: raw image in; kept only if they equal the checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor

from adl.artifacts import full_disk_reported, percent, replacing
from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.deploy import exported, onnx_graph
from adl.errors import AdlError
from adl.inference import Pass, Probabilities
from adl.network import AutoDeepLab

PROOF_IMAGES = 3
LARGEST_DIFFERENCE = 1e-4
LEAST_AGREEMENT = 0.9999


@dataclasses.dataclass(frozen=True)
class Proof:
    """How far the file is from the checkpoint: largest difference of a probability, share of equal labels."""

    images: int
    difference: float
    agreement: float

    @property
    def holds(self) -> bool:
        # NaN is neither above nor below anything.
        return self.difference <= LARGEST_DIFFERENCE and self.agreement >= LEAST_AGREEMENT

    def metrics(self) -> dict[str, float | int | None]:
        # The difference is the rounding of the last bits, which no two machines share: one digit says enough.
        return {
            "images": self.images,
            "largest_difference": float(f"{self.difference:.0e}"),
            "agreement": percent(self.agreement),
        }


def write(
    network: AutoDeepLab,
    path: Path,
    dataset: DatasetDescriptor,
    *,
    height: int,
    width: int,
    record: Path,
) -> Proof:
    """Export a network, load the file, and compare both on images of a record; the file is kept only if they agree.

    path: its suffix selects the format, one of WRITERS. A MINDIR takes (1, height, width, 3) uint8 BGR and returns
    probabilities (1, classes, height, width) float32; an ONNX file does the same at any size. Images of another size
    are resized for the comparison. Raises AdlError if the file differs, or if either gives
    what is no number.
    """
    model = Probabilities(network.set_train(False), dataset).set_train(False)
    rows = itertools.islice(records.read(record), PROOF_IMAGES)
    images = [cv2.resize(row.image, (width, height)) for row in rows]
    print(f"exporting to {path} and comparing {len(images)} images with the checkpoint", flush=True)
    with replacing(path) as temporary, full_disk_reported(path):
        WRITERS[path.suffix](model, temporary, dataset, (height, width))
        proof = compare(exported.load(temporary), model, images)
        if not proof.holds:
            raise AdlError(
                f"the exported file does not reproduce the checkpoint's results on {proof.images} images: largest "
                f"difference of a probability {proof.difference:.2g} (at most {LARGEST_DIFFERENCE:g}), equal labels "
                f"{100 * proof.agreement:.4f} % (at least {100 * LEAST_AGREEMENT:g} %). No file was kept."
            )
    return proof


def _write_mindir(
    model: Probabilities, path: Path, _: DatasetDescriptor, size: tuple[int, int]
) -> None:
    blank = Tensor(np.zeros((1, *size, 3), np.uint8))
    ms.export(model, blank, file_name=str(path), file_format="MINDIR")


def _write_onnx(
    model: Probabilities, path: Path, dataset: DatasetDescriptor, _: tuple[int, int]
) -> None:
    network = model.network
    weights = {
        weight.name.removeprefix("network."): weight.asnumpy()
        for weight in network.get_parameters()
    }
    onnx.save(onnx_graph.build(network.architecture, weights, dataset), path)


WRITERS: dict[str, Callable[[Probabilities, Path, DatasetDescriptor, tuple[int, int]], None]] = {
    ".mindir": _write_mindir,
    ".onnx": _write_onnx,
}
"""Suffix of an exported file → what writes it."""


def compare(file: Pass, reference: Pass, images: list[np.ndarray]) -> Proof:
    """Run both on the same images, (H, W, 3) uint8 BGR."""
    difference, equal, pixels = 0.0, 0, 0
    for image in images:
        batch = Tensor(image[None])
        ours, theirs = reference(batch).asnumpy(), file(batch).asnumpy()
        difference = float(np.maximum(difference, np.abs(ours - theirs).max()))
        equal += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        pixels += image.shape[0] * image.shape[1]
    return Proof(len(images), difference, equal / pixels)
