"""The zip that the Cityscapes benchmark's server scores: checked first, complete or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from adl.artifacts import replacing
from adl.cityscapes import LABELS, SPLIT_SIZES, Frame, files
from adl.errors import AdlError
from adl.progress import track

_IDS = np.array([label.id for label in LABELS])


def check(predictions: Path, frames: list[Frame]) -> list[Path]:
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
    for frame in frames:
        if len(found[frame.name]) != 1:
            several = ", ".join(map(str, found[frame.name]))
            faults.append(f"{frame.name}: " + (f"more than one label map: {several}" if several else "no label map."))
    if not faults:
        faults = [fault for frame in track(frames, len(frames), "checking") for fault in _faults(frame, found)]
    if faults:
        raise AdlError("\n  ".join([f"{predictions}: not a complete submission.", *faults]))
    return [found[frame.name][0] for frame in frames]


def _faults(frame: Frame, found: dict[str, list[Path]]) -> Iterable[str]:
    path = found[frame.name][0]
    label = files.decoded(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    width, height = files.header(frame.image, "leftImg8bit").size
    if label is None:
        yield f"{path}: cannot be read."
    elif label.dtype != np.uint8 or label.ndim != 2:
        channels = label.shape[2] if label.ndim == 3 else 1
        yield f"{path}: has {channels} channel(s) of {8 * label.itemsize} bits; one of 8 bits is wanted."
    elif label.shape != (height, width):
        yield f"{path}: is {label.shape[1]}×{label.shape[0]}, its image {width}×{height}."
    elif not np.isin(np.unique(label), _IDS).all():
        yield f"{path}: holds ids that are no label ids: {np.setdiff1d(label, _IDS).tolist()}."


def check_count(frames: list[Frame]) -> None:
    """Raises AdlError where the test split is not whole."""
    if len(frames) != SPLIT_SIZES["test"]:
        raise AdlError(
            f"the test split has {len(frames)} images here; the server scores only a complete set of "
            f"{SPLIT_SIZES['test']}. Unpack leftImg8bit_trainvaltest.zip again, or add --partial to see how it works."
        )


def pack(label_maps: list[Path], output: Path) -> None:
    """Write the zip: `<city>/<frame>.png`, the same bytes for the same label maps."""
    with replacing(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for path in label_maps:
            archive.writestr(zipfile.ZipInfo(f"{path.stem.split('_')[0]}/{path.name}"), path.read_bytes())
