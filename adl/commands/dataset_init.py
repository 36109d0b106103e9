"""write the file that describes a data set, as far as its folder tells

reads:  the folder: names of files, the files that name classes, and the pixels of some 200 labels
writes: datasets/NAME.yaml, or --output, with a comment for each guess; the same to the terminal
Layouts that are recognised: Cityscapes, CVAT's masks, VOC, CamVid, COCO, YOLO, labelme, Roboflow's masks, and plain
folders of images and labels, with or without folders of splits.

example: adl dataset init /data/mine --name mine
"""

from __future__ import annotations

import argparse
import re

from adl.dataset import descriptor
from adl.errors import AdlError
from adl.files import check_output, write_text
from adl.prepare import is_folder
from adl.prepare.guess import guess
from adl.workspace import DATASETS, as_path


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=as_path, help="folder of the data set")
    command.add_argument("--name", help="short name, in lower case; default: that of the folder")
    command.add_argument("--output", type=as_path, metavar="FILE", help="default: datasets/NAME.yaml")
    command.add_argument("--force", action="store_true", help="replace a file that is there")


def run(arguments: argparse.Namespace) -> None:
    root = arguments.folder
    if not is_folder(root):
        raise AdlError("is no folder", "Name the folder that holds the images and labels.", where=root)
    name = arguments.name or re.sub(r"[^a-z0-9]+", "-", root.resolve().name.lower()).strip("-") or "mine"
    output = arguments.output or DATASETS / f"{name}.yaml"
    check_output(output, suffix=".yaml")
    if output.exists() and not arguments.force:
        raise AdlError("exists", "--force replaces it; --output names another place.", where=output)
    found = guess(root, name)
    # What was guessed must be a data set.
    descriptor.parse(found.content, output)
    write_text(output, found.text(f"Guessed by `adl dataset init` from {root}: correct what is wrong."))
    for key, reason in found.reasons.items():
        print(f"{key}: {reason}")
    following = "draw its splits" if "draw" in found.content else "look at it"
    action = "split" if "draw" in found.content else "show"
    print(f"{output}: written; {following} with: adl dataset {action} {root} --dataset {output}")
