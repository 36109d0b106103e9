"""What a finished run leaves: the model with its sidecar, metrics, history and speed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adl import params as schema
from adl.architecture import Architecture
from adl.artifacts import digest, remove, replacing_folder, to_disk, write_json
from adl.network import checkpoint
from adl.params import Params
from adl.training.counters import Counters
from adl.training.saver import Saver
from adl.training.state import seal
from adl.workspace import CHECKPOINT, sidecar


@dataclasses.dataclass(frozen=True)
class Description:
    """What the sidecar of a checkpoint says: the network, the data and the parameters that it was trained with."""

    architecture: Architecture
    manifest: Mapping[str, Any]
    params: Params

    def write(self, model: Path, epoch: int) -> None:
        """Write it beside a checkpoint. epoch: how many epochs it was trained; of how many is in its params."""
        content = {
            "format": 1,
            "architecture": self.architecture.to_json(),
            "data": {name: self.manifest.get(name) for name in ("digest", "images", "drawn")},
            "digest": digest(model),
            "epoch": epoch,
            "params": self.params.model_dump(include=set(schema.of_stage("train"))),
        }
        write_json(sidecar(model), content)


def write_result(saver: Saver, counters: Counters, description: Description) -> None:
    """Write the folder `result`, which is the record of completion: it appears whole. Then drop what it replaces."""
    saver.check_finite(counters)
    state = saver.state
    with replacing_folder(state.result) as folder:
        model = folder / CHECKPOINT.name
        checkpoint.save(saver.weights.parameters, model)
        description.write(model, description.params.epochs)
        kept = folder / state.intermediate.name
        kept.mkdir()
        for path in saver.kept_models():
            for file in (path, sidecar(path)):
                shutil.copyfile(file, kept / file.name)
        write_json(folder / "metrics.json", _metrics(saver, counters, description.params))
        write_json(folder / "history.json", counters.history)
        write_json(folder / "speed.json", saver.speed())
        seal(folder)
        to_disk(folder)
    state.drop_positions()
    remove(state.intermediate)


def _metrics(saver: Saver, counters: Counters, params: Params) -> dict[str, Any]:
    loss = counters.history[-1]["loss"] if counters.history else None
    return {
        "loss": loss and round(loss, 6),
        "epochs": params.epochs - params.start_epoch,
        "steps": counters.step - saver.plan.first_step,
        "skipped_steps": counters.skipped,
        "images": saver.plan.images,
        "parameters": sum(parameter.size for parameter in saver.weights.trained),
    }
