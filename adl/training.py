"""The training loop: one process, one device."""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, amp, nn
from tqdm import tqdm

from adl import checkpoint, dataset, network, runtime, summary
from adl.architecture import Architecture
from adl.artifacts import digest, sidecar_path, write_json
from adl.errors import AdlError
from adl.loss import CrossEntropy, OhemCrossEntropy
from adl.network import drop_path
from adl.optimizer import momentum
from adl.params import TRAINING, Params
from adl.progress import LINE_EVERY, duration
from adl.records import read_manifest
from adl.schedule import check_warmup, steps_an_epoch, warmup_poly

FIRST_LOSS_SCALE = 2.0**16
LOSS_SCALE_FACTOR = 2
LOSS_SCALE_WINDOW = 1000
MOST_SKIPPED = 32
"""Updates skipped in a row after which the loss scale cannot be the reason (it falls below 1 before)."""
ESTIMATE_AFTER = 20
"""Steps after which the whole training's time can be told."""


class TrainStep(nn.Cell):
    """Forward, backward and update as one graph, with dynamic loss scaling."""

    def __init__(
        self, network: nn.Cell, criterion: nn.Cell, optimizer: nn.Optimizer, scaler: amp.DynamicLossScaler
    ) -> None:
        super().__init__()
        self.network = network
        self.criterion = criterion
        self.optimizer = optimizer
        self.scaler = scaler
        self.value_and_grad = ms.value_and_grad(self._scaled_loss, None, optimizer.parameters)

    def _scaled_loss(self, images: Tensor, labels: Tensor, keys: Tensor, survivors: Tensor | None) -> Tensor:
        return self.scaler.scale(self.criterion(self.network(images, keys, survivors), labels))

    def construct(
        self, images: Tensor, labels: Tensor, keys: Tensor, survivors: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns the loss and whether the gradients were finite, that is, whether the update was applied."""
        scaled_loss, gradients = self.value_and_grad(images, labels, keys, survivors)
        loss = self.scaler.unscale(scaled_loss)
        gradients = self.scaler.unscale(gradients)
        finite = amp.all_finite(gradients)
        if finite:
            self.optimizer(gradients)
        self.scaler.adjust(finite)
        return loss, finite


@dataclasses.dataclass
class Result:
    """What a training left behind, beside its files."""

    metrics: dict[str, Any]
    speed: dict[str, Any]


def train(
    params: Params,
    record: Path,
    output: Path,
    *,
    log_epoch: Callable[[int, dict[str, float]], None],
    pretrained: Path = Path("pretrained"),
    saved: Path = Path(".adl/state"),
) -> Result:
    """Train on a record and write the checkpoint `output` and its sidecar.

    log_epoch(epoch, values) is told after every epoch.
    saved: where the weights so far go every `save_epochs`. Raises AdlError before anything is compiled where the
    parameters do not fit the data, and later where the loss stays without finite gradients.
    """
    architecture = Architecture.from_params(params)
    manifest = read_manifest(record)
    plan = Plan.of(params, manifest)
    runtime.start(params.device_target, seed=params.seed)
    net = network.build(architecture)
    about_to_run = summary.before_training(
        architecture,
        images=plan.images,
        steps=plan.steps,
        first_step=plan.first_step,
        epochs=params.epochs,
        batch_size=params.batch_size,
        crop_size=params.crop_size,
        devices=params.device_num,
        parallel=params.parallel,
    )
    print("\n".join([*architecture.describe(), *about_to_run]), flush=True)
    if params.ckpt_name:
        print(f"weights from {params.ckpt_name}: {checkpoint.load(net, pretrained / params.ckpt_name)}")
    if params.parallel:
        print("parallel: no effect on one device")
    if params.workers > runtime.cores():
        print(f"workers: {runtime.cores()} instead of {params.workers}, the number of cores")

    loop = Loop(net, params, plan, record)
    for epoch in range(params.start_epoch, params.epochs):
        log_epoch(epoch, loop.run_epoch(epoch))
        if (epoch + 1) % params.save_epochs == 0 and epoch + 1 < params.epochs:
            checkpoint.save(net, saved / "weights_so_far.ckpt")
            print(f"weights after epoch {epoch + 1}: {saved / 'weights_so_far.ckpt'}", flush=True)

    checkpoint.save(net, output)
    write_json(
        sidecar_path(output),
        {
            "format": 1,
            "architecture": architecture.to_json(),
            "data": {"digest": manifest["digest"], "images": manifest["images"]},
            "digest": digest(output),
            "params": params.model_dump(include=set(TRAINING)),
        },
    )
    return Result(
        metrics={
            "loss": loop.last_loss and round(loop.last_loss, 6),
            "epochs": params.epochs - params.start_epoch,
            "steps": loop.step - plan.first_step,
            "skipped_steps": loop.skipped,
            "images": manifest["images"],
            "parameters": sum(p.size for p in net.trainable_params()),
        },
        speed=loop.speed(),
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a run that follow from the parameters and the data."""

    images: int
    steps: int
    first_step: int

    @classmethod
    def of(cls, params: Params, manifest: dict[str, Any]) -> Plan:
        """Raises AdlError where parameters and data do not fit."""
        if params.num_classes != manifest["classes"]:
            raise AdlError(f"num_classes is {params.num_classes}, but the record holds {manifest['classes']} classes.")
        per_epoch = steps_an_epoch(manifest["images"], params.batch_size)
        check_warmup(params.warmup_iters, params.epochs, per_epoch)
        return cls(manifest["images"], params.epochs * per_epoch, params.start_epoch * per_epoch)


class Loop:
    """The state of a running training: both counters, the network, what was measured.

    position counts batches drawn; step counts updates applied. They differ by the updates that loss scaling skipped.
    """

    def __init__(self, net: nn.Cell, params: Params, plan: Plan, record: Path) -> None:
        self.params, self.plan, self.record = params, plan, record
        self.position = self.step = plan.first_step
        self.skipped = self.skipped_in_a_row = 0
        self.last_loss: float | None = None
        self.seconds: list[float] = []
        self.learning_rates = warmup_poly(
            start=params.warmup_start_lr,
            base=params.base_lr,
            minimum=params.min_lr or 0.0,
            warmup=params.warmup_iters,
            steps=plan.steps,
        )
        remaining = self.learning_rates[plan.first_step :]
        optimizer = momentum(net, remaining if len(remaining) else self.learning_rates[-1:], params.weight_decay)
        self.cells, self.operations = len(net.encoder.nas_cells), len(net.encoder.nas_cells[0].sources)
        if params.amp_level != "O0":
            net = amp.auto_mixed_precision(net, params.amp_level)
        self.scaler = amp.DynamicLossScaler(FIRST_LOSS_SCALE, LOSS_SCALE_FACTOR, LOSS_SCALE_WINDOW)
        self.train_step = TrainStep(net, _criterion(params), optimizer, self.scaler).set_train()
        self.reporter = Reporter(plan.steps)

    def run_epoch(self, epoch: int) -> dict[str, float]:
        """Train one epoch; returns its mean loss and the last learning rate."""
        losses = []
        batches = dataset.batches(
            self.record,
            images=self.plan.images,
            epoch=epoch,
            seed=self.params.seed,
            batch_size=self.params.batch_size,
            crop_size=self.params.crop_size,
            ignore_label=self.params.ignore_label,
            workers=runtime.workers(self.params.workers),
        )
        if not self.seconds:
            print("compiling the training graph (this takes a while and happens once)", flush=True)
        for images, labels in batches:
            start = time.perf_counter()
            learning_rate = float(self.learning_rates[self.step])
            loss, applied = self.train_step(Tensor(images), Tensor(labels), *self._masks())
            losses.append(float(loss))
            self._count(bool(applied), losses[-1], learning_rate)
            self.seconds.append(time.perf_counter() - start)
            self.reporter.step(epoch, self.position, losses[-1], learning_rate, self.seconds)
        self.last_loss = float(np.mean(losses))
        return {"loss": self.last_loss, "learning_rate": learning_rate}

    def _masks(self) -> tuple[Tensor, Tensor | None]:
        keys, draws = drop_path.draw(
            seed=self.params.seed,
            position=self.position,
            places=range(self.params.batch_size),
            cells=self.cells,
            operations=self.operations,
        )
        if self.params.drop_path_keep_prob == 1:
            return Tensor(keys), None
        final = self.params.drop_path_keep_prob
        return Tensor(keys), Tensor(drop_path.survivors(draws, step=self.step, steps=self.plan.steps, final=final))

    def _count(self, applied: bool, loss: float, learning_rate: float) -> None:
        self.position += 1
        self.step += applied
        self.skipped += not applied
        self.skipped_in_a_row = 0 if applied else self.skipped_in_a_row + 1
        if self.skipped_in_a_row > MOST_SKIPPED or (not math.isfinite(loss) and self.skipped_in_a_row > 1):
            scale = float(self.scaler.scale_value)
            raise AdlError(
                f"training diverged at step {self.step}: loss {loss:g}, learning rate {learning_rate:g}, loss scale "
                f"{scale:g}; the gradients stay infinite. Lower base_lr or lengthen warmup_iters."
            )

    def speed(self) -> dict[str, Any]:
        if not self.seconds:
            return {}
        usual = float(np.median(self.seconds[1:] or self.seconds))
        return {
            "ms_per_step": round(1000 * usual, 1),
            "samples_per_second": round(self.params.batch_size / usual, 2),
            "compile_seconds": round(self.seconds[0] - usual, 1) if len(self.seconds) > 1 else None,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "device": self.params.device_target,
            "cores": runtime.cores(),
        }


class Reporter:
    """Where the run is, its loss, and when it will end: a bar on a terminal, now and then a line in a log."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.reported = time.monotonic()
        self.bar: tqdm | None = None

    def step(self, epoch: int, position: int, loss: float, learning_rate: float, seconds: list[float]) -> None:
        if len(seconds) == 1:
            print(f"first step, with compilation: {seconds[0]:.1f} s", flush=True)
            self.reported = time.monotonic()
            if sys.stderr.isatty():
                self.bar = tqdm(desc="training", total=self.steps, initial=position, unit="step", dynamic_ncols=True)
        if len(seconds) == ESTIMATE_AFTER + 1 and position < self.steps:
            left = duration((self.steps - position) * float(np.mean(seconds[1:])))
            tqdm.write(f"from {ESTIMATE_AFTER} steps: {left} for the remaining {self.steps - position:,}")
        if len(seconds) > 1 and self.bar is not None:
            self.bar.set_postfix_str(f"epoch {epoch + 1}, loss {loss:.4f}, learning rate {learning_rate:.3g}", False)
            self.bar.update()
            if position == self.steps:
                self.bar.close()
        elif len(seconds) > 1 and (time.monotonic() - self.reported >= LINE_EVERY or position == self.steps):
            self.reported = time.monotonic()
            a_step = float(np.mean(seconds[1:][-50:]))
            print(
                f"epoch {epoch + 1} step {position}/{self.steps}: loss {loss:.4f}, learning rate {learning_rate:.3g}, "
                f"{a_step:.2f} s/step, {duration((self.steps - position) * a_step)} left",
                flush=True,
            )


def _criterion(params: Params) -> nn.Cell:
    if params.criterion == "ce":
        return CrossEntropy(ignore_label=params.ignore_label)
    return OhemCrossEntropy(
        threshold=params.ohem_thresh,
        # A sixteenth of the pixels on this device, as published.
        min_kept=params.batch_size * params.crop_size**2 // 16,
        ignore_label=params.ignore_label,
    )
