"""What can be known to be wrong before any work is done."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from adl import runtime
from adl import state as state_module
from adl.architecture import Architecture
from adl.artifacts import digest
from adl.cityscapes.faults import DataError
from adl.cityscapes.survey import Survey, survey
from adl.errors import AdlError
from adl.params import Params
from adl.schedule import check_warmup, steps_an_epoch


def check(params: Params, *, pretrained: Path, synthetic: Path, records: Path, states: Path) -> str:
    """Check architecture files, the data's layout and count, room for its records, warm-up, export size, start weights.

    synthetic: the folder that the stage `synthesize` makes; its content follows from the parameters. records: the
    folder that the stage `mindrecord` fills. states: where trainings keep theirs.
    Returns the digest of the file that ckpt_name names, or "none". Raises AdlError.
    """
    Architecture.from_params(params)
    _check_devices(params, states)
    _check_history()
    if params.modelArts:
        raise AdlError("modelArts: true. This version does not copy to and from ModelArts storage.")
    if Path(params.data_path) == synthetic:
        images = params.synthetic_train_images
        for expected, drawn in (
            (params.expected_train_images, images),
            (params.expected_val_images, params.synthetic_val_images),
        ):
            if expected not in (None, drawn):
                raise AdlError(
                    f"data_path is {synthetic}, the embedded scenes, of which {drawn} are drawn, but {expected} images "
                    "are expected. Set data_path to the folder of Cityscapes, or expected_…_images to null."
                )
        height, width = params.synthetic_height, 2 * params.synthetic_height
    else:
        counts = {"train": params.expected_train_images, "val": params.expected_val_images}
        found = _survey(params.data_path, counts)
        print(found.table(), flush=True)
        check_room(sum(split.bytes for split in found.splits.values()), records)
        images = found.splits["train"].images
        width, height = found.splits["val"].size
    check_warmup(params.warmup_iters, params.epochs, steps_an_epoch(images, params.batch_size))
    if (params.export_height, params.export_width) != (height, width):
        where = f"data_path is {synthetic}, the embedded scenes; set it to the folder of Cityscapes, or mend this: "
        raise AdlError(
            f"{where if Path(params.data_path) == synthetic else ''}"
            f"export_height × export_width is {params.export_height}×{params.export_width}, but the val images are "
            f"{height}×{width} (height × width): the stage infer runs the exported file on them. Make them equal."
        )
    return start_weights(params, pretrained)


def _check_devices(params: Params, states: Path) -> None:
    """Raises AdlError if this machine lacks the devices, unless several machines have trained this already."""
    finished = [state for state in state_module.states(states) if state.finished]
    if any(state.about["key"]["params"]["device_num"] == params.device_num for state in finished):
        runtime.check_device_target(params.device_target)
        return
    try:
        runtime.check_device_target(params.device_target, params.device_num)
    except AdlError as error:
        nodes = " Several machines train outside DVC: python -m pipeline.train --help." if params.device_num > 1 else ""
        raise AdlError(f"device_num {params.device_num}: {error}{nodes}") from None


def workspace_of_copy() -> Path | None:
    """The workspace of which this is a copy that DVC made for an experiment (`--temp`, `--queue`), if it is one."""
    here = Path.cwd()
    found = (above for above in here.parents if above.parts[-3:] == (".dvc", "tmp", "exps"))
    return next((above.parents[2] for above in found), None)


def _check_history() -> None:
    """Raises AdlError if DVC would lose an experiment at its end, which it says with exit code 0."""
    workspace = workspace_of_copy()
    if workspace is None:
        return
    command = ["git", "-C", str(workspace), "rev-parse", "--is-shallow-repository"]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if answer.stdout.strip() == "true":
        raise AdlError(
            f"{workspace} is a shallow clone, in which DVC loses what an experiment in a copy has trained. "
            "`git fetch --unshallow` first, or leave out --temp and --queue."
        )


def _survey(data_path: str, expected: Mapping[str, int | None]) -> Survey:
    try:
        return survey(data_path, expected=expected).checked()
    except DataError as error:
        workspace = workspace_of_copy()
        if workspace is None or Path(data_path).is_absolute():
            raise
        raise AdlError(
            f"{error}\nThis is a copy of {workspace}, which DVC made of what git and DVC track: the relative data_path "
            f"{data_path} begins in the copy. Write the absolute path."
        ) from None


def check_room(wanted: int, records: Path) -> None:
    """Raises AdlError where the records, as large as the images, do not fit; warns where DVC's copy of them may not.

    Records that are there already make room when they are replaced.
    """
    there = sum(path.stat().st_size for path in records.glob("*.mindrecord"))
    folder = next(path for path in (records.absolute(), *records.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    lacking = max(0, wanted - there)
    if lacking > free:
        raise AdlError(
            f"{records}: the records take {wanted / 1e9:.1f} GB, but only {free / 1e9:.1f} GB are free there. Make "
            "room, or clone the project to a larger disk."
        )
    if 2 * lacking > free:
        print(
            f"warning: the records take {wanted / 1e9:.1f} GB, of {free / 1e9:.1f} GB that are free, and DVC's cache "
            "as much again where it copies. `dvc config cache.type reflink,hardlink,symlink` lets it link.",
            flush=True,
        )


def start_weights(params: Params, pretrained: Path) -> str:
    if params.ckpt_name is None:
        return "none"
    path = pretrained / params.ckpt_name
    if not path.is_file():
        there = ", ".join(sorted(p.name for p in pretrained.glob("*.ckpt"))) or "no checkpoint"
        message = f"ckpt_name: {path} does not exist; {pretrained}/ holds {there}."
        if workspace := workspace_of_copy():
            made_of = "which DVC made of what git and DVC track"
            message += f" This is a copy of {workspace}, {made_of}: `dvc add {path}` there first."
        raise AdlError(message)
    return digest(path)
