"""A data set of one's own: photographs as JPEG in four sizes, palette masks, splits in list files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from adl.dataset.descriptor import IGNORE

CLASSES = {
    "grass": (10, [40, 160, 40]),
    "path": (20, [200, 180, 120]),
    "shed": (30, [150, 60, 40]),
    "pond": (40, [40, 80, 200]),
    "hedge": (50, [20, 90, 50]),
    "cat": (60, [230, 140, 20]),
    "stone": (255, [128, 128, 128]),
}
"""Class → its value in the masks and its colour, in the order of the train ids."""
VALUES = np.array([value for value, _ in CLASSES.values()], np.uint8)
COLOURS = np.array([colour for _, colour in CLASSES.values()], np.uint8)
VOID = 0
SIZES = [(96, 64), (110, 80), (128, 96), (150, 110)]
"""Width and height of the images, in turn."""
SPLITS = {"train": 5, "val": 4, "test": 4}


def description() -> str:
    """The file of the data set. val is listed in pairs, and lies elsewhere than the patterns say."""
    lines = [f"  - {{name: {name}, colour: {colour}, values: [{value}]}}" for name, (value, colour) in CLASSES.items()]
    classes = "\n".join(lines)
    return f"""\
name: garden
title: Garden
splits:
  train: {{list: lists/train.txt}}
  val: {{list: lists/val.txt, prefix: /home/somebody/}}
  test: {{list: lists/test.txt}}
images:
  pattern: "images/{{name}}.jpg"
labels:
  pattern: "masks/{{name}}.png"
  format: palette
classes:
{classes}
ignored:
  - {{name: void, values: [{VOID}]}}
"""


def write(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Write the data set in `garden`, and `garden.yaml` beside it.

    Returns what was drawn: split → name → (H, W) uint8 train ids, 255 where void.
    """
    root = folder / "garden"
    rng = np.random.default_rng(0)
    drawn: dict[str, dict[str, np.ndarray]] = {}
    for split, images in SPLITS.items():
        place = root / "later" if split == "val" else root
        lines = [f"# {split}"]
        drawn[split] = {}
        for number in range(images):
            name = f"{split}{number}"
            width, height = SIZES[number % len(SIZES)]
            image, mask = place / f"images/{name}.jpg", place / f"masks/{name}.png"
            labels = drawn[split][name] = scene(rng, width, height)
            write_photograph(image, labels)
            write_mask(mask, labels)
            pair = [f"/home/somebody/{path.relative_to(root)}" for path in (image, mask)]
            lines.append(" ".join(pair) if split == "val" else name)
        listed = root / f"lists/{split}.txt"
        listed.parent.mkdir(exist_ok=True)
        listed.write_text("\r\n".join([*lines, ""]))
    (folder / "garden.yaml").write_text(description())
    return drawn


def scene(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width) uint8 train ids: a block for each class, and a corner that is void."""
    blocks = np.append(rng.permutation(len(CLASSES)), rng.integers(len(CLASSES))).reshape(2, 4)
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 4 // width
    labels = blocks[rows][:, columns].astype(np.uint8)
    labels[:4, :6] = IGNORE
    return labels


def write_photograph(path: Path, labels: np.ndarray) -> None:
    colours = np.vstack([COLOURS, np.zeros((IGNORE + 1 - len(COLOURS), 3), np.uint8)])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours[labels]).save(path, quality=95)


def write_mask(path: Path, labels: np.ndarray) -> None:
    """With a palette that is not the data set's colours: its indices alone count."""
    values = np.full(IGNORE + 1, VOID, np.uint8)
    values[: len(VALUES)] = VALUES
    mask = Image.fromarray(values[labels], "P")
    mask.putpalette([step for index in range(256) for step in (index, 7 * index % 256, 255 - index)])
    path.parent.mkdir(parents=True, exist_ok=True)
    mask.save(path)
