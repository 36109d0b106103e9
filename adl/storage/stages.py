"""What each stage runs, reads and writes, as dvc.yaml declares it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

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
_DATA = (DATA_PATH, "data/", "models/", "metrics/", "reports/")
"""How the names of inputs begin that are downloaded; the others are code."""
_OF_THE_JOB = {str(CHECKED), str(START_WEIGHTS)}  # a job makes them for itself


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
    """Every stage of both dvc.yaml but `check`."""
    if not STAGES.exists():
        raise AdlError(f"{STAGES}: no such file. Start the job in the project's folder.")
    yaml = YAML(typ="safe")
    declared = yaml.load(SYNTHETIC_STAGES)["stages"] | yaml.load(STAGES)["stages"]
    del declared["check"]
    found = {}
    for name, body in declared.items():
        for item in body.get("foreach", [""]):
            full = f"{name}@{item}" if item else name
            found[full] = _stage(full, body.get("do", body), item)
    return found


def _stage(name: str, body: Mapping[str, Any], item: str) -> Stage:
    inputs = []
    for dependency in _names(body, "deps", item):
        if dependency.startswith(_DATA) and dependency not in _OF_THE_JOB:
            inputs.append(dependency)
    outputs = [*_names(body, "outs", item), *_names(body, "metrics", item)]
    # How fast a stage was differs from run to run, so DVC need not know of it, nor of the page that shows it.
    if name == "report":
        inputs += [str(CHECKPOINT), str(SPEED)]
        outputs += [str(PERFORMANCE), str(PERFORMANCE_PAGE)]
    else:
        outputs.append(str(SPEED / f"{name.replace('@', '_')}.json"))
    if name == "export":
        # It saves time where it is there, and is computed otherwise: a job may export before it evaluates.
        inputs.remove(str(PREDICTIONS / "evaluate"))
    command = body["cmd"].replace("${item}", item).removeprefix("exec python ").split()
    return Stage(name, command, inputs, outputs, results=name)


def _names(body: Mapping[str, Any], section: str, item: str) -> list[str]:
    """The paths in a section of a stage; an entry with options is a mapping of one path."""
    entries = body.get(section, [])
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [name.replace("${item}", item) for name in names]
