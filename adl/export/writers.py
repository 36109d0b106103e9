"""The deployable files: raw image in; each is loaded, compared with the checkpoint, and kept only if it holds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl import device
from adl.console.progress import track
from adl.dataset import records
from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.label_maps import LabelMaps
from adl.dataset.records import Row
from adl.errors import AdlError
from adl.evaluation.inference import Mode, Probabilities, label_maps
from adl.export import accuracy, onnx_graph, runtimes
from adl.export.canonical import canonicalise
from adl.export.exported import Exported, Size
from adl.export.formats import Format
from adl.export.proofs import EightBits, Equality, Proof
from adl.export.quantise import quantise
from adl.files import full_disk_reported, remove, scratch_folder
from adl.network import AutoDeepLab, checkpoint

PROOF_IMAGES = 3
CALIBRATION_IMAGES = 100
"""Training images from which 8-bit ranges come. metrics/export.json shows what mIOU is lost."""
CALIBRATION_SIDE = 769
"""Pixels; of a larger image the middle is taken, as large as the published crop: it bounds time and memory."""


class Labels(nn.Cell):
    """Both images in one batch, their average, and the class that it favours: (1, H, W, 3) uint8 → (1, H, W) uint8."""

    def __init__(self, probabilities: Probabilities) -> None:
        super().__init__()
        self.probabilities = probabilities

    def construct(self, image: Tensor) -> Tensor:
        p = self.probabilities(ops.cat((image, ops.flip(image, (2,)))))
        return (p[:1] + ops.flip(p[1:], (3,))).argmax(axis=1).astype(mstype.uint8)


@dataclasses.dataclass
class Exporter:
    """Writes a network's files.

    size: of the images that a file takes whose format takes only one. record: some of its images prove that a file
    holds; those of another size are resized for that. training_record: some of its images calibrate 8 bits. mode: in
    which 8 bits are scored. evaluated: label maps that the network is known to give for the record.
    """

    network: AutoDeepLab
    dataset: DatasetDescriptor
    size: Size
    record: Path
    training_record: Path
    mode: Mode = Mode(mirror=True)  # noqa: RUF009 (it is frozen)
    evaluated: LabelMaps | None = None

    @functools.cached_property
    def model(self) -> Probabilities:
        """The network with its input and output, compiled once for all proofs."""
        return Probabilities(self.network.set_train(False), self.dataset).set_train(False)

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
            proof: Proof | None = None
            if kind.quantised:
                proof = self.score(temporary, kind)
            elif kind.verified:
                run = runtimes.load(temporary)
                size = None if kind.any_size else self.size
                proof = self.compare(Exported(run, size, labels=kind.labels, name=str(temporary)))
            if proof is None or proof.holds:
                temporary.replace(path)
                return proof
        remove(path)
        if isinstance(proof, Equality):
            raise AdlError(f"{path.name}: {proof.fault}. No file was kept.")
        print(f"{path.name}: not kept: {proof.fault}", flush=True)
        return proof

    def compare(self, file: Exported) -> Equality:
        """Run the file and the network on the same images."""
        height, width = self.size
        numbers = _spread(self.record, self.dataset, PROOF_IMAGES)
        rows = records.read(self.record, numbers=numbers)
        images = [cv2.resize(row.image, (width, height)) for row in rows]
        proof = compare(file, self.model, images)
        if proof.holds:
            return proof
        normalise = Normalise(mean=self.dataset.mean, std=self.dataset.std)
        inputs = (normalise(image[None]).transpose(0, 3, 1, 2) for image in images)
        logits = [self.network(Tensor(x)).asnumpy() for x in inputs]
        return dataclasses.replace(proof, largest_logit=float(np.abs(logits).max()))

    def score(self, path: Path, kind: Format) -> EightBits:
        """What the file loses in the mode in which it is used."""
        mode = Mode(mirror=True) if kind.labels else self.mode

        def expected(row: Row) -> np.ndarray:
            if self.evaluated and self.evaluated.mode == mode.name:
                known = self.evaluated.read(row.name)
                if known is not None:
                    return known
            return label_maps({1.0: self.model}, row.image[None], mode)[mode.name][0]

        return accuracy.score(
            path, self.record, self.dataset, mode, labels=kind.labels, expected=expected
        )

    @functools.cached_property
    def onnx_model(self) -> onnx.ModelProto:
        parameters = checkpoint.native(self.network).items()
        weights = {name: parameter.asnumpy() for name, parameter in parameters}
        return onnx_graph.build(self.network.architecture, weights, self.dataset)

    @functools.cached_property
    def onnx_model_in_8_bits(self) -> onnx.ModelProto:
        numbers = _spread(self.training_record, self.dataset, CALIBRATION_IMAGES)
        rows = records.read(self.training_record, numbers=numbers)
        images = (_middle(row.image) for row in rows)
        return quantise(self.onnx_model, track(images, len(numbers), "calibrating 8 bits"))


def compare(file: Exported, model: Probabilities, images: list[np.ndarray]) -> Equality:
    """Run a file and the network of the same checkpoint on the same images, (H, W, 3) uint8 BGR, of one size."""
    differences, agreements = [], []
    for image in images:
        batch = image[None]
        if file.labels:
            mode = Mode(mirror=True)
            ours = file(batch)
            theirs = label_maps({1.0: model}, batch, mode)[mode.name]
        else:
            probabilities, expected = file(batch), model(Tensor(batch)).asnumpy()
            with np.errstate(invalid="ignore"):
                differences.append(np.abs(probabilities - expected).max())
            ours, theirs = probabilities.argmax(axis=1), expected.argmax(axis=1)
        agreements.append((ours == theirs).mean())
    # NumPy's `max` keeps a NaN, which Python's would lose.
    difference = float(np.max(differences)) if differences else None
    return Equality(len(images), difference, float(np.mean(agreements)))


def _spread(record: Path, dataset: DatasetDescriptor, wanted: int) -> list[int]:
    """Numbers of so many images, spread over a record."""
    return records.evenly(records.read_manifest(record, dataset)["images"])[:wanted]


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - CALIBRATION_SIDE) // 2 for side in image.shape[:2])
    return image[top : top + CALIBRATION_SIDE, left : left + CALIBRATION_SIDE]


def _write_mindspore(exporter: Exporter, path: Path, kind: Format) -> None:
    file_format = path.suffix.removeprefix(".").upper()
    if file_format == "AIR" and not device.on_ascend():
        raise AdlError(
            f"{path.name}: MindSpore writes AIR only on Ascend (device_target). Leave air out of export_formats."
        )
    cell = Labels(exporter.model) if kind.labels else exporter.model
    blank = Tensor(np.zeros((1, *exporter.size, 3), np.uint8))
    ms.export(cell.set_train(False), blank, file_name=str(path), file_format=file_format)
    if file_format == "MINDIR":
        canonicalise(path)


def _write_onnx(exporter: Exporter, path: Path, kind: Format) -> None:
    if device.on_ascend():
        raise AdlError(
            f"{path.name}: an ONNX file cannot be proved on Ascend, which rounds more coarsely. Export with "
            "device_target CPU."
        )
    model = exporter.onnx_model_in_8_bits if kind.quantised else exporter.onnx_model
    onnx.save(onnx_graph.with_labels(model) if kind.labels else model, path)


WRITERS: dict[str, Callable[[Exporter, Path, Format], None]] = {
    ".mindir": _write_mindspore,
    ".onnx": _write_onnx,
    ".air": _write_mindspore,
}
"""Suffix of an exported file → what writes it."""
