"""The zip that a benchmark's server scores: checked first, complete or not at all."""

from __future__ import annotations

import itertools
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from adl.console.progress import track
from adl.console.text import size
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.errors import AdlError
from adl.files import replacing
from adl.prepare import png

CODE = (
    "architecture",
    "dataset",
    "evaluation/inference.py",
    "export/exported.py",
    "export/formats.py",
    "export/runtimes.py",
    "network",
    "parallel",
    "predict/photographs.py",
    "predict/predictor.py",
    "device.py",
)
"""Files and folders of the package that can change a label map."""


def check(predictions: Path, frames: list[Frame], dataset: DatasetDescriptor) -> list[Path]:
    """The one label map of each frame, in their order.

    Raises AdlError with the list of what is missing, there twice, of another size or kind, or holds other ids.
    """
    found: dict[str, list[Path]] = {frame.name: [] for frame in frames}
    faults = []
    for path in sorted(predictions.rglob("*.png")):
        name = "_".join(path.stem.split("_")[:3])
        if name in found:
            found[name].append(path)
        else:
            faults.append(f"{path}: belongs to no image of the test split.")
    for frame in track(frames, len(frames), "checking"):
        faults += _faults(frame, found[frame.name], dataset)
    if faults:
        raise AdlError("\n  ".join([f"{predictions}: not a complete submission.", *faults]))
    return list(itertools.chain(*found.values()))


def _faults(frame: Frame, label_maps: list[Path], dataset: DatasetDescriptor) -> Iterator[str]:
    """Why a frame cannot be scored. label_maps: those that bear its name."""
    if len(label_maps) > 1:
        yield f"{frame.name}: more than one label map: {', '.join(map(str, label_maps))}."
    elif not label_maps:
        yield f"{frame.name}: no label map."
    for path in label_maps:
        label = png.decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
        width, height = png.header(frame.image, dataset.images).size
        if label is None:
            yield f"{path}: cannot be read."
        elif label.dtype != np.uint8 or label.ndim != 2:
            channels = math.prod(label.shape[2:])
            yield f"{path}: has {channels} channel(s) of {8 * label.itemsize} bits; one of 8 bits is needed."
        elif label.shape != (height, width):
            yield f"{path}: is {size(*label.shape)}, its image {size(height, width)}."
        elif others := set(np.unique(label).tolist()) - dataset.label_names.keys():
            yield f"{path}: holds ids that are no label ids: {sorted(others)}."


def pack(label_maps: list[Path], output: Path) -> None:
    """Write the zip: `<city>/<frame>.png`, the same bytes for the same label maps."""
    with (
        replacing(output) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for path in label_maps:
            city = path.stem.split("_")[0]
            entry = zipfile.ZipInfo(f"{city}/{path.name}")
            # Without this it would unpack to a file that only its owner may read.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
