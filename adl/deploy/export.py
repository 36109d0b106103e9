"""The deployable files: raw image in; each is loaded, compared with the checkpoint, and kept only if it holds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl import runtime
from adl.artifacts import full_disk_reported, remove, scratch_folder
from adl.console.progress import track
from adl.dataset import records
from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.deploy import backends, onnx_graph
from adl.deploy.exported import Exported, Size
from adl.deploy.formats import Format
from adl.deploy.onnx_labels import with_labels
from adl.deploy.proofs import Equality, Loss, Proof
from adl.deploy.quantise import quantise
from adl.errors import AdlError
from adl.inference import Mode, Probabilities, label_maps
from adl.network import AutoDeepLab, checkpoint
from adl.scoring import Confusion

PROOF_IMAGES = 3
CALIBRATION_IMAGES = 100
"""Training images from which 8-bit ranges come. metrics/export.json shows what mIOU is lost."""
CALIBRATION_SIDE = 769
"""Pixels; of a larger image the middle is taken, as large as the published crop: it bounds time and memory."""
SCORED_IMAGES = 60
"""Val images by which the mIOU that 8 bits lose is judged."""


class Labels(nn.Cell):
    """Both images in one batch, their average, and the class that it favours: (1, H, W, 3) uint8 → (1, H, W) uint8."""

    def __init__(self, probabilities: Probabilities) -> None:
        super().__init__()
        self.probabilities = probabilities

    def construct(self, image: Tensor) -> Tensor:
        p = self.probabilities(ops.cat((image, ops.flip(image, (2,)))))
        return (p[:1] + ops.flip(p[1:], (3,))).argmax(axis=1).astype(mstype.uint8)


class Exporter:
    """Writes a network's files.

    size: of the images that a file takes whose format takes only one. record: whose first images prove that a file
    holds; images of another size are resized for that. training_record: whose first images calibrate 8 bits.
    """

    def __init__(
        self,
        network: AutoDeepLab,
        dataset: DatasetDescriptor,
        *,
        size: Size,
        record: Path,
        training_record: Path,
    ) -> None:
        self.network, self.dataset, self.size = network, dataset, size
        self.record, self.training_record = record, training_record
        # Compiled once, for all proofs.
        self.model = Probabilities(network.set_train(False), dataset).set_train(False)

    def write(self, path: Path, kind: Format) -> Proof | None:
        """Write one file and prove it; None for a format that cannot be run here.

        Raises AdlError if the file should equal the checkpoint and does not, or if either gives what is no number. A
        file in 8 bits that loses too much is not kept, and the proof says so.
        """
        print(f"exporting {path.name}", flush=True)
        # In a folder of its own, because MindSpore leaves another file behind when the disk is full.
        with scratch_folder(path) as folder, full_disk_reported(path):
            temporary = folder / path.name
            WRITERS[path.suffix](self, temporary, kind)
            proof = self._proof(temporary, kind) if kind.verified else None
            if proof is None or proof.holds:
                temporary.replace(path)
                return proof
        remove(path)
        if isinstance(proof, Equality):
            raise AdlError(f"{path.name}: {proof.fault}. No file was kept.")
        print(f"{path.name}: not kept: {proof.fault}", flush=True)
        return proof

    def _proof(self, path: Path, kind: Format) -> Proof:
        size = None if kind.any_size else self.size
        file = Exported(backends.load(path), size, labels=kind.labels, name=str(path))
        if kind.quantised:
            return self.score(file)
        return self.compare(file)

    def compare(self, file: Exported) -> Equality:
        """Run the file and the network on the same images."""
        height, width = self.size
        rows = itertools.islice(records.read(self.record), PROOF_IMAGES)
        images = [cv2.resize(row.image, (width, height)) for row in rows]
        proof = compare(file, self.model, images)
        if not proof.holds:
            proof = dataclasses.replace(proof, largest_logit=self._largest_logit(images))
        return proof

    def score(self, file: Exported) -> Loss:
        """mIOU of the file and of the network on the same labelled images."""
        passes, mode = {1.0: self.model}, Mode(mirror=file.labels)
        ours, theirs = Confusion(self.dataset), Confusion(self.dataset)
        rows = list(itertools.islice(records.read(self.record), SCORED_IMAGES))
        for row in track(rows, len(rows), "scoring 8 bits and the checkpoint"):
            batch = row.image[None]
            ours.add(row.label, file.label_maps(batch, mode)[mode.name][0])
            theirs.add(row.label, label_maps(passes, batch, mode)[mode.name][0])
        return Loss(len(rows), ours.mean_iou(), theirs.mean_iou())

    def _largest_logit(self, images: list[np.ndarray]) -> float:
        normalise = Normalise(mean=self.dataset.mean, std=self.dataset.std)
        largest = 0.0
        for image in images:
            x = normalise(image[None]).transpose(0, 3, 1, 2).astype(np.float32)
            logits = self.network.set_train(False)(Tensor(x)).asnumpy()
            largest = float(np.maximum(largest, np.abs(logits).max()))
        return largest

    @functools.cached_property
    def onnx_model(self) -> onnx.ModelProto:
        parameters = checkpoint.native(self.network)
        weights = {name: parameter.asnumpy() for name, parameter in parameters.items()}
        return onnx_graph.build(self.network.architecture, weights, self.dataset)

    @functools.cached_property
    def onnx_model_in_8_bits(self) -> onnx.ModelProto:
        rows = list(itertools.islice(records.read(self.training_record), CALIBRATION_IMAGES))
        images = (_middle(row.image) for row in rows)
        return quantise(self.onnx_model, track(images, len(rows), "calibrating 8 bits"))


def compare(file: Exported, model: Probabilities, images: list[np.ndarray]) -> Equality:
    """Run a file and the network of the same checkpoint on the same images, (H, W, 3) uint8 BGR."""
    difference, equal, pixels = 0.0, 0, 0
    for image in images:
        batch = image[None]
        if file.labels:
            mode = Mode(mirror=True)
            ours = file(batch)
            theirs = label_maps({1.0: model}, batch, mode)[mode.name]
        else:
            probabilities, expected = file(batch), model(Tensor(batch)).asnumpy()
            # `max` would lose a NaN, which `np.maximum` keeps.
            with np.errstate(invalid="ignore"):
                largest = np.abs(probabilities - expected).max()
            difference = float(np.maximum(difference, largest))
            ours, theirs = probabilities.argmax(axis=1), expected.argmax(axis=1)
        equal += int((ours == theirs).sum())
        pixels += image.shape[0] * image.shape[1]
    return Equality(len(images), None if file.labels else difference, equal / pixels)


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - CALIBRATION_SIDE) // 2 for side in image.shape[:2])
    return image[top : top + CALIBRATION_SIDE, left : left + CALIBRATION_SIDE]


def _write_mindspore(exporter: Exporter, path: Path, kind: Format) -> None:
    cell = Labels(exporter.model) if kind.labels else exporter.model
    blank = Tensor(np.zeros((1, *exporter.size, 3), np.uint8))
    file_format = path.suffix.removeprefix(".").upper()
    ms.export(cell.set_train(False), blank, file_name=str(path), file_format=file_format)


def _write_air(exporter: Exporter, path: Path, kind: Format) -> None:
    if not runtime.on_ascend():
        raise AdlError(
            f"{path.name}: MindSpore writes AIR only on Ascend (device_target). Leave air out of export_formats."
        )
    _write_mindspore(exporter, path, kind)


def _write_onnx(exporter: Exporter, path: Path, kind: Format) -> None:
    if runtime.on_ascend():
        raise AdlError(
            f"{path.name}: an ONNX file cannot be proved on Ascend, which rounds more coarsely. Export with "
            "device_target CPU."
        )
    model = exporter.onnx_model_in_8_bits if kind.quantised else exporter.onnx_model
    onnx.save(with_labels(model) if kind.labels else model, path)


WRITERS: dict[str, Callable[[Exporter, Path, Format], None]] = {
    ".mindir": _write_mindspore,
    ".onnx": _write_onnx,
    ".air": _write_air,
}
"""Suffix of an exported file → what writes it."""
