"""What can be known to be wrong before any work is done.

Each function `check_…` raises AdlError, or Caution for what may go wrong. The stage `check` ends at the first; `adl
doctor` lists them all.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from adl import device, workspace
from adl.architecture import Architecture
from adl.config import params as schema
from adl.config.params import Params
from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, Caution
from adl.export import runtimes
from adl.files import check_sidecar, digest, nearest_existing
from adl.prepare import DataError
from adl.prepare.check import DatasetCheck, check_dataset
from adl.prepare.layout import pairs
from adl.training import runs
from adl.training.plan import Plan
from adl.workspace import PRETRAINED, RECORDS, SYNTHETIC, copied_from


def check(params: Params, dataset: DatasetDescriptor) -> str:
    """Check all that a run needs before its first stage.

    That is architecture files, devices, back ends, the data's layout and count, room for its records, warm-up, export
    size and start weights. Returns the digest of the file that ckpt_name names, or "none". Raises AdlError.
    """
    Architecture.from_params(params)
    check_devices(params)
    check_history()
    check_export(params)
    check_parameters(params, dataset)
    if Path(params.data_path) == SYNTHETIC:
        check_drawn(params)
        height, width = params.synthetic_height, 2 * params.synthetic_height
    else:
        found = _check_data(params, dataset)
        print(found.table(), flush=True)
        try:
            check_room(sum(split.bytes for split in found.splits.values()), RECORDS)
        except Caution as caution:
            print(f"warning: {caution}", flush=True)
        width, height = found.splits["val"].size
    check_steps(params, dataset)
    _check_export_size(params, height=height, width=width)
    return start_weights(params)


def check_parameters(params: Params, dataset: DatasetDescriptor) -> None:
    """Raises AdlError if the parameters are those of a job of ModelArts, or not of this data set."""
    if params.modelArts:
        raise AdlError(
            "modelArts: true. DVC copies nothing from object storage: run each stage as "
            "`python -m pipeline.modelarts STAGE`, or set it to false."
        )
    dataset.check_classes(params.num_classes, "num_classes")


def check_drawn(params: Params) -> None:
    """Raises AdlError if other numbers of images are expected than are drawn."""
    for split, expected in expected_images(params).items():
        drawn = getattr(params, f"synthetic_{split}_images")
        if expected not in (None, drawn):
            raise AdlError(
                f"data_path is {SYNTHETIC}, the embedded scenes: {drawn} images are drawn, but {expected} are "
                "expected",
                "Set data_path to the folder of Cityscapes, or expected_…_images to null.",
            )


def expected_images(params: Params) -> dict[str, int | None]:
    """Split → how many images it must have; None: any number."""
    return {"train": params.expected_train_images, "val": params.expected_val_images}


def check_steps(params: Params, dataset: DatasetDescriptor) -> None:
    """Raises AdlError if the warm-up does not fit the run; images that are not there yet say nothing of that."""
    if images := train_images(params, dataset):
        Plan.of(params, images)


def train_images(params: Params, dataset: DatasetDescriptor) -> int:
    """How many images there are to train on, by their names."""
    root = Path(params.data_path)
    if root == SYNTHETIC:
        return params.synthetic_train_images
    return len(pairs(root, "train", dataset).frames)


def check_export(params: Params) -> None:
    """Raises AdlError if a format cannot be proved on this device, or a back end is missing."""
    onnx = [name for name in params.export_formats if name.startswith("onnx")]
    if params.device_target == "Ascend" and onnx:
        raise AdlError(
            f"leave {', '.join(onnx)} out on Ascend, which rounds more coarsely than the proof allows",
            "Export the checkpoint with device_target CPU (python -m pipeline.export --checkpoint FILE --output DIR).",
            where="export_formats",
        )
    for name in params.infer_backends:
        runtimes.check_installed(name)


def _check_export_size(params: Params, *, height: int, width: int) -> None:
    if (params.export_height, params.export_width) == (height, width):
        return
    advice = ""
    if Path(params.data_path) == SYNTHETIC:
        advice = f"data_path is {SYNTHETIC}, the embedded scenes; set it to the folder of Cityscapes, or fix this: "
    raise AdlError(
        f"{advice}export_width × export_height is {text.size(params.export_height, params.export_width)}, but the val "
        f"images are {text.size(height, width)}: the stage infer runs the exported file on them. Make them equal."
    )


def check_devices(params: Params) -> None:
    """Raises AdlError if this machine lacks the devices, unless several machines have trained this already."""
    trained = params.model_dump(include=set(schema.of_stage("train")))
    for state in runs.found(workspace.state_folder()):
        if state.finished and state.about["key"]["params"] == trained:
            device.check_device_target(params.device_target)
            return
    try:
        device.check_device_target(params.device_target, params.device_num)
    except AdlError as error:
        remedy = error.remedy
        if params.device_num > 1:
            remedy += " To train on several machines, see python -m pipeline.train --help."
        place = f"device_num {params.device_num}: {error.where}"
        raise AdlError(error.problem, remedy, where=place) from None


def check_history() -> None:
    """Raises AdlError if DVC would lose an experiment at its end, which it says with exit code 0."""
    original = copied_from()
    if original is not None and git("-C", str(original), *IS_SHALLOW).stdout.strip() == "true":
        raise AdlError(
            f"{original} is a shallow clone, in which DVC would lose the results of an experiment that runs in a copy",
            "`git fetch --unshallow` first, or leave out --temp and --queue.",
        )


IS_SHALLOW = ("rev-parse", "--is-shallow-repository")


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What git answers."""
    return subprocess.run(
        ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def _check_data(params: Params, dataset: DatasetDescriptor) -> DatasetCheck:
    try:
        return check_dataset(params.data_path, dataset, expected=expected_images(params)).passed()
    except DataError as error:
        if not copied_from() or Path(params.data_path).is_absolute():
            raise
        raise AdlError(
            f"{error}\n{_copy()}: the relative data_path {params.data_path} is resolved inside the copy. "
            "Use an absolute path."
        ) from None


def _copy() -> str:
    return f"This is a copy of {copied_from()}, which DVC made of what git and DVC track"


def check_room(needed: int, records: Path) -> None:
    """Raises AdlError if the records, as large as the images, do not fit; Caution if DVC's copy of them may not.

    needed: bytes. Records that exist already make room when they are replaced.
    """
    existing = sum(path.stat().st_size for path in records.glob("*.mindrecord"))
    free = shutil.disk_usage(nearest_existing(records)).free
    lacking = max(0, needed - existing)
    takes = f"the records take {needed / 1e9:.1f} GB"
    if lacking > free:
        raise AdlError(
            f"{takes}, but only {free / 1e9:.1f} GB are free there",
            "Make room, or clone the project to a larger disk.",
            where=records,
        )
    if 2 * lacking > free:
        raise Caution(
            f"{takes}, of {free / 1e9:.1f} GB that are free, and DVC's cache as much again if it copies",
            "`dvc config cache.type reflink,hardlink,symlink` lets it link.",
        )


def start_weights(params: Params) -> str:
    """Digest of the file that ckpt_name names, or "none".

    Raises AdlError if there is no such file, or if its sidecar describes another one.
    """
    if params.ckpt_name is None:
        return "none"
    path = PRETRAINED / params.ckpt_name
    if not path.is_file():
        present = sorted(other.name for other in PRETRAINED.glob("*.ckpt"))
        message = f"ckpt_name: {path} does not exist; {PRETRAINED}/ holds {', '.join(present) or 'no checkpoint'}."
        if copied_from():
            message += f" {_copy()}: `dvc add {path}` there first."
        raise AdlError(message)
    check_sidecar(path)
    return digest(path)
