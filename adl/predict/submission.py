"""The zip that a benchmark's server scores: checked first, complete or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

from adl.console.progress import track
from adl.dataset.descriptor import DatasetDescriptor, Frame
from adl.errors import AdlError
from adl.files import replacing
from adl.prepare import DataError
from adl.prepare.labels import LabelFiles

CODE = (
    "architecture",
    "dataset",
    "evaluation/inference.py",
    "export/exported.py",
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
    expected = {frame.name for frame in frames}
    found: dict[str, Path] = {}
    faults = []
    for path in sorted(predictions.rglob("*.png")):
        name = "_".join(path.stem.split("_")[:3])
        if name not in expected:
            faults.append(f"{path}: belongs to no image of the test split.")
        elif name in found:
            faults.append(f"{name}: more than one label map: {found[name]}, {path}.")
        else:
            found[name] = path
    files = LabelFiles(frames, dataset)
    for frame in track(frames, len(frames), "checking"):
        if frame.name not in found:
            faults.append(f"{frame.name}: no label map.")
            continue
        try:
            files.read_frame(frame._replace(label=found[frame.name]))
        except DataError as error:
            faults += [f"{problem.file}: {problem.problem}." for problem in error.problems]
    if faults:
        raise AdlError("\n  ".join([f"{predictions}: not a complete submission.", *faults]))
    return [found[frame.name] for frame in frames]


def pack(label_maps: list[Path], output: Path) -> None:
    """Write the zip: `<city>/<frame>.png`, the same bytes for the same label maps."""
    with (
        replacing(output) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for path in label_maps:
            entry = zipfile.ZipInfo(f"{path.name.split('_')[0]}/{path.name}")
            # Without this it would unpack to a file that only its owner may read.
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
