"""The deployable files: raw image in; each is loaded, compared with the checkpoint, and kept only if it holds."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mindspore as ms
import numpy as np
import onnx
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from adl import device
from adl.architecture.genotype import Size
from adl.console.progress import track
from adl.dataset import records
from adl.dataset.augment import Normalise
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.label_maps import LabelMaps
from adl.dataset.records import Row
from adl.errors import AdlError
from adl.evaluation.inference import Mode, Probabilities, Windows, label_maps
from adl.export import onnx_graph, runtimes
from adl.export.canonical import canonicalise
from adl.export.exported import Exported
from adl.export.formats import Format
from adl.export.proofs import AccuracyDrop, EightBits, Equality, Proof
from adl.export.quantise import quantise
from adl.files import digest, full_disk_reported, read_json, remove, scratch_folder, write_json
from adl.metrics.confusion import count_image
from adl.network import AutoDeepLab, checkpoint
from adl.workspace import sidecar

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

PROOF_IMAGES = 3
FIRST_IMAGES = 60
"""Images that 8 bits are scored on first; then twice as many, until it is certain whether too much is lost."""
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
    mode: Mode = Mode(mirror=True)  # noqa: RUF009 (it is a tuple)
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
                proof = self.compare(temporary, kind)
            if proof is None or proof.holds:
                temporary.replace(path)
                return proof
        remove(path)
        if not kind.quantised:
            raise AdlError(f"{path.name}: {proof.fault}. No file was kept.")
        print(f"{path.name}: not kept: {proof.fault}", flush=True)
        return proof

    def compare(self, path: Path, kind: Format) -> Equality:
        """Run the file and the network on the same images."""
        run, mode = runtimes.load(path), Mode(mirror=True)
        height, width = self.size
        rows = self._spread(self.record, slice(PROOF_IMAGES), "comparing with the checkpoint")
        images = [cv2.resize(row.image, (width, height))[None] for row in rows]
        differences, agreements = [], []
        for image in images:
            ours = run(image)
            if kind.labels:
                theirs = label_maps({1.0: self.model}, image, mode)[mode.name]
            else:
                expected = self.model(Tensor(image)).asnumpy()
                with np.errstate(invalid="ignore"):
                    differences.append(np.abs(ours - expected).max())
                ours, theirs = ours.argmax(axis=1), expected.argmax(axis=1)
            agreements.append((ours == theirs).mean())
        # NumPy's `max` keeps a NaN, which Python's would lose.
        difference = float(np.max(differences)) if differences else None
        proof = Equality(len(images), difference, float(np.mean(agreements)))
        if proof.holds:
            return proof
        normalise = Normalise(self.dataset)
        logits = [self.network(Tensor(normalise(image).transpose(0, 3, 1, 2))).asnumpy() for image in images]
        return dataclasses.replace(proof, largest_logit=float(np.abs(logits).max()))

    def score(self, path: Path, kind: Format) -> EightBits:
        """What the file loses in the mode in which it is used, with each instruction set that this processor has.

        Images are added until it is certain whether the file loses too much.
        """
        mode = Mode(mirror=True) if kind.labels else self.mode
        images = records.read_manifest(self.record, self.dataset)["images"]
        places = slice(0, FIRST_IMAGES)
        with contextlib.ExitStack() as stack:
            # Each instruction set adds up the products of 8 bits in its own way.
            files: dict[str, tuple[Exported, list[tuple[Any, ...]]]] = {}
            for name in device.instruction_sets():
                run = stack.enter_context(runtimes.limited(path, name))
                files[name] = Exported(run, self.dataset, None, labels=kind.labels, name=path.name), []
            while True:
                for row in self._spread(self.record, places, "scoring 8 bits and the checkpoint"):
                    theirs = self.network_labels(row, mode)
                    expected = count_image(self.dataset, row.label, theirs)
                    for file, samples in files.values():
                        ours = file.label_maps(row.image[None], mode)[mode.name][0]
                        counts = count_image(self.dataset, row.label, ours)
                        samples.append((counts, expected, (ours == theirs).sum(), ours.size))
                drops = {name: AccuracyDrop.of_images(self.dataset, samples) for name, (_, samples) in files.items()}
                if places.stop >= images or all(drop.is_certain for drop in drops.values()):
                    return EightBits(drops)
                places = slice(places.stop, 2 * places.stop)

    def network_labels(self, row: Row, mode: Mode) -> np.ndarray:
        """(H, W) uint8 train ids that the network gives for an image, from the evaluation where it has them."""
        if self.evaluated and self.evaluated.mode == str(mode):
            known = self.evaluated.read(row.name)
            if known is not None:
                return known
        run = Windows(self.model, mode.window) if mode.window else self.model
        return label_maps({1.0: run}, row.image[None], mode)[mode.name][0]

    def _spread(self, record: Path, places: slice, what: str) -> Iterator[Row]:
        """Some images of a record, with progress. places: in an order whose beginning is spread over the record."""
        numbers = records.evenly(records.read_manifest(record, self.dataset)["images"])[places]
        return track(records.read(record, numbers=numbers), len(numbers), what)

    def write_sidecar(self, path: Path, kind: Format, source: Path, proof: Proof | None) -> None:
        """Say beside a file what it takes, what it returns, and from which checkpoint, `source`, it comes."""
        height, width = (None, None) if kind.any_size else self.size
        described = read_json(sidecar(source)) if sidecar(source).exists() else {}
        content = {
            "format": 1,
            "architecture": self.network.architecture.to_json(),
            "checkpoint_digest": digest(source),
            "data": described.get("data", {}),
            "digest": digest(path),
            "verified": kind.verified,
            "input": {
                "layout": "NHWC",
                "dtype": "uint8",
                "channels": self.dataset.normalise.channels,
                "values": "0 to 255, as in the image; the file normalises them",
                "batch": 1,
                "height": height,
                "width": width,
            },
            "output": LABELS if kind.labels else PROBABILITIES,
            "classes": self.dataset.class_names,
            "palette": [one.colour for one in self.dataset.classes],
            "dataset": self.dataset.to_json(),
        }
        if isinstance(proof, EightBits):
            content["proved_with"] = {"backend": "openvino", "instruction_sets": [*proof.drops]}
        write_json(sidecar(path), content)

    @functools.cached_property
    def onnx_model(self) -> onnx.ModelProto:
        weights = {name: parameter.asnumpy() for name, parameter in checkpoint.native(self.network).items()}
        return onnx_graph.build(self.network.architecture, weights, self.dataset)

    @functools.cached_property
    def onnx_model_in_8_bits(self) -> onnx.ModelProto:
        rows = self._spread(self.training_record, slice(CALIBRATION_IMAGES), "calibrating 8 bits")
        return quantise(self.onnx_model, (_middle(row.image) for row in rows))


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
