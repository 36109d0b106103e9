"""adl check-data: what is in a Cityscapes folder, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from adl import params, recipes
from adl.cityscapes import IMAGES, SPLITS
from adl.cityscapes.faults import is_folder, listing
from adl.cityscapes.survey import survey
from adl.commands import add_command
from adl.errors import AdlError

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


def parameters() -> params.Params:
    """params.yaml, for its data_path where no PATH is given."""
    if not Path("params.yaml").exists():
        raise AdlError("there is no params.yaml here: run this in the project's folder, or name the PATH.")
    return params.load()


def run(arguments: argparse.Namespace) -> None:
    root: Path | None = arguments.path
    expected = {}
    if root is None:
        p = parameters()
        root = Path(p.data_path)
        expected = {"train": p.expected_train_images, "val": p.expected_val_images}
        if root == recipes.SYNTHETIC and not root.exists():
            raise AdlError(
                f"data_path is {root}, the embedded scenes, which the stage synthesize makes (`dvc repro`). Name the "
                "PATH to check another folder."
            )
    splits = (*SPLITS, "test") if is_folder(root / IMAGES / "test") else SPLITS
    found = survey(root, splits, expected=expected, official=arguments.official, deep=arguments.deep)
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        if any(split.images or split.labels for split in found.splits.values()):
            print(found.table())
        if found.faults:
            print(f"{len(found.faults)} fault{'s' if len(found.faults) > 1 else ''}:\n{listing(found.faults)}")
        else:
            looked = "every byte and pixel" if arguments.deep else f"the pixels of {found.decoded} labels"
            print(f"no fault: layout, every file's header, copies, and {looked} were checked")
    if found.faults:
        sys.exit(2)
