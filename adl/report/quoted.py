"""Published figures that this project quotes and has not measured, each with its source."""

from __future__ import annotations

import dataclasses

MODEL_ZOO = "README of Auto-DeepLab in the MindSpore model zoo, 2021"
PAPER = "Liu et al., Auto-DeepLab, CVPR 2019"


@dataclasses.dataclass(frozen=True)
class Quoted:
    """A published run. miou: of the model zoo, percent. None: not stated."""

    iterations: str
    epochs: int | None
    bn_momentum: float | None
    miou: float | None
    paper: float


DATASET = "cityscapes"
"""Descriptor's name of the data set that all of it is about."""

RUNS = {
    "cityscapes-0.5M": Quoted("0.5M", 1300, 0.995, 76.16, 75.20),
    "cityscapes-1.0M": Quoted("1.0M", 2700, 0.9, 77.30, 77.09),
    "cityscapes-1.5M": Quoted("1.5M", 4000, 0.99, 78.13, 78.00),
    "cityscapes-1.5M-drop-path": Quoted("1.5M, drop path", None, None, None, 79.74),
}
"""Recipe → Auto-DeepLab-S on Cityscapes val."""

TRAINING = {
    "Resource": "Ascend 910 × 8; CPU 2.60 GHz, 192 cores; memory 755 G",
    "Uploaded": "11/11/2021 (month/day/year)",
    "MindSpore": "1.3.0",
    "Dataset": "Cityscapes (cropped 769×769)",
    "Training parameters": "epochs (1300, 2700, 4000), batch_size 16, base_lr 0.05, bn_momentum (0.995, 0.9, 0.99)",
    "Optimizer": "Momentum",
    "Loss": "cross entropy with online hard example mining",
    "Outputs": "probability",
    "Speed": "589.757 ms/step (8 devices)",
    "Total time": "(42, 82, 125) hours (8 devices)",
    "Checkpoint": "85.37 MB",
}
INFERENCE = {
    "Resource": "Ascend 310 × 1",
    "Uploaded": "12/6/2021 (month/day/year)",
    "MindSpore": "1.3.0",
    "Dataset": "Cityscapes (full image 1024×2048)",
    "Speed": "1677.48 ms/image",
}
"""Rows of the model zoo's tables."""


def runs(dataset: str) -> dict[str, Quoted]:
    """Recipe → published run on a data set. dataset: the descriptor's name."""
    return RUNS if dataset == DATASET else {}


def training(dataset: str) -> dict[str, str]:
    """The published table of training performance on a data set."""
    return TRAINING if dataset == DATASET else {}


def inference(dataset: str) -> dict[str, str]:
    """The published table of inference performance on a data set."""
    return INFERENCE if dataset == DATASET else {}
