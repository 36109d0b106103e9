"""What can be known to be wrong before any work is done.

Each function `check_…` raises AdlError, or Caution for what may go wrong. The stage `check` ends at the first; `adl
doctor` lists them all.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Set
from pathlib import Path

from adl import device, workspace
from adl.architecture import Architecture
from adl.config import params as schema
from adl.config.params import Params
from adl.console import text
from adl.dataset import descriptor
from adl.errors import AdlError, Caution, unknown
from adl.export import runtimes
from adl.files import check_sidecar, digest, nearest_existing, read_json
from adl.prepare import DataError, survey
from adl.prepare.images import in_pixels
from adl.prepare.layout import Split
from adl.training import runs
from adl.training.plan import Plan
from adl.workspace import PRETRAINED, RECORDS, SURVEYED, SYNTHETIC, copied_from, sidecar


def check(params: Params) -> str:
    """Check all that a run needs before its first stage.

    That is architecture files, devices, back ends, the data's layout and count, room for its records, warm-up, export
    size and start weights. Returns the digest of the file that ckpt_name names, or "none". Raises AdlError.
    """
    Architecture.from_params(params)
    check_devices(params)
    check_history()
    check_export(params)
    check_parameters(params)
    if Path(params.data_path) == SYNTHETIC:
        check_counts(params)
        sizes = {(2 * params.synthetic_height, params.synthetic_height)}
    else:
        sizes = set(_check_data(params))
    check_steps(params)
    check_sizes(params, sizes)
    return start_weights(params)


def check_sizes(params: Params, sizes: Set[tuple[int, int]]) -> None:
    """Raises AdlError if the exported file, which takes one size, does not fit what the stage infer gives it.

    sizes: (width, height) of the val images.
    """
    exported = (params.export_width, params.export_height)
    windows = f"eval_window to [{params.export_height}, {params.export_width}] (export_height, export_width)"
    if params.eval_window:
        if params.eval_window[::-1] != [*exported]:
            raise AdlError(
                f"eval_window is {params.eval_window}, but the exported file takes images of {in_pixels(exported)}: "
                "the stage infer runs it on windows",
                f"Set {windows}, or these to the size of the windows.",
            )
    elif len(sizes) > 1:
        some = text.listing([in_pixels(size) for size in sorted(sizes)], most=3)
        raise AdlError(
            f"the val images in {params.data_path} have {len(sizes)} sizes ({some}), but the exported file, which the "
            "stage infer runs on them, takes one",
            f"Set {windows}: images of any size are then cut into windows.",
        )
    elif sizes != {exported}:
        [size] = sizes
        raise AdlError(
            f"export_width × export_height is {in_pixels(exported)}, but the val images in {params.data_path} are "
            f"{in_pixels(size)}: the stage infer runs the exported file on them",
            f"Make them equal, or set data_path to the folder of other images, or {windows}.",
        )


def _check_data(params: Params) -> Collection[tuple[int, int]]:
    """Returns the sizes (width, height) of the val images. What was sound and has not changed still is."""
    try:
        found = survey.surveyed(Path(params.data_path), params.descriptor, crop_size=params.crop_size, memory=SURVEYED)
    except DataError as error:
        if not copied_from() or Path(params.data_path).is_absolute():
            raise
        raise AdlError(
            f"{error}\n{_copy()}: the relative data_path {params.data_path} is resolved inside the copy. "
            "Use an absolute path."
        ) from None
    print(found.table, *(f"note: {note}" for note in found.notes), sep="\n", flush=True)
    try:
        check_room(found.bytes)
    except Caution as caution:
        print(f"warning: {caution}", flush=True)
    return found.val_sizes


def _copy() -> str:
    return f"This is a copy of {copied_from()}, which DVC made of what git and DVC track"


def check_parameters(params: Params) -> None:
    """Raises AdlError if the parameters are those of a job of ModelArts."""
    if params.modelArts:
        raise AdlError(
            "modelArts: true. DVC copies nothing from object storage: run each stage as "
            "`python -m pipeline.modelarts STAGE`, or set it to false."
        )
    check_class_weights(params)


def check_class_weights(params: Params) -> None:
    """Raises AdlError if a list of weights is of another number of classes."""
    weights, classes = params.class_weights, len(params.descriptor.classes)
    if isinstance(weights, list) and len(weights) != classes:
        raise AdlError(
            f"{len(weights)} weights, but {params.dataset} has {classes} classes",
            "Write a weight for each class, in their order.",
            where="class_weights",
        )


def check_counts(params: Params) -> dict[str, int]:
    """Returns `image_counts`. Raises AdlError if a split has another number of images than it must have."""
    counts = image_counts(params)
    wrong = [
        f"{counts[split]} {split} images (not {expected})"
        for split, expected in params.descriptor.expect.items()
        if counts.get(split, expected) != expected
    ]
    if wrong:
        raise AdlError(
            f"{params.data_path} has {' and '.join(wrong)}",
            "Set data_path to the folder of the whole data set (`adl dataset check` says what is lacking), or take "
            f"`expect` out of {params.dataset}.",
        )
    return counts


def train_images(params: Params) -> int:
    """How many there are, or else must be. Raises AdlError if neither is known."""
    images = image_counts(params)["train"] or params.descriptor.expect.get("train")
    if images is None:
        raise AdlError("holds no train images", "Set data_path to the folder of the data set.", where=params.data_path)
    return images


def image_counts(params: Params) -> dict[str, int]:
    """Split → how many images it has, by their names. The embedded scenes need not be drawn yet."""
    root = Path(params.data_path)
    if root == SYNTHETIC:
        return {"train": params.synthetic_train_images, "val": params.synthetic_val_images}
    dataset = params.descriptor
    return {split: len(Split(root, split, dataset).frames) for split in dataset.labelled_splits}


def check_steps(params: Params) -> None:
    """Raises AdlError if the warm-up does not fit the run; images that are not there yet say nothing of that."""
    if images := image_counts(params)["train"]:
        Plan.of(params, images)


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


def check_devices(params: Params) -> None:
    """Raises AdlError if this machine lacks the devices; one is enough once several machines have trained this."""
    trained = params.model_dump(include=set(schema.of_stage("train")))
    wanted = params.device_num
    for state in runs.found(workspace.state_folder()):
        if state.finished and state.about["key"]["params"] == trained:
            wanted = 1
    device.check_device_target(params.device_target, wanted)


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
    return subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")


def check_room(needed: int) -> None:
    """Raises AdlError if the records, as large as the images, do not fit; Caution if DVC's copy of them may not.

    needed: bytes. Records that exist already make room when they are replaced.
    """
    lacking = needed - sum(path.stat().st_size for path in RECORDS.glob("*.mindrecord"))
    free = shutil.disk_usage(nearest_existing(RECORDS)).free
    if 2 * lacking > free:
        error = AdlError if lacking > free else Caution
        raise error(
            f"the records take {text.byte_size(needed)}, and DVC's cache as much again if it copies, but only "
            f"{text.byte_size(free)} are free there",
            "Make room, or clone the project to a larger disk; `dvc config cache.type reflink,hardlink,symlink` lets "
            "DVC link.",
            where=RECORDS,
        )


def start_weights(params: Params) -> str:
    """Digest of the file that ckpt_name names, or "none".

    Raises AdlError if there is no such file, if its sidecar describes another one, or if it is of other classes and its
    classifier is asked for.
    """
    if params.ckpt_name is None:
        return "none"
    path = PRETRAINED / params.ckpt_name
    if not path.is_file():
        if copied_from():
            raise AdlError(f"there is no {path}. {_copy()}: `dvc add {path}` there first.")
        raise unknown(
            f"checkpoint in {PRETRAINED}/ (ckpt_name)",
            params.ckpt_name,
            sorted(other.name for other in PRETRAINED.glob("*.ckpt")),
        )
    check_sidecar(path)
    if params.ckpt_classifier and sidecar(path).exists():
        _check_classes(path, params)
    return digest(path)


def _check_classes(path: Path, params: Params) -> None:
    """Raises AdlError if a checkpoint with a sidecar was trained on other classes, or in another order."""
    try:
        content = read_json(sidecar(path))
    except ValueError:
        return  # damaged, which its readers report
    trained = descriptor.of_sidecar(content, sidecar(path))
    ours, theirs = params.descriptor.class_names, trained.class_names
    if ours != theirs:
        raise AdlError(
            f"was trained on {len(theirs)} classes of {trained.title} ({text.some(theirs)}), but {params.dataset} has "
            f"{len(ours)} ({text.some(ours)})",
            "Write `ckpt_classifier: false` in params.yaml to start from its other weights.",
            where=path,
        )
