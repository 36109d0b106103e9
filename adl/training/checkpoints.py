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
from mindspore import Tensor

from adl.config import params as schema
from adl.config.params import Params
from adl.errors import AdlError
from adl.files import digest, remove, replacing_folder, to_disk, write_json
from adl.network import AutoDeepLab, checkpoint
from adl.parallel.collective import of_all_ranks
from adl.parallel.world import World
from adl.training.optimizers import Momentum
from adl.training.plan import Counters, Stopwatch
from adl.training.state import Saved, State, seal
from adl.workspace import CHECKPOINT, sidecar


class Weights:
    """Everything that an update changes: the network's parameters and the optimizer's slots, under native names.

    parameters: native name → parameter of the network, as it was built.
    """

    def __init__(self, network: AutoDeepLab, optimizer: Momentum) -> None:
        self.architecture = network.architecture
        self.parameters = checkpoint.native(network)
        self.trained = optimizer.parameters
        self._stored = {f"network/{name}": value for name, value in self.parameters.items()}
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        for slot, values in optimizer.slots.items():
            for parameter, value in zip(optimizer.parameters, values, strict=True):
                self._stored[f"{slot}/{names[id(parameter)]}"] = value

    def arrays(self) -> dict[str, np.ndarray]:
        """A copy of everything, by name."""
        return {name: parameter.asnumpy() for name, parameter in self._stored.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Set everything to what `arrays` returned; returns False if that was of another network."""
        ours = {name: parameter.shape for name, parameter in self._stored.items()}
        if ours != {name: array.shape for name, array in arrays.items()}:
            return False
        for name, parameter in self._stored.items():
            parameter.set_data(Tensor(arrays[name]))
        return True

    def checksum(self) -> int:
        """CRC-32 of the trained parameters."""
        crc = 0
        for parameter in self.trained:
            crc = zlib.crc32(parameter.asnumpy(), crc)
        return crc


@dataclasses.dataclass(kw_only=True)
class Run:
    """A run so far, and when it is written. Rank 0 writes: the weights of all ranks are equal.

    manifest: of the training record.
    """

    state: State
    weights: Weights
    counters: Counters
    params: Params
    manifest: Mapping[str, Any]
    world: World
    stopwatch: Stopwatch = dataclasses.field(default_factory=Stopwatch)
    is_due: bool = False
    saved_at: float = dataclasses.field(default_factory=time.monotonic)

    def resume(self) -> None:
        """Go on from the newest state, if there is one.

        Raises AdlError if the ranks read different states, or if it is another network's.
        """
        saved = self.state.latest()
        batches = of_all_ranks([saved.position + 1 if saved else 0], self.world)
        if min(batches) != max(batches):
            raise AdlError(f"the ranks read different states from {self.state.folder}; do all nodes share it?")
        if not saved:
            return
        if not self.weights.restore(saved.arrays):
            raise AdlError(
                f"the state in {self.state.folder} does not fit this network: it was written by different code. "
                f"To start over: `adl state drop {self.state.name}`."
            )
        self.stopwatch.resume(saved.meta["speed"])
        self.counters = Counters(plan=self.counters.plan, **saved.meta)
        if self.world.is_first:
            print(f"resuming at {self.counters}", flush=True)

    def after_step(self, *, stop: bool) -> None:
        """Keep a model and save the state when they are due; save also if the run is asked to stop."""
        params, counters = self.params, self.counters
        epoch, batch = counters.epochs
        is_end = counters.is_finished
        is_kept = batch == 0 and epoch % params.save_epochs == 0
        minutes = (time.monotonic() - self.saved_at) / 60
        self.is_due |= is_kept or is_end or minutes >= (params.save_minutes or math.inf)
        if is_kept and not is_end and params.keep_checkpoints > 1 and self.world.is_first:
            # The model first: an attempt that resumes from the state does not come by here again.
            folder = self.state.intermediate
            self._write_model(folder / f"epoch_{epoch:05d}.ckpt", epoch)
            newest_first = sorted(folder.glob("epoch_*.ckpt"), reverse=True)
            for old in newest_first[params.keep_checkpoints - 1 :]:  # the final model is one
                remove(old)
                remove(sidecar(old))
        # If the last update was skipped, the next ones show whether the run recovers.
        if stop or (self.is_due and not counters.skipped_in_a_row):
            self.save()

    def save(self) -> None:
        if self.world.is_first:
            self.check_finite()
            meta = {**self.counters.model_dump(), "speed": self.stopwatch.speed(self.params)}
            self.state.save(Saved(self.weights.arrays(), meta))
        self.saved_at, self.is_due = time.monotonic(), False

    def check_finite(self) -> None:
        """Raises AdlError if the weights or the running statistics no longer are."""
        for name, parameter in self.weights.parameters.items():
            if not np.isfinite(parameter.asnumpy()).all():
                raise self.counters.diverged(f"{name} is no longer finite, and this state is not saved")

    def _write_model(self, path: Path, epoch: int) -> None:
        """Write the weights, and beside them what they come from.

        epoch: how many epochs they were trained; `params` says of how many.
        """
        self.check_finite()
        checkpoint.save(self.weights.parameters, path)
        write_json(
            sidecar(path),
            {
                "format": 1,
                "architecture": self.weights.architecture.to_json(),
                "dataset": self.params.descriptor.to_json(),
                "data": {name: self.manifest.get(name) for name in ("digest", "images", "drawn")},
                "digest": digest(path),
                "epoch": epoch,
                "params": self.params.model_dump(include=set(schema.of_stage("train"))),
            },
        )

    def write_result(self) -> None:
        """Write the folder `result`, whose presence says that the run is complete, and drop what it replaces."""
        intermediate, params, counters = self.state.intermediate, self.params, self.counters
        loss = counters.history[-1]["loss"] if counters.history else None
        with replacing_folder(self.state.result) as folder:
            self._write_model(folder / CHECKPOINT.name, params.epochs)
            (folder / intermediate.name).mkdir()
            for file in intermediate.glob("epoch_*"):
                shutil.copy(file, folder / intermediate.name)
            write_json(
                folder / "metrics.json",
                {
                    "loss": None if loss is None else round(loss, 6),
                    "epochs": params.epochs - params.start_epoch,
                    "steps": counters.step - counters.plan.first_step,
                    "skipped_steps": counters.skipped,
                    "images": counters.plan.images,
                    "parameters": sum(parameter.size for parameter in self.weights.trained),
                },
            )
            write_json(folder / "history.json", counters.history)
            write_json(folder / "speed.json", self.stopwatch.speed(params))
            seal(folder)
            to_disk(folder)
        self.state.drop_positions()
        remove(intermediate)
