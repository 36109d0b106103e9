"""What a training run follows from: the key that names its state, and the code that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from adl import artifacts, workspace
from adl import params as schema
from adl.architecture import Architecture
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.records import read_manifest
from adl.errors import AdlError
from adl.params import Params
from adl.training.state import State

OPTIONS = ("save_epochs", "keep_checkpoints", "eval_epochs")
"""Parameters that change what a run keeps and shows, but not its weights; they are not in the key."""
FORMAT = 3
"""Of what a state holds; another one is another key."""


def key_of(
    params: Params, dataset: DatasetDescriptor, record: Path, val_record: Path
) -> dict[str, Any]:
    """All that changes the result of a training run. Raises AdlError if a file is missing."""
    if not workspace.START_WEIGHTS.exists():
        raise AdlError(
            f"{workspace.START_WEIGHTS}: no such file. `dvc repro mindrecord` makes it, and the records."
        )
    architecture = Architecture.from_params(params)
    return {
        "format": FORMAT,
        "params": params.model_dump(include=set(schema.of_stage("train"))),
        "contents": {
            "net_arch": " ".join(map(str, architecture.net)),
            "cell_arch": " ".join(
                f"({before}, {operation})" for before, operation in architecture.cell
            ),
            "ckpt_name": workspace.START_WEIGHTS.read_text(encoding="utf-8").strip(),
            # The val data changes no weights, but the curves that belong to the result.
            **{path.stem: read_manifest(path, dataset)["digest"] for path in (record, val_record)},
        },
    }


def state_of(root: Path, key: Mapping[str, Any]) -> State:
    """The state that belongs to a key."""
    text = json.dumps(key, sort_keys=True)
    return State(root / hashlib.sha256(text.encode()).hexdigest()[:16])


def parts(key: Mapping[str, Any]) -> dict[str, Any]:
    """What a key is made of, under the names that people know; if it names a file, its content as well."""
    contents = {f"content of {name}": content for name, content in key.get("contents", {}).items()}
    return {"format": key["format"], **key["params"], **contents}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two keys differ in, with both values. A file's content counts if both name the same file."""
    before, now = parts(old), parts(new)
    differing = [
        name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)
    ]
    return [
        f"{name}: {before.get(name)} there, {now.get(name)} now"
        for name in differing
        if name.removeprefix("content of ") not in set(differing) - {name}
    ]


def code_digest() -> str:
    """Digest of the code that the stage `train` depends on, as dvc.yaml lists it."""
    stages = YAML(typ="safe").load(workspace.STAGES)["stages"]
    listed = [Path(dep) for dep in stages["train"]["deps"] if dep.startswith(("adl/", "pipeline/"))]
    return artifacts.code_digest(listed, root=Path())
