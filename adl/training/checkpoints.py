"""What a run writes: its weights, in a state that it resumes from and in the models that it keeps; and its result."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor

from adl.architecture import Architecture
from adl.config import params as schema
from adl.config.params import Params
from adl.errors import AdlError
from adl.files import digest, remove, replacing_folder, to_disk, write_json
from adl.network import checkpoint
from adl.parallel.collective import of_all_ranks
from adl.parallel.world import ALONE, World
from adl.training.optimizers import Optimizer
from adl.training.plan import Counters, Plan, Stopwatch
from adl.training.state import Saved, State, seal
from adl.workspace import CHECKPOINT, sidecar


class Weights:
    """Everything that an update changes: the network's parameters and the optimizer's slots, under native names.

    parameters: native name → parameter of the network, as it was built.
    """

    def __init__(self, parameters: Mapping[str, Parameter], optimizer: Optimizer) -> None:
        self.parameters = parameters
        self.trained = optimizer.parameters
        self._stored = {f"network/{name}": parameter for name, parameter in parameters.items()}
        names = {id(parameter): name for name, parameter in parameters.items()}
        for slot, values in optimizer.slots.items():
            for parameter, value in zip(optimizer.parameters, values, strict=True):
                self._stored[f"{slot}/{names[id(parameter)]}"] = value

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of everything, by name."""
        return {name: parameter.asnumpy() for name, parameter in self._stored.items()}

    def match(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Do these arrays have the names and shapes of this network's?"""
        ours = {name: tuple(parameter.shape) for name, parameter in self._stored.items()}
        return ours == {name: array.shape for name, array in arrays.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set everything to what `arrays` returned."""
        for name, parameter in self._stored.items():
            parameter.set_data(Tensor(arrays[name]))

    def not_finite(self) -> str | None:
        """A parameter or running statistic that is no longer finite, if there is one."""
        for name, parameter in self.parameters.items():
            if not np.isfinite(parameter.asnumpy()).all():
                return name
        return None

    def checksum(self) -> int:
        """CRC-32 of the trained parameters."""
        crc = 0
        for parameter in self.trained:
            crc = zlib.crc32(parameter.asnumpy(), crc)
        return crc


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a model comes from: its network, the manifest of its data, and the parameters of its training."""

    architecture: Architecture
    manifest: Mapping[str, Any]
    params: Params

    def write_sidecar(self, model: Path, epoch: int) -> None:
        """Write it beside a checkpoint. epoch: how many epochs it was trained; `params` says of how many."""
        content = {
            "format": 1,
            "architecture": self.architecture.to_json(),
            "data": {name: self.manifest.get(name) for name in ("digest", "images", "drawn")},
            "digest": digest(model),
            "epoch": epoch,
            "params": self.params.model_dump(include=set(schema.of_stage("train"))),
        }
        write_json(sidecar(model), content)


@dataclasses.dataclass(kw_only=True)
class Saver:
    """Decides what a run writes, and when. Rank 0 writes: the weights of all ranks are equal."""

    state: State
    weights: Weights
    plan: Plan
    origin: Origin
    stopwatch: Stopwatch
    world: World = ALONE
    is_due: bool = False
    saved_at: float = dataclasses.field(default_factory=time.monotonic)

    def resume(self) -> Counters | None:
        """Set the weights to the newest state, if there is one, and return its counters.

        Raises AdlError if the ranks read different states, or if it is another network's.
        """
        saved = self.state.latest()
        batches = saved.position + 1 if saved else 0
        if any(of_rank != [batches] for of_rank in of_all_ranks([batches], self.world)):
            raise AdlError(
                f"the ranks read different states from {self.state.folder}; do all nodes share it?"
            )
        if saved is None:
            return None
        if not self.weights.match(saved.arrays):
            raise AdlError(
                f"the state in {self.state.folder} does not fit this network: it was written by different code. "
                f"To start over: `adl state drop {self.state.name}`."
            )
        self.weights.restore(saved.arrays)
        self.stopwatch.resume(saved.meta)
        return Counters.from_json(saved.meta)

    def after_step(self, counters: Counters, *, stop: bool) -> None:
        """Save if it is due, or if the run is asked to stop."""
        params = self.origin.params
        epoch, in_epoch = divmod(counters.position, self.plan.steps_per_epoch)
        is_end = counters.position == self.plan.steps
        is_kept = in_epoch == 0 and epoch % params.save_epochs == 0
        minutes = params.save_minutes or math.inf
        is_late = time.monotonic() - self.saved_at >= 60 * minutes
        self.is_due |= is_kept or is_end or is_late
        # The model first: an attempt that resumes from the state does not come by here again.
        if is_kept and not is_end and params.keep_checkpoints > 1 and self.world.rank == 0:
            self._keep_model(counters, epoch)
        # If the last update was skipped, the next ones show whether the run recovers.
        if stop or (self.is_due and not counters.skipped_in_a_row):
            self.save(counters)

    def save(self, counters: Counters) -> None:
        if self.world.rank == 0:
            self.check_finite(counters)
            meta = {
                **counters.to_json(),
                "seconds": self.stopwatch.total_seconds(),
                "speed": self.speed(),
            }
            self.state.save(Saved(self.weights.arrays(), meta))
        self.saved_at, self.is_due = time.monotonic(), False

    def speed(self) -> dict[str, Any]:
        params = self.origin.params
        return self.stopwatch.speed(
            batch_size=params.batch_size,
            devices=self.world.size,
            device_target=params.device_target,
        )

    def check_finite(self, counters: Counters) -> None:
        """Raises AdlError if the weights or the running statistics no longer are."""
        name = self.weights.not_finite()
        if name is not None:
            raise counters.diverged(f"{name} is no longer finite, and this state is not saved")

    def kept_models(self) -> list[Path]:
        """The models beside the final one, the oldest first."""
        return sorted(self.state.intermediate.glob("epoch_*.ckpt"))

    def _keep_model(self, counters: Counters, epoch: int) -> None:
        """Keep the present model beside the final one, and drop the oldest beyond keep_checkpoints."""
        self.check_finite(counters)
        path = self.state.intermediate / f"epoch_{epoch:05d}.ckpt"
        checkpoint.save(self.weights.parameters, path)
        self.origin.write_sidecar(path, epoch)
        kept = self.kept_models()
        surplus = len(kept) - (self.origin.params.keep_checkpoints - 1)  # the final model is one
        for old in kept[: max(surplus, 0)]:
            remove(old)
            remove(sidecar(old))

    def write_result(self, counters: Counters) -> None:
        """Write the folder `result`, whose presence says that the run is complete, and drop what it replaces."""
        self.check_finite(counters)
        with replacing_folder(self.state.result) as folder:
            model = folder / CHECKPOINT.name
            checkpoint.save(self.weights.parameters, model)
            self.origin.write_sidecar(model, self.origin.params.epochs)
            kept = folder / self.state.intermediate.name
            kept.mkdir()
            for path in self.kept_models():
                for file in (path, sidecar(path)):
                    shutil.copyfile(file, kept / file.name)
            write_json(folder / "metrics.json", self._metrics(counters))
            write_json(folder / "history.json", counters.history)
            write_json(folder / "speed.json", self.speed())
            seal(folder)
            to_disk(folder)
        self.state.drop_positions()
        remove(self.state.intermediate)

    def _metrics(self, counters: Counters) -> dict[str, Any]:
        params = self.origin.params
        loss = counters.history[-1]["loss"] if counters.history else None
        return {
            "loss": None if loss is None else round(loss, 6),
            "epochs": params.epochs - params.start_epoch,
            "steps": counters.step - self.plan.first_step,
            "skipped_steps": counters.skipped,
            "images": self.plan.images,
            "parameters": sum(parameter.size for parameter in self.weights.trained),
        }
