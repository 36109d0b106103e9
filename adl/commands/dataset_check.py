"""check the folder of a data set, and report every problem

The table of classes says of each how much of the pixels it has, and how many images show it.

reads:  the folder, as the file of the data set describes it; params.yaml for those that are not given
writes: nothing; two tables and the problems to the terminal, or JSON

example: adl dataset check /data/cityscapes --official --deep
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from adl.config import params
from adl.console.text import counted
from adl.dataset import descriptor
from adl.errors import AdlError
from adl.prepare import is_folder, listing
from adl.prepare.check import check_dataset
from adl.workspace import PARAMS, SYNTHETIC, as_path


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "path", nargs="?", type=as_path, help="folder of the data set; default: data_path of params.yaml"
    )
    command.add_argument("--dataset", metavar="FILE", help="what describes it; default: dataset of params.yaml")
    command.add_argument(
        "--deep",
        action="store_true",
        help="decode every image, not just every label (takes minutes)",
    )
    command.add_argument(
        "--official",
        action="store_true",
        help="it must be the complete Cityscapes: 2975 train, 500 val and 1525 test images",
    )
    command.add_argument("--json", action="store_true", help="print JSON, with every problem")


def parameters() -> params.Params:
    """params.yaml, for what is not given."""
    if not PARAMS.exists():
        raise AdlError(
            "there is no params.yaml here: run this in the project's folder, or name the PATH and the --dataset."
        )
    return params.load()


def crop_size() -> int | None:
    """Of the training, where there are parameters."""
    try:
        return parameters().crop_size
    except AdlError:
        return None


def run(arguments: argparse.Namespace) -> None:
    root = arguments.path
    if root is None:
        root = Path(parameters().data_path)
        if root == SYNTHETIC and not root.exists():
            raise AdlError(
                f"data_path is {root}, the embedded scenes, which the stage synthesize makes (`dvc repro`). Name the "
                "PATH to check another folder."
            )
    if arguments.official:
        dataset = descriptor.shipped("cityscapes")
    elif arguments.dataset:
        dataset = descriptor.load(arguments.dataset)
    else:
        dataset = parameters().descriptor
    splits = [
        name
        for name, split in dataset.splits.items()
        if name not in dataset.withheld or is_folder(root / dataset.images.place(split.folder))
    ]
    found = check_dataset(root, dataset, splits, every_label=True, deep=arguments.deep, crop_size=crop_size())
    verdict = f"{counted(len(found.problems), 'problem')}:\n{listing(found.problems)}"
    if not found.problems:
        pixels = "every byte and pixel" if arguments.deep else f"the pixels of {found.decoded} labels"
        verdict = f"no problem was found; checked: layout, every file's header, duplicates, and {pixels}"
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2, default=str))
    else:
        notes = [f"note: {note}" for note in found.notes]
        print(found.table(), found.table_of_classes(), "\n".join([*notes, verdict]), sep="\n\n")
    if found.problems:
        sys.exit(2)
