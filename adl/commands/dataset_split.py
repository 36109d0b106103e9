"""draw the splits of a data set whose images are all in one folder

By group, so that the frames of one film lie on one side. The file of the data set states it as `draw:`; options are
written there. Drawn again, every frame stays on its side, and only new groups are placed.

reads:  the folder, the file of the data set; params.yaml for those that are not given
writes: datasets/NAME.split.json, to be committed; `draw:` in the file of the data set, if an option is given

example: adl dataset split /data/mine --dataset datasets/mine.yaml --val 0.15 --group "(film[0-9]+)_"
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from adl.commands.dataset_check import parameters
from adl.console.text import percentage
from adl.dataset import descriptor
from adl.dataset.descriptor import Draw
from adl.errors import AdlError
from adl.files import write_text
from adl.prepare import draw
from adl.prepare.layout import Split
from adl.workspace import as_path

OPTIONS = ("val", "test", "group", "seed")


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path", nargs="?", type=as_path, help="folder of the data set; default: data_path of params.yaml"
    )
    command.add_argument(
        "--dataset", metavar="FILE", type=as_path, help="what describes it; default: dataset of params.yaml"
    )
    command.add_argument("--val", type=float, help="part of the images, 0-1; 0.15 unless the file says otherwise")
    command.add_argument("--test", type=float, help="part of the images, 0-1; 0.1 unless the file says otherwise")
    command.add_argument("--group", metavar="REGEX", help="its first group in a name tells what belongs together")
    command.add_argument("--seed", type=int, help="of the draw; 0 unless the file says otherwise")
    command.add_argument("--redraw", action="store_true", help="draw everything anew: frames may change their side")


def run(arguments: argparse.Namespace) -> None:
    file = arguments.dataset or Path(parameters().dataset)
    options = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    if options:
        _state(file, options)
    dataset = descriptor.load(file)
    if dataset.draw is None:
        raise AdlError(
            "its splits are folders or lists, which are not drawn",
            "Write `draw: {val: 0.15, test: 0.1}` instead of `splits:`, and patterns without {split}.",
            where=file,
        )
    root = arguments.path or Path(parameters().data_path)
    names = Split(root, "train", dataset.model_copy(update={"draw": None})).passed().images.keys()
    kept: draw.Names = {}
    if draw.lock_file(dataset).exists() and not arguments.redraw:
        kept = draw.read(dataset)
    splits = draw.drawn(names, dataset.draw, kept)
    rows = [
        {
            "split": split,
            "images": f"{len(members):,}",
            "groups": f"{len({draw.group_of(name, dataset.draw) for name in members}):,}",
            "%": percentage(100 * len(members) / len(names)),
        }
        for split, members in splits.items()
    ]
    print(tabulate(rows, headers="keys", colglobalalign="right", colalign=["left"], disable_numparse=True))
    path = draw.write(dataset, splits)
    print(f"\n{path}: commit it, for the stages refuse to run without it.")


def _state(file: Path, options: Mapping[str, object]) -> None:
    """Write the settings of a draw into the file of a data set. Raises AdlError if it is not valid with them."""
    text = file.read_text(encoding="utf-8")
    block = re.search(r"^draw:.*\n?(?:[ \t]+.*\n?)*", text, re.MULTILINE)
    settings = dict(options)
    if block:
        settings = {**(descriptor.yaml_of(block[0], file)["draw"] or {}), **options}
        text = text.replace(block[0], "")
    # The file is parsed with the settings as they are given, so that what is wrong is told by its name there.
    parsed = descriptor.parse(descriptor.yaml_of(text, file) | {"draw": settings}, file)
    write_text(file, f"{text.rstrip()}\n\ndraw: {(parsed.draw or Draw()).stated()}\n")
