"""draw sixteen images with their labels on one sheet

reads:  the folder of the data set, the file that describes it; params.yaml for those that are not given
writes: dataset.png, or --output: images spread over the split, blended with their labels, and the classes that occur

example: adl dataset show /data/camvid --dataset datasets/camvid.yaml --split train
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from adl.commands.dataset_check import parameters
from adl.dataset import descriptor, records
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import check_output
from adl.predict.overlays import overlay
from adl.prepare import images
from adl.prepare.labels import LabelFiles
from adl.prepare.layout import Split
from adl.workspace import as_path

SHOWN = 16
LONGEST_SIDE = 640
"""Of an image on the sheet, in pixels."""


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", nargs="?", type=as_path, help="folder; default: data_path of params.yaml")
    command.add_argument("--dataset", metavar="FILE", help="what describes it; default: dataset of params.yaml")
    command.add_argument("--split", default="val", help="default: %(default)s")
    command.add_argument(
        "--output", type=as_path, default=Path("dataset.png"), metavar="FILE", help="picture; default: %(default)s"
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.report import figures

    check_output(arguments.output, suffix=".png")
    dataset = descriptor.load(arguments.dataset) if arguments.dataset else parameters().descriptor
    root = arguments.path or Path(parameters().data_path)
    dataset.check_labelled(arguments.split)
    frames = Split(root, arguments.split, dataset).passed().frames
    files = LabelFiles(frames, dataset)
    pictures, occurring = {}, np.zeros(256, int)
    for number in sorted(records.evenly(len(frames))[:SHOWN]):
        image, label = files.read_frame(frames[number])
        occurring += label.pixels
        pictures[frames[number].name] = _small_overlay(images.decode(image, dataset.images), label.train_ids, dataset)
    colours = {name: dataset.palette[i] for i, name in enumerate(dataset.class_names) if occurring[i]}
    if occurring[descriptor.IGNORE]:
        colours["(ignored)"] = dataset.palette[descriptor.IGNORE]
    title = f"{dataset.title}, {arguments.split}: {len(pictures)} of {len(frames)} images"
    figures.save(figures.sheet(pictures, colours, title), arguments.output)
    print(f"{arguments.output}: {title}")


def _small_overlay(image: np.ndarray, labels: np.ndarray, dataset: DatasetDescriptor) -> np.ndarray:
    """As large as a sheet can show it, (h, w, 3) uint8 RGB. image: (H, W, 3) uint8 BGR. labels: (H, W) train ids."""
    scale = min(1, LONGEST_SIDE / max(labels.shape))
    image, labels = (
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
        for picture, how in ((image, cv2.INTER_AREA), (labels, cv2.INTER_NEAREST))
    )
    return overlay(image, labels, dataset)
