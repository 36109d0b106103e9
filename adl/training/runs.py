"""All runs of a workspace: which state belongs to which parameters and code, which may be used, which is not needed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from adl import files, workspace
from adl.architecture import Architecture
from adl.config import params as schema
from adl.config.params import Params
from adl.dataset.records import read_manifest
from adl.errors import AdlError
from adl.files import remove, write_json
from adl.training.state import State

OPTIONS = {"save_epochs", "keep_checkpoints", "eval_epochs"}
"""Parameters that change what a run keeps and shows, but not its weights; they are not in the key."""


def key_of(params: Params) -> dict[str, Any]:
    """All that changes the result of a training run. Raises AdlError if a file is missing."""
    if not workspace.START_WEIGHTS.exists():
        raise AdlError(f"{workspace.START_WEIGHTS}: no such file. `dvc repro mindrecord` makes it, and the records.")
    architecture = Architecture.from_params(params)
    # The val data changes no weights, but the curves that belong to the result.
    records = {split: workspace.record(split) for split in ("train", "val")}
    return {
        "format": 3,  # of what a state holds: another one is another key
        "params": params.model_dump(include=set(schema.of_stage("train"))),
        "contents": {
            "net_arch": " ".join(map(str, architecture.net)),
            "cell_arch": " ".join(map(str, architecture.cell)),
            "normalise": params.descriptor.normalise.model_dump(mode="json"),
            "ckpt_name": workspace.START_WEIGHTS.read_text(encoding="utf-8").strip(),
            **{f"record_{split}": read_manifest(path, params.descriptor)["digest"] for split, path in records.items()},
        },
    }


def state_of(root: Path, key: Mapping[str, Any]) -> State:
    """The state that belongs to a key."""
    text = json.dumps(key, sort_keys=True).encode()
    return State(root / hashlib.sha256(text).hexdigest()[:16])


def parts(key: Mapping[str, Any]) -> dict[str, Any]:
    """What a key is made of, under the names that people know; if it names a file, its content as well."""
    contents = {f"content of {name}": digest for name, digest in key.get("contents", {}).items()}
    return {"format": key["format"], **key["params"], **contents}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two keys differ in, with both values."""
    params = _changes({"format": old["format"], **old["params"]}, {"format": new["format"], **new["params"]})
    contents = _changes(old.get("contents", {}), new.get("contents", {}))
    # Two files have two contents: then only their names are worth a word.
    return [
        *params.values(),
        *(f"content of {change}" for name, change in contents.items() if name not in params),
    ]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Name of what differs → both values, in words."""
    return {
        name: f"{name}: {before.get(name)} there, {now.get(name)} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def code_digest() -> str:
    """Digest of the code that the stage `train` depends on, as dvc.yaml lists it."""
    deps = YAML(typ="safe").load(workspace.STAGES)["stages"]["train"]["deps"]
    listed = [Path(dep) for dep in deps if dep.startswith(("adl/", "pipeline/"))]
    return files.code_digest(listed, root=Path())


def found(root: Path) -> list[State]:
    """Every state, by name; a folder whose name is not that of its key is none, whatever it holds."""
    states = []
    for path in sorted(root.glob("*/about.json")):
        state = State(path.parent)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            if state_of(root, state.about["key"]).name == state.name:
                states.append(state)
    return states


def nearest_unfinished(state: State, key: Mapping[str, Any]) -> tuple[State, list[str]] | None:
    """The unfinished run that differs least from the one that begins, and what it differs in."""
    differing = [
        (other, differences(other.about["key"], key))
        for other in found(state.folder.parent)
        if other.name != state.name and not other.finished and other.positions()
    ]
    return min(differing, key=lambda pair: len(pair[1]), default=None)


def prepare(state: State, key: Mapping[str, Any], code: str, options: Mapping[str, Any]) -> None:
    """Make the state fit for a run with this code; call it with the lock held.

    options: what the run reads besides its key. A run that was finished with other code is dropped: this one starts at
    step 0. Raises AdlError if one is unfinished under other code: to give up its work is for a person to decide.
    """
    state.drop_leftovers()
    if state.about_file.exists():
        damaged = state.damaged_result()
        if state.finished and damaged:
            print(f"warning: {damaged} is damaged; training starts over", flush=True)
            remove(state.result)
        if state.about["code"] != code:
            if not state.finished and (state.positions() or state.damaged_positions()):
                raise AdlError(
                    f"an unfinished training run is in {state.folder}, but the code that it depends on has changed "
                    f"since. Resume it with the new code: `adl state adopt {state.name}`. Start over: "
                    f"`adl state drop {state.name}`."
                )
            state.drop_positions()
            remove(state.result)
            remove(state.intermediate)
        elif state.finished:
            return
    write_json(state.about_file, {"key": key, "code": code, "options": options})


def adopt(state: State) -> None:
    """Let a run resume with the current code."""
    write_json(state.about_file, state.about | {"code": code_digest()})


def drop_other_finished(kept: State) -> None:
    """A finished state is kept until a run with another key finishes; with models of its own, until it is pruned."""
    for state in found(kept.folder.parent):
        if state.folder != kept.folder and state.finished and not state.kept_models():
            # One that another process holds is in use.
            with contextlib.suppress(AdlError), state.held():
                remove(state.folder)
