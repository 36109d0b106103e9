"""adl check-data: what is in a Cityscapes folder, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adl import params
from adl.cityscapes import IMAGES, SPLIT_SIZES, SPLITS
from adl.cityscapes.faults import listing
from adl.cityscapes.survey import survey
from adl.commands import add_command

DESCRIPTION = """look at a Cityscapes folder, and name every fault

reads:  the folder's leftImg8bit/ and gtFine/; params.yaml for data_path and the expected counts where no PATH is given
writes: nothing; a table and the faults to the terminal, or JSON"""


def add(subcommands: Any) -> None:
    command = add_command(
        subcommands,
        "check-data",
        run,
        description=DESCRIPTION,
        example="adl check-data /data/cityscapes --official --deep",
    )
    command.add_argument("path", nargs="?", type=Path, help="folder that holds leftImg8bit/ and gtFine/")
    command.add_argument("--deep", action="store_true", help="decode every file (minutes), not only some labels")
    command.add_argument(
        "--official", action="store_true", help="insist on the whole data set: 2975 train and 500 val images"
    )
    command.add_argument("--json", action="store_true", help="print JSON, with every fault")


def run(arguments: argparse.Namespace) -> None:
    root: Path | None = arguments.path
    expected: Mapping[str, int | None] = {}
    if root is None:
        p = params.load()
        root = Path(p.data_path)
        expected = {"train": p.expected_train_images, "val": p.expected_val_images}
    if arguments.official:
        expected = SPLIT_SIZES
    splits = (*SPLITS, "test") if (root / IMAGES / "test").is_dir() else SPLITS
    found = survey(root, splits, expected=expected, deep=arguments.deep)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print(f"{found.table()}\n" if any(split.images for split in found.splits.values()) else "", end="")
        if found.faults:
            print(f"{len(found.faults)} fault{'s' if len(found.faults) > 1 else ''}:\n{listing(found.faults)}")
        else:
            looked = "every byte and pixel" if arguments.deep else f"the pixels of {found.decoded} labels"
            print(f"no fault: layout, every file's header, copies, and {looked} were checked")
    if found.faults:
        sys.exit(2)
