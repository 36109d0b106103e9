"""list the recipes, or write one to params.yaml

reads:  pipeline/recipes/*.yaml, params.yaml
writes: params.yaml, comments kept: the machine keys (data_path, device_target, device_num, workers) stay as they are,
        every other value is overwritten with the recipe's. Where data_path holds images, warmup_iters and the
        exported size are made to fit them. --all replaces the whole file, also one that cannot be read
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl.config import params, recipes
from adl.config.params import Params
from adl.console import estimate
from adl.console.text import counted, rough_duration
from adl.dataset.descriptor import CITYSCAPES
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.files import write_text
from adl.preflight import expected_images
from adl.prepare import DataError, png
from adl.prepare.layout import pairs
from adl.workspace import PARAMS, SYNTHETIC

EXAMPLE = "adl recipe cityscapes-cpu --data-path /data/cityscapes --dry-run"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="without it: list them")
    command.add_argument("--dry-run", action="store_true", help="only show what would change")
    command.add_argument(
        "--all",
        action="store_true",
        help="take the machine keys from the recipe too, whatever params.yaml holds",
    )
    command.add_argument("--data-path", metavar="PATH", help="set data_path too")


def run(arguments: argparse.Namespace) -> None:
    name = arguments.name
    if arguments.data_path == "":
        raise AdlError(
            "--data-path: is empty; name the folder that holds leftImg8bit/ and gtFine/."
        )
    if name is None:
        if arguments.dry_run or arguments.all or arguments.data_path:
            raise AdlError(
                "--dry-run, --all and --data-path need the NAME of a recipe (`adl recipe` lists them)."
            )
        _list(_present())
        return
    recipes.check_name(name)
    try:
        present = _present()
    except AdlError as error:
        if not arguments.all:
            raise AdlError(
                f"{error}\nMend it, or: `{_with_machine_keys(name)}` replaces the whole file."
            ) from None
        print(f"{PARAMS} cannot be read: the machine keys are taken from the recipe.\n")
        present = {}
    _write(arguments, present)


def _present() -> dict[str, Any]:
    """What stands in params.yaml, each value unchecked: it may be what a recipe is wanted for. Empty without one."""
    return params.content(PARAMS) if PARAMS.exists() else {}


def _write(arguments: argparse.Namespace, present: Mapping[str, Any]) -> None:
    """Show what a recipe changes in params.yaml, and write it."""
    name: str = arguments.name
    data_path = params.plain("data_path", arguments.data_path)
    text = recipes.text(name, present, machine=arguments.all, data_path=data_path)
    source = f"recipe {name} with the values of this machine"
    replaces = f"`{_with_machine_keys(name)}` replaces them."
    notes: list[str] = []
    try:
        p = params.parse(text, source)
        fitting, notes = _fit(p)
        text = recipes.edited(text, fitting)
        params.parse(text, source)
    except AdlError as error:
        if arguments.all:
            raise
        raise AdlError(f"{error}\nThe machine keys are kept from {PARAMS}: {replaces}") from None
    finally:
        changes = recipes.changes(present, text)
        table = tabulate(changes, headers=("parameter", "now", "recipe"), disable_numparse=True)
        print(table if changes else "no change", *notes, sep="\n\n")
    if not arguments.dry_run:
        write_text(PARAMS, text)
        print(f"\n{PARAMS} is now the recipe {name}. `dvc repro` runs it.")
    if not arguments.all:
        kept = recipes.kept(name, present)
        if data_path:
            kept.pop("data_path", None)
        shown = [f"{key} {now} (the recipe: {stated})" for key, (now, stated) in kept.items()]
        if shown:
            print(f"\nkept from {PARAMS}: {', '.join(shown)}. {replaces}")
    if name.startswith("cityscapes") and Path(p.data_path) == SYNTHETIC:
        print(
            f"\ndata_path is still {p.data_path}, the embedded scenes: set it to the folder of Cityscapes "
            f"(adl recipe {name} --data-path PATH)."
        )


def _fit(p: Params) -> tuple[dict[str, Any], list[str]]:
    """What must differ from a recipe for the images in data_path, and what a person should know of them.

    Their names are looked at, and the header of one.
    """
    root = Path(p.data_path)
    if root == SYNTHETIC:
        return {}, []
    notes = []
    frames = {}
    for split, expected in expected_images(p).items():
        found = pairs(root, split, CITYSCAPES)
        frames[split] = found.frames
        count = len(found.frames)
        if not count:
            notes.append(f"data_path: {found.problems[0]}")
        elif expected not in (None, count):
            notes.append(
                f"{root} has {counted(count, f'{split} image')}, but this recipe is for {expected}: `dvc repro` "
                f"will refuse it. `adl check-data {root} --official` says what is missing."
            )
    fitting: dict[str, Any] = {}
    images = len(frames["train"])
    steps = p.epochs * steps_per_epoch(images, p.batch_size)
    if images and p.warmup_iters >= steps:
        fitting["warmup_iters"] = steps // 10
        notes.append(
            f"warmup_iters {steps // 10} (the recipe: {p.warmup_iters}): {counted(images, 'train image')} make "
            f"{counted(steps, 'step')}."
        )
    # A file that cannot be read is reported by `check`.
    with contextlib.suppress(DataError, IndexError):
        width, height = png.header(frames["val"][0].image, CITYSCAPES.images).size
        if (width, height) != (p.export_width, p.export_height):
            fitting |= {"export_width": width, "export_height": height}
            notes.append(
                f"export_width and export_height are those of the val images: {width} × {height}."
            )
    # A missing folder is missing for both splits.
    return fitting, list(dict.fromkeys(notes))


def _with_machine_keys(name: str) -> str:
    """The command that takes the machine keys from a recipe too; only the shipped one has data."""
    command = f"adl recipe {name} --all"
    return command if name == recipes.SHIPPED else f"{command} --data-path PATH"


def _list(present: Mapping[str, Any]) -> None:
    """Print every recipe with its sentence, its steps and the rough time of its training."""
    device = "Ascend" if present.get("device_target") == "Ascend" else "CPU"
    rows = []
    for name in recipes.names():
        p = recipes.load(name, present)
        images = CITYSCAPES.split_sizes["train"]
        if name == recipes.SHIPPED:
            images = p.synthetic_train_images
        steps = p.epochs * steps_per_epoch(images, p.batch_size)
        seconds = estimate.training_seconds(p, steps=steps, device_target=device)
        rows.append((name, recipes.about(name), f"{steps:,}", rough_duration(seconds)))
    headers = ("recipe", "", "steps", f"training on {device}")
    print(tabulate(rows, headers=headers, maxcolwidths=[None, 62]))
    print(
        f"\nTimes: {estimate.basis(device)}\nadl recipe NAME --dry-run shows what a recipe would change in {PARAMS}."
    )
