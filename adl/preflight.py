"""What can be known to be wrong before any work is done."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from adl import params as schema
from adl import runtime, workspace
from adl.architecture import Architecture
from adl.artifacts import check_sidecar, digest, nearest_existing
from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.export import runtimes
from adl.params import Params
from adl.prepare import DataError
from adl.prepare.check import DatasetCheck, check_dataset
from adl.prepare.layout import pairs
from adl.training import runs
from adl.training.schedules import check_warmup
from adl.workspace import PRETRAINED, RECORDS, SYNTHETIC, copied_from


def check(params: Params, dataset: DatasetDescriptor) -> str:
    """Check all that a run needs before its first stage.

    That is architecture files, devices, back ends, the data's layout and count, room for its records, warm-up, export
    size and start weights. Returns the digest of the file that ckpt_name names, or "none". Raises AdlError.
    """
    Architecture.from_params(params)
    check_devices(params)
    _check_history()
    check_export(params)
    if params.modelArts:
        raise AdlError(
            "modelArts: true. DVC copies nothing from object storage: run each stage as "
            "`python -m pipeline.modelarts STAGE`, or set it to false."
        )
    if params.num_classes != len(dataset.classes):
        raise AdlError(
            f"num_classes: {params.num_classes}, but {dataset.title} has {len(dataset.classes)} classes."
        )
    if Path(params.data_path) == SYNTHETIC:
        images = params.synthetic_train_images
        _check_drawn(params)
        height, width = params.synthetic_height, 2 * params.synthetic_height
    else:
        counts = {"train": params.expected_train_images, "val": params.expected_val_images}
        found = _check_data(params.data_path, dataset, counts)
        print(found.table(), flush=True)
        check_room(sum(split.bytes for split in found.splits.values()), RECORDS)
        images = found.splits["train"].images
        width, height = found.splits["val"].size
    _check_warmup(params, images)
    _check_export_size(params, height=height, width=width)
    return start_weights(params)


def check_steps(params: Params, dataset: DatasetDescriptor) -> None:
    """What `check` says of the warm-up, from the names of the images, as far as they are there. Raises AdlError."""
    if images := train_images(params, dataset):
        _check_warmup(params, images)


def _check_warmup(params: Params, images: int) -> None:
    check_warmup(params.warmup_iters, params.epochs, steps_per_epoch(images, params.batch_size))


def train_images(params: Params, dataset: DatasetDescriptor) -> int:
    """How many images there are to train on, by their names."""
    root = Path(params.data_path)
    if root == SYNTHETIC:
        return params.synthetic_train_images
    return len(pairs(root, "train", dataset).frames)


def _check_drawn(params: Params) -> None:
    """Raises AdlError if other numbers of images are expected than are drawn."""
    for expected, drawn in (
        (params.expected_train_images, params.synthetic_train_images),
        (params.expected_val_images, params.synthetic_val_images),
    ):
        if expected not in (None, drawn):
            raise AdlError(
                f"data_path is {SYNTHETIC}, the embedded scenes: {drawn} images are drawn, but {expected} "
                "are expected. Set data_path to the folder of Cityscapes, or expected_…_images to null."
            )


def check_export(params: Params) -> None:
    """Raises AdlError if a format cannot be proved on this device, or a back end is missing."""
    onnx = [name for name in params.export_formats if name.startswith("onnx")]
    if params.device_target == "Ascend" and onnx:
        raise AdlError(
            f"export_formats: leave {', '.join(onnx)} out on Ascend, which rounds more coarsely than the proof allows. "
            "Export the checkpoint with device_target CPU (python -m pipeline.export --checkpoint FILE --output DIR)."
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
    finished = [state for state in runs.found(workspace.state_folder()) if state.finished]
    trained = params.model_dump(include=set(schema.of_stage("train")))
    if any(state.about["key"]["params"] == trained for state in finished):
        runtime.check_device_target(params.device_target)
        return
    try:
        runtime.check_device_target(params.device_target, params.device_num)
    except AdlError as error:
        nodes = (
            " To train on several machines, see python -m pipeline.train --help."
            if params.device_num > 1
            else ""
        )
        raise AdlError(f"device_num {params.device_num}: {error}{nodes}") from None


def _check_history() -> None:
    """Raises AdlError if DVC would lose an experiment at its end, which it says with exit code 0."""
    original = copied_from()
    if original is None:
        return
    command = ["git", "-C", str(original), "rev-parse", "--is-shallow-repository"]
    answer = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if answer.stdout.strip() == "true":
        raise AdlError(
            f"{original} is a shallow clone, in which DVC would lose the results of an experiment that runs in a copy. "
            "`git fetch --unshallow` first, or leave out --temp and --queue."
        )


def _check_data(
    data_path: str, dataset: DatasetDescriptor, expected: Mapping[str, int | None]
) -> DatasetCheck:
    try:
        return check_dataset(data_path, dataset, expected=expected).passed()
    except DataError as error:
        original = copied_from()
        if original is None or Path(data_path).is_absolute():
            raise
        raise AdlError(
            f"{error}\nThis is a copy of {original}, which DVC made of what git and DVC track: the relative data_path "
            f"{data_path} is resolved inside the copy. Use an absolute path."
        ) from None


def check_room(needed: int, records: Path) -> None:
    """Raises AdlError if the records, as large as the images, do not fit; warns if DVC's copy of them may not.

    needed: bytes. Records that exist already make room when they are replaced.
    """
    existing = sum(path.stat().st_size for path in records.glob("*.mindrecord"))
    free = shutil.disk_usage(nearest_existing(records)).free
    lacking = max(0, needed - existing)
    if lacking > free:
        raise AdlError(
            f"{records}: the records take {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there. Make "
            "room, or clone the project to a larger disk."
        )
    if 2 * lacking > free:
        print(
            f"warning: the records take {needed / 1e9:.1f} GB, of {free / 1e9:.1f} GB that are free, and DVC's cache "
            "as much again if it copies. `dvc config cache.type reflink,hardlink,symlink` lets it link.",
            flush=True,
        )


def start_weights(params: Params) -> str:
    """Digest of the file that ckpt_name names, or "none".

    Raises AdlError if there is no such file, or if its sidecar describes another one.
    """
    if params.ckpt_name is None:
        return "none"
    path = PRETRAINED / params.ckpt_name
    if not path.is_file():
        present = (
            ", ".join(sorted(other.name for other in PRETRAINED.glob("*.ckpt"))) or "no checkpoint"
        )
        message = f"ckpt_name: {path} does not exist; {PRETRAINED}/ holds {present}."
        original = copied_from()
        if original:
            made_of = "which DVC made of what git and DVC track"
            message += f" This is a copy of {original}, {made_of}: `dvc add {path}` there first."
        raise AdlError(message)
    check_sidecar(path)
    return digest(path)
