"""What each stage runs, reads and writes, as dvc.yaml declares it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ruamel.yaml import YAML

from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.workspace import (
    CHECKED,
    CHECKPOINT,
    PERFORMANCE,
    PERFORMANCE_PAGE,
    PREDICTIONS,
    SPEED,
    STAGES,
    START_WEIGHTS,
    SYNTHETIC_STAGES,
)

DATA_PATH = "${data_path}"
"""Stands in the names of inputs for the folder of the raw data."""


@dataclasses.dataclass
class Stage:
    """name: as DVC names it, such as mindrecord@val. command: arguments of Python.

    results: the name under which a job leaves what it wrote. checkpoint: a file of pretrained/ that it reads.
    """

    name: str
    command: list[str]
    inputs: list[str]
    outputs: list[str]
    results: str
    checkpoint: str | None = None


def stages() -> dict[str, Stage]:
    """Every stage of both dvc.yaml but `check` and `files`."""
    if not STAGES.exists():
        raise AdlError(f"{STAGES}: no such file. Start the job in the project's folder.")
    yaml = YAML(typ="safe")
    declared = yaml.load(SYNTHETIC_STAGES)["stages"] | yaml.load(STAGES)["stages"]
    del declared["check"], declared["files"]
    found = {}
    for name, body in declared.items():
        template = json.dumps(body.get("do", body))
        for item in body.get("foreach", [""]):
            full = f"{name}@{item}".rstrip("@")
            found[full] = _stage(full, json.loads(template.replace("${item}", item)))
    return found


def raw_data(dataset: DatasetDescriptor, split: str) -> list[str]:
    """What holds the images and labels of a split, which a job reads instead of the list of their digests."""
    folder = dataset.splits[split].folder
    return [f"{DATA_PATH}/{kind.place(folder)}" for kind in (dataset.images, dataset.labels)]


def _stage(name: str, body: dict[str, Any]) -> Stage:
    # The other dependencies are code, or what a job makes for itself.
    folders = (DATA_PATH, "data/", "models/", "metrics/", "reports/")
    made_here = (str(CHECKED), str(START_WEIGHTS))
    inputs = [path for path in body["deps"] if path.startswith(folders) and path not in made_here]
    outputs: list[str] = []
    for entry in body["outs"] + body.get("metrics", []):
        # An entry with options is a mapping of one path.
        outputs += [entry] if isinstance(entry, str) else entry
    # How fast a stage was differs from run to run, so DVC need not know of it, nor of the page that shows it.
    if name == "report":
        inputs += [str(CHECKPOINT), str(SPEED)]
        outputs += [str(PERFORMANCE), str(PERFORMANCE_PAGE)]
    else:
        outputs.append(str(SPEED / f"{name.replace('@', '_')}.json"))
    if name == "export":
        # It saves time where it is there, and is computed otherwise: a job may export before it evaluates.
        inputs.remove(str(PREDICTIONS / "evaluate"))
    return Stage(
        name,
        command=body["cmd"].removeprefix("exec python ").split(),
        inputs=inputs,
        outputs=outputs,
        results=name,
    )
