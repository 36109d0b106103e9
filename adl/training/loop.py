"""The loop over the steps: both counters, what is saved when, what is measured."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, amp, nn
from tqdm import tqdm

from adl import checkpoint, dataset, runtime
from adl.artifacts import remove, sidecar_path
from adl.collective import of_all_ranks
from adl.errors import AdlError
from adl.network import drop_path
from adl.optimizer import Momentum
from adl.params import Params
from adl.runtime import World
from adl.schedule import check_warmup, steps_an_epoch, warmup_poly
from adl.state import Saved, State
from adl.training.reporter import Reporter
from adl.training.step import LossScale, TrainStep, criterion
from adl.validation import Interrupted, Validation

MOST_SKIPPED = 32
"""Updates skipped in a row after which the loss scale cannot be the reason (it falls below 1 before)."""


class Stopped(Exception):  # noqa: N818 (no error)
    """The training was asked to stop; its state is saved."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a run that follow from the parameters and the data."""

    images: int
    per_epoch: int
    steps: int
    first_step: int

    @classmethod
    def of(cls, params: Params, manifest: dict[str, Any]) -> Plan:
        """Raises AdlError where parameters and data do not fit."""
        if params.num_classes != manifest["classes"]:
            raise AdlError(f"num_classes is {params.num_classes}, but the record holds {manifest['classes']} classes.")
        per_epoch = steps_an_epoch(manifest["images"], params.batch_size)
        check_warmup(params.warmup_iters, params.epochs, per_epoch)
        return cls(manifest["images"], per_epoch, params.epochs * per_epoch, params.start_epoch * per_epoch)


class Loop:
    """A running training: both counters, the network, what was measured.

    position counts batches drawn; step counts updates applied. They differ by the updates that loss scaling skipped.
    """

    def __init__(
        self,
        net: nn.Cell,
        params: Params,
        plan: Plan,
        record: Path,
        state: State,
        world: World,
        stopping: Callable[[], bool],
        validation: Validation | None,
        sidecar: Callable[..., None],
    ) -> None:
        self.validation, self.sidecar = validation, sidecar
        self.params, self.plan, self.record, self.state = params, plan, record, state
        self.world, self.stopping = world, stopping
        # Before mixed precision moves them.
        self.parameters = checkpoint.native(net)
        self.save_is_due = False
        self.position = self.step = plan.first_step
        self.skipped = self.skipped_in_a_row = 0
        self.losses: list[float] = []  # of the present epoch
        self.learning_rate = 0.0  # of the present step
        self.history: list[dict[str, float]] = []
        self.seconds: list[float] = []
        self.saved_at = self.began_at = time.monotonic()
        # Of earlier attempts, up to the state that this one goes on from.
        self.seconds_before, self.speed_before = 0.0, dict[str, Any]()
        self.learning_rates = warmup_poly(
            start=params.warmup_start_lr,
            base=params.base_lr,
            minimum=params.min_lr or 0.0,
            warmup=params.warmup_iters,
            steps=plan.steps,
        )
        self.optimizer = Momentum(net, params.weight_decay)
        self.cells, self.operations = len(net.encoder.nas_cells), len(net.encoder.nas_cells[0].sources)
        # O2 leaves batch norm in float32, that over all ranks included: it is a nn.BatchNorm2d.
        whole = amp.auto_mixed_precision(net, params.amp_level)
        self.loss_scale = LossScale()
        self.train_step = TrainStep(whole, criterion(params, world), self.optimizer, world).set_train()
        self.reporter = Reporter(plan.steps) if world.rank == 0 else None

    def run_epoch(self) -> None:
        """Train from the present position to the end of its epoch, and add a row to the history."""
        epoch, first_batch = divmod(self.position, self.plan.per_epoch)
        batches = dataset.batches(
            self.record,
            images=self.plan.images,
            epoch=epoch,
            seed=self.params.seed,
            batch_size=self.params.batch_size,
            crop_size=self.params.crop_size,
            scales=(self.params.min_scale, self.params.max_scale),
            ignore_label=self.params.ignore_label,
            workers=runtime.workers(self.params.workers),
            first_batch=first_batch,
            world=self.world,
        )
        if not self.seconds and self.reporter:
            print("compiling the training graph (this takes a while and happens once)", flush=True)
        start = time.perf_counter()
        for images, labels in batches:
            self.learning_rate = float(self.learning_rates[self.step])
            last = (self.position + 1) % self.plan.per_epoch == 0
            wanted = self.stopping() or (last and self.state.stop_request.exists())
            keys, survivors = self._masks()
            scalars = (Tensor(np.float32(x)) for x in (self.learning_rate, self.loss_scale.value, wanted))
            loss, applied, stop = self.train_step(Tensor(images), Tensor(labels), keys, survivors, *scalars)
            self.losses.append(float(loss))
            self._count(bool(applied), self.losses[-1])
            now = time.perf_counter()
            self.seconds.append(now - start)
            start = now
            if self.reporter:
                self.reporter.step(epoch, self.position, self.losses[-1], self.learning_rate, self.seconds)
            if last:
                self._check_ranks()
                mean = float(np.mean(self.losses))
                self.history.append({"epoch": epoch + 1, "loss": mean, "learning_rate": self.learning_rate})
                self.losses = []
            self._save_when_due(stop=float(stop) > 0, epoch_ends=last)

    def _check_ranks(self) -> None:
        """Raises AdlError where the ranks have parted: then what they sum is no network's gradient any more."""
        checksum = functools.reduce(lambda sofar, p: zlib.crc32(p.asnumpy(), sofar), self.optimizer.parameters, 0)
        of_ranks = of_all_ranks([self.step, checksum], self.world)
        if any(other != of_ranks[0] for other in of_ranks):
            found = "; ".join(f"rank {rank}: step {step}, {crc:08x}" for rank, (step, crc) in enumerate(of_ranks))
            raise AdlError(
                f"the ranks no longer have the same weights ({found}); this state is not saved. `dvc repro` goes on "
                "from the last one. Where it happens again, one device computes wrongly: find it by leaving one out."
            )

    def _save_when_due(self, *, stop: bool, epoch_ends: bool) -> None:
        """Rank 0 saves: the weights of all ranks are equal. Raises Stopped, on all ranks together."""
        minutes, epoch = self.params.save_minutes, self.position // self.plan.per_epoch
        ends = epoch_ends and epoch % self.params.save_epochs == 0
        at_end = self.position == self.plan.steps
        self.save_is_due |= ends or at_end or (minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes)
        # The model first: an attempt that goes on from the state does not come by here again.
        if ends and not at_end:
            self._keep(epoch)
        # Where the last update was skipped, the next ones tell whether the run recovers.
        if stop or (self.save_is_due and not self.skipped_in_a_row):
            self._save()
        if stop and not at_end:
            raise Stopped(f"stopped at step {self.position:,} of {self.plan.steps:,}; the state is saved")

    def _save(self) -> None:
        if self.world.rank == 0:
            self.state.save(self.snapshot())
        self.saved_at, self.save_is_due = time.monotonic(), False

    def validate(self) -> None:
        """Add the val mIOU to the history's last row, where it is due and not there yet."""
        epoch, in_epoch = divmod(self.position, self.plan.per_epoch)
        if not self.validation or in_epoch or not self.history or epoch % self.params.eval_epochs:
            return
        if "val_mIOU" in self.history[-1]:
            return
        try:
            miou = self.validation.miou(self.parameters)
        except Interrupted:
            self._save()
            at = f"{self.position:,} of {self.plan.steps:,}"
            raise Stopped(f"stopped at step {at}, while validating; the state is saved") from None
        if miou is not None:
            self.history[-1]["val_mIOU"] = miou
        if self.reporter:
            tqdm.write(f"epoch {epoch}: val mIOU {miou} % (single, {self.validation.images} images)")

    def intermediate(self) -> list[Path]:
        return sorted(self.state.intermediate.glob("epoch_*.ckpt"))

    def _keep(self, epoch: int) -> None:
        """Keep the present model beside the final one, and drop the oldest beyond keep_checkpoints."""
        if self.world.rank == 0 and self.params.keep_checkpoints > 1:
            self.check_finite()
            path = self.state.intermediate / f"epoch_{epoch:05d}.ckpt"
            checkpoint.save(self.parameters, path)
            self.sidecar(path, epoch=epoch)
            for old in self.intermediate()[: 1 - self.params.keep_checkpoints]:
                remove(old)
                remove(sidecar_path(old))

    def check_finite(self) -> None:
        """Raises AdlError where the weights or the running statistics no longer are."""
        if name := self._not_finite():
            raise self._diverged(f"{name} is no longer finite, and this state is not saved")

    def _not_finite(self) -> str | None:
        return next((name for name, p in self.parameters.items() if not np.isfinite(p.asnumpy()).all()), None)

    def _diverged(self, why: str) -> AdlError:
        loss = f"loss {self.losses[-1]:g}, " if self.losses else ""
        return AdlError(
            f"training diverged at step {self.step}: {loss}learning rate {self.learning_rate:g}, loss scale "
            f"{self.loss_scale.value:g}; {why}. Lower base_lr or lengthen warmup_iters."
        )

    def snapshot(self) -> Saved:
        self.check_finite()
        arrays = {f"network/{name}": p.asnumpy() for name, p in self.parameters.items()}
        arrays |= {f"moments/{name}": moment.asnumpy() for name, moment in self._moments().items()}
        return Saved(
            arrays,
            {
                "position": self.position,
                "step": self.step,
                "skipped": self.skipped,
                "skipped_in_a_row": self.skipped_in_a_row,
                "losses": self.losses,
                "history": self.history,
                "seconds": self.total_seconds(),
                "speed": self.speed(),
                "loss_scale": dataclasses.asdict(self.loss_scale),
            },
        )

    def _moments(self) -> dict[str, Parameter]:
        """The optimizer's slots, by the native names of what they belong to."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        pairs = zip(self.optimizer.parameters, self.optimizer.moments, strict=True)
        return {names[id(parameter)]: moment for parameter, moment in pairs}

    def resume(self) -> bool:
        """Go on from the newest state, if there is one. Raises AdlError where the ranks read different ones."""
        saved = self.state.latest()
        batches = saved.position + 1 if saved else 0
        if any(of_rank != [batches] for of_rank in of_all_ranks([batches], self.world)):
            raise AdlError(f"the ranks read different states from {self.state.folder}; is it the same on all nodes?")
        if saved:
            self._restore(saved)
        return saved is not None

    def _restore(self, saved: Saved) -> None:
        """Raises AdlError where the state is another network's."""
        mine = {f"network/{name}": p for name, p in self.parameters.items()}
        mine |= {f"moments/{name}": moment for name, moment in self._moments().items()}
        shapes = [{n: tuple(a.shape) for n, a in arrays.items()} for arrays in (mine, saved.arrays)]
        if shapes[0] != shapes[1]:
            raise AdlError(
                f"the state in {self.state.folder} does not fit this network: it was made by other code. Begin anew: "
                f"`adl state drop {self.state.name}`."
            )
        for name, parameter in mine.items():
            parameter.set_data(Tensor(saved.arrays[name]))
        meta = saved.meta
        self.position, self.step = meta["position"], meta["step"]
        self.skipped, self.skipped_in_a_row = meta["skipped"], meta["skipped_in_a_row"]
        self.losses = [math.nan if loss is None else loss for loss in meta["losses"]]
        self.history = list(meta["history"])
        self.seconds_before, self.speed_before = meta["seconds"], meta["speed"]
        self.loss_scale = LossScale(**meta["loss_scale"])

    def _masks(self) -> tuple[Tensor, Tensor | None]:
        keys, draws = drop_path.draw(
            seed=self.params.seed,
            position=self.position,
            places=self.world.share(self.params.batch_size),
            cells=self.cells,
            operations=self.operations,
        )
        if self.params.drop_path_keep_prob == 1:
            return Tensor(keys), None
        final = self.params.drop_path_keep_prob
        return Tensor(keys), Tensor(drop_path.survivors(draws, step=self.step, steps=self.plan.steps, final=final))

    def _count(self, applied: bool, loss: float) -> None:
        self.position += 1
        self.step += applied
        self.skipped += not applied
        self.loss_scale.adjust(applied)
        healthy = applied and math.isfinite(loss)
        self.skipped_in_a_row = 0 if healthy else self.skipped_in_a_row + 1
        if not math.isfinite(loss):
            # A loss that a skipped update explains leaves the weights and the running statistics as they were.
            if name := self._not_finite():
                raise self._diverged(f"{name} is no longer finite")
            if self.skipped_in_a_row > 1:
                raise self._diverged("the loss stays infinite")
        if self.skipped_in_a_row > MOST_SKIPPED:
            raise self._diverged("the gradients stay infinite")

    def total_seconds(self) -> float:
        """How long the training took so far, over all attempts; what was lost between two saves is left out."""
        return self.seconds_before + time.monotonic() - self.began_at

    def speed(self) -> dict[str, Any]:
        total = {"total_seconds": round(self.total_seconds(), 1)}
        if not self.seconds:
            # This attempt had nothing left to train.
            return self.speed_before and self.speed_before | total
        usual = float(np.median(self.seconds[1:] or self.seconds))
        return {
            **total,
            "ms_per_step": round(1000 * usual, 1),
            "samples_per_second": round(self.params.batch_size / usual, 2),
            "compile_seconds": round(self.seconds[0] - usual, 1) if len(self.seconds) > 1 else None,
            "peak_memory_mb": runtime.peak_memory() // 2**20,
            "devices": self.world.size,
            **runtime.machine(self.params.device_target),
        }
