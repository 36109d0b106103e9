"""list the recipes, write one to params.yaml, or bring params.yaml up to date

reads:  pipeline/recipes/*.yaml, params.yaml
writes: params.yaml, comments kept: the machine keys (data_path, device_target, device_num, workers) stay as they are,
        every other value is overwritten with the recipe's. Where data_path holds images, warmup_iters and the
        exported size are made to fit them. --all replaces the whole file, also one that cannot be read. --update keeps
        every value of a file that another version wrote, adds the parameters that it lacks, drops those that no longer
        exist

example: adl recipe cityscapes-cpu --data-path /data/cityscapes --dry-run
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import preflight
from adl.config import params, recipes
from adl.config.params import Params
from adl.console import estimate
from adl.console.text import counted, rough_duration
from adl.dataset.order import steps_per_epoch
from adl.errors import AdlError
from adl.files import write_text
from adl.prepare import DataError, images
from adl.prepare.layout import Split
from adl.workspace import PARAMS, SYNTHETIC


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", metavar="NAME", help="without it: list them")
    command.add_argument("--update", action="store_true", help="bring the present file up to date, without a NAME")
    command.add_argument("--dry-run", action="store_true", help="only show what would change")
    command.add_argument(
        "--all",
        action="store_true",
        help="take the machine keys from the recipe too, whatever params.yaml holds",
    )
    command.add_argument("--data-path", metavar="PATH", help="set data_path too")


def run(arguments: argparse.Namespace) -> None:
    name = arguments.name
    if arguments.update:
        if name or arguments.all or arguments.data_path:
            raise AdlError("--update keeps the present values: leave out the NAME, --all and --data-path.")
        _update(dry=arguments.dry_run)
        return
    if name is None:
        if arguments.dry_run or arguments.all or arguments.data_path:
            raise AdlError("--dry-run, --all and --data-path need the NAME of a recipe (`adl recipe` lists them).")
        _list()
        return
    stated = recipes.machine_keys(recipes.stated(name))
    try:
        p = _write(arguments)
    except AdlError as error:
        if arguments.all:
            raise
        raise AdlError(
            f"{error}\nThe machine keys are kept from {PARAMS}; --all replaces the whole file, and --data-path says "
            "where the data are."
        ) from None
    of_machine = [
        f"{key} {getattr(p, key)} (the recipe: {value})" for key, value in stated.items() if getattr(p, key) != value
    ]
    if of_machine:
        print(f"\nof this machine: {', '.join(of_machine)}. --all takes those of the recipe.")


def _update(*, dry: bool) -> None:
    text = recipes.updated()
    print(recipes.changes(recipes.present(), text, "then") or "no change")
    params.parse(text, f"{PARAMS} brought up to date")
    if not dry:
        write_text(PARAMS, text)


def _write(arguments: argparse.Namespace) -> Params:
    """Show what a recipe changes in params.yaml, and write it; returns what it holds then."""
    present: dict[str, Any] = {}
    try:
        present = recipes.present()
    except AdlError:
        if not arguments.all:
            raise
        print(f"{PARAMS} cannot be read: the machine keys are taken from the recipe.\n")
    kept = {} if arguments.all else dict(present)
    if arguments.data_path is not None:
        kept["data_path"] = params.plain("data_path", arguments.data_path)
    text = recipes.text(arguments.name, kept)
    source = f"recipe {arguments.name} with the values of this machine"
    notes = []
    try:
        for fitting, note in _fits(params.parse(text, source), arguments.name):
            text = recipes.edited(text, fitting)
            notes.append(note)
        p = params.parse(text, source)
    finally:
        print(recipes.changes(present, text, "recipe") or "no change", *notes, sep="\n\n")
    if not arguments.dry_run:
        write_text(PARAMS, text)
        print(f"\n{PARAMS} is now the recipe {arguments.name}. `dvc repro` runs it.")
    return p


def _fits(p: Params, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(What must differ from a recipe for the images in data_path, what a person should know of that).

    Their names are looked at, and the header of one.
    """
    root = Path(p.data_path)
    if root == SYNTHETIC:
        if name != recipes.SHIPPED:
            yield (
                {},
                f"data_path is still {root}, the embedded scenes: set it to the folder of {p.descriptor.title} "
                f"(adl recipe {name} --data-path PATH).",
            )
        return
    dataset = p.descriptor
    splits = {split: Split(root, split, dataset) for split in dataset.labelled_splits}
    for found in splits.values():
        if not found.frames:
            yield {}, f"data_path: {found.problems[0]}"
            return
    try:
        preflight.check_counts(p)
    except AdlError as error:
        yield {}, f"`dvc repro` will refuse these data: {error}"
    train_images = len(splits["train"].frames)
    steps = p.epochs * steps_per_epoch(train_images, p.batch_size)
    if p.warmup_iters >= steps:
        yield (
            {"warmup_iters": steps // 10},
            f"warmup_iters {steps // 10} (the recipe: {p.warmup_iters}): {counted(train_images, 'train image')} make "
            f"{counted(steps, 'step')}.",
        )
    try:
        image = images.header(splits["val"].frames[0].image, dataset.images)
        width, height = images.size_of(image, dataset)
    except DataError:
        return  # `check` reports a file that cannot be read
    if (width, height) != (p.export_width, p.export_height):
        yield (
            {"export_width": width, "export_height": height},
            f"export_width and export_height are those of the val images: {width} × {height}.",
        )


def _list() -> None:
    """Print every recipe with its sentence, its steps and the rough time of its training."""
    present = recipes.present()
    device = "Ascend" if present.get("device_target") == "Ascend" else "CPU"
    rows = []
    for name in recipes.names():
        p = recipes.load(name, present)
        images = p.descriptor.expect.get("train", p.synthetic_train_images)
        steps = p.epochs * steps_per_epoch(images, p.batch_size)
        seconds = estimate.training_seconds(p, steps=steps, device_target=device)
        rows.append((name, recipes.about(name), f"{steps:,}", rough_duration(seconds)))
    print(
        tabulate(
            rows,
            headers=("recipe", "", "steps", f"training on {device}"),
            maxcolwidths=[None, 62],
        )
    )
    print(f"\nTimes: {estimate.basis(device)}\nadl recipe NAME --dry-run shows what a recipe would change in {PARAMS}.")
