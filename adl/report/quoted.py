"""Published figures that this project quotes and has not measured, each with its source: rows of tables."""

from __future__ import annotations

MODEL_ZOO = "README of Auto-DeepLab in the MindSpore model zoo, 2021"
PAPER = "Liu et al., Auto-DeepLab, CVPR 2019"

RUNS = {
    "cityscapes": {
        "cityscapes-0.5M": {
            "Itr": "0.5M",
            "mIOU 2021": "76.16",
            "mIOU in paper": "75.20",
            "epochs": "1300",
            "bn_momentum": "0.995",
        },
        "cityscapes-1.0M": {
            "Itr": "1.0M",
            "mIOU 2021": "77.30",
            "mIOU in paper": "77.09",
            "epochs": "2700",
            "bn_momentum": "0.9",
        },
        "cityscapes-1.5M": {
            "Itr": "1.5M",
            "mIOU 2021": "78.13",
            "mIOU in paper": "78.00",
            "epochs": "4000",
            "bn_momentum": "0.99",
        },
        "cityscapes-1.5M-drop-path": {
            "Itr": "1.5M, drop path",
            "mIOU in paper": "79.74",
        },
    }
}
RUNS["synthetic"] = RUNS["cityscapes"]  # whose place the drawn scenes take
"""Descriptor's name of a data set → recipe → Auto-DeepLab-S on its val split; what is not stated is left out.

mIOU in percent.
"""

TRAINING = {
    "cityscapes": {
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
}
TRAINING["synthetic"] = TRAINING["cityscapes"]
INFERENCE = {
    "cityscapes": {
        "Resource": "Ascend 310 × 1",
        "Uploaded": "12/6/2021 (month/day/year)",
        "MindSpore": "1.3.0",
        "Dataset": "Cityscapes (full image 1024×2048)",
        "Speed": "1677.48 ms/image",
    }
}
INFERENCE["synthetic"] = INFERENCE["cityscapes"]
"""Data set → rows of the model zoo's tables."""
