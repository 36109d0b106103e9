"""check a Cityscapes folder, and report every problem

reads:  the folder's leftImg8bit/ and gtFine/; params.yaml for data_path and the expected counts if no PATH is given
writes: nothing; a table and the problems to the terminal, or JSON

example: adl check-data /data/cityscapes --official --deep
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from adl.config import params
from adl.console.text import counted
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.preflight import expected_images
from adl.prepare import is_folder, listing
from adl.prepare.check import check_dataset
from adl.workspace import PARAMS, SYNTHETIC, as_path


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", nargs="?", type=as_path, help="folder that holds leftImg8bit/ and gtFine/")
    command.add_argument(
        "--deep",
        action="store_true",
        help="decode every file, not just a sample of the labels (takes minutes)",
    )
    command.add_argument(
        "--official",
        action="store_true",
        help="require the complete data set: 2975 train and 500 val images",
    )
    command.add_argument("--json", action="store_true", help="print JSON, with every problem")


def parameters() -> params.Params:
    """params.yaml, for its data_path if no PATH is given."""
    if not PARAMS.exists():
        raise AdlError("there is no params.yaml here: run this in the project's folder, or name the PATH.")
    return params.load()


def run(arguments: argparse.Namespace) -> None:
    root, expected = arguments.path, {}
    if root is None:
        p = parameters()
        root = Path(p.data_path)
        expected = expected_images(p)
        if root == SYNTHETIC and not root.exists():
            raise AdlError(
                f"data_path is {root}, the embedded scenes, which the stage synthesize makes (`dvc repro`). Name the "
                "PATH to check another folder."
            )
    unlabelled = [split for split in CITYSCAPES.withheld if is_folder(root / CITYSCAPES.images.folder / split)]
    found = check_dataset(
        root,
        CITYSCAPES,
        [*CITYSCAPES.labelled_splits, *unlabelled],
        expected=expected,
        official=arguments.official,
        deep=arguments.deep,
    )
    verdict = f"{counted(len(found.problems), 'fault')}:\n{listing(found.problems)}"
    if not found.problems:
        pixels = "every byte and pixel" if arguments.deep else f"the pixels of {found.decoded} labels"
        verdict = f"no fault was found; checked: layout, every file's header, duplicates, and {pixels}"
    if arguments.json:
        print(json.dumps(found.to_json(), indent=2, default=str))
    else:
        print(found.table(), verdict, sep="\n")
    if found.problems:
        sys.exit(2)
