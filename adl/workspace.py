"""Where everything is: every path of the workspace, relative to its root, which is the current folder."""

from __future__ import annotations

import os
from pathlib import Path

PARAMS = Path("params.yaml")
STAGES = Path("dvc.yaml")
SYNTHETIC_STAGES = Path("pipeline/synthetic/dvc.yaml")
RECIPES = Path("pipeline/recipes")
PRETRAINED = Path("pretrained")
DATASETS = Path("datasets")

SYNTHETIC = Path("data/synthetic")
DRAWN = "trained on drawn scenes: means nothing on photographs"
"""What is said first of a model that has never seen a photograph."""
CHECKED = Path("data/checked.txt")
START_WEIGHTS = Path("data/start_weights.txt")
FILES = Path("data/files")
RECORDS = Path("data/mindrecord")
BASELINES = Path("data/baselines.npz")
PREDICTIONS = Path("data/predictions")

CHECKPOINT = Path("models/autodeeplab.ckpt")
MINDIR = Path("models/autodeeplab.mindir")
EXPORTED = Path("models/exported")

METRICS = Path("metrics")
REPORTS = Path("reports")
SPEED = REPORTS / "speed"
PERFORMANCE = REPORTS / "performance.md"
PERFORMANCE_PAGE = REPORTS / "performance.html"
IMAGE_COUNTS = REPORTS / "evaluate/images.npz"
SCORED = REPORTS / "evaluate/scored.json"

LOGS = Path(".adl/logs")
SURVEYED = Path(".adl/surveyed.json")
STATE_VARIABLE = "ADL_STATE_DIR"


def state_folder() -> Path:
    """Where training runs keep what they need to resume."""
    return as_path(os.environ.get(STATE_VARIABLE, ".adl/state"))


def as_path(text: str) -> Path:
    """The type of an option that is a path."""
    return Path(at_home(text))


def at_home(text: str) -> str:
    """A path as a person wrote it: a shell leaves the ~ of `--output=~/x` to the program."""
    return os.path.expanduser(text)  # noqa: PTH111 (that fails where there is no such user)


def sidecar(model: Path) -> Path:
    """The JSON beside a checkpoint or an exported file that describes it."""
    return model.with_name(f"{model.name}.json")


def record(split: str, folder: Path = RECORDS) -> Path:
    """The MindRecord file of a split, under the name that an earlier version gave it if it has that one only."""
    path = folder / f"{split}.mindrecord"
    return path if path.exists() or not earlier_record(path).exists() else earlier_record(path)


def earlier_record(path: Path) -> Path:
    """Where a file of a record was while there was only Cityscapes. None can be renamed: its name stands in it."""
    return path.with_name(f"cityscapes_{path.name}")


def manifest(record: Path) -> Path:
    """The JSON beside a record: number of images, classes, digest, pixels per class."""
    return record.with_suffix(".json")


def copied_from() -> Path | None:
    """The workspace of which this is a copy that DVC made for an experiment (`--temp`, `--queue`); None: no copy."""
    original, _, _ = str(Path.cwd()).rpartition("/.dvc/tmp/exps/")
    return Path(original) if original else None
