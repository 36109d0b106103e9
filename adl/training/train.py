"""Training: every rank runs it on its slice of each global batch; rank 0 saves and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mindspore import amp

from adl import network, runtime
from adl.architecture import Architecture
from adl.console import summary
from adl.console.reporter import Reporter
from adl.dataset.augment import Normalise
from adl.dataset.batches import Batches
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.records import read_manifest
from adl.errors import AdlError
from adl.network import AutoDeepLab, checkpoint, drop_path
from adl.parallel.world import ALONE, World
from adl.params import Params
from adl.training import choices
from adl.training.counters import Counters
from adl.training.loop import Loop, Stopped
from adl.training.plan import Plan
from adl.training.result import Description, write_result
from adl.training.saver import Saver, Saving
from adl.training.state import State
from adl.training.step import HostStep, TrainStep
from adl.training.stopwatch import Stopwatch
from adl.training.validation import Interrupted, Validation
from adl.training.weights import Optimizer, Weights

CLASSIFIER = "decoder.classifier."


def train(
    params: Params,
    record: Path,
    state: State,
    dataset: DatasetDescriptor,
    *,
    val_record: Path | None = None,
    world: World = ALONE,
    pretrained: Path = Path("pretrained"),
    log_epochs: Callable[[Sequence[dict[str, float]]], None] = lambda rows: None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Train on a record, from the newest whole state on, and leave the result in the state's folder.

    log_epochs(rows): called with those epochs that an earlier attempt trained, then after every epoch. stopping():
    asked before every step. Raises AdlError before anything is compiled if the parameters do not fit the data, and
    later if training diverges; Stopped when the state is saved because the run was asked to stop.
    """
    architecture = Architecture.from_params(params)
    manifest = read_manifest(record, dataset)
    _check_classes(params, dataset)
    plan = Plan.of(params, manifest["images"])
    runtime.start(params.device_target, seed=params.seed, world=world)
    drop_path.check_hash()
    net = network.build(architecture, world=world if params.parallel else ALONE)
    if world.rank == 0:
        _describe(architecture, params, plan, world)
    _load_start_weights(net, params, pretrained, world)
    validation = None
    if val_record and params.eval_epochs:
        every = params.eval_epochs
        validation = Validation(
            architecture, val_record, dataset, every=every, world=world, stopping=stopping
        )
    description = Description(architecture, manifest, params)
    loop = assemble(
        net, description, plan, dataset, record=record, state=state, world=world, stopping=stopping
    )
    _resume(loop)
    _validate(validation, loop)
    log_epochs(loop.counters.history)
    while not loop.is_finished:
        loop.run_epoch()
        _validate(validation, loop)
        log_epochs(loop.counters.history[-1:])
    if world.rank == 0:
        write_result(loop.saver, loop.counters, description)


def _check_classes(params: Params, dataset: DatasetDescriptor) -> None:
    if params.num_classes != len(dataset.classes):
        raise AdlError(
            f"num_classes is {params.num_classes}, but the record holds the {len(dataset.classes)} classes of "
            f"{dataset.title}."
        )


def _resume(loop: Loop) -> None:
    """Resume from the newest state, if there is one."""
    counters = loop.saver.resume()
    if counters is None:
        return
    loop.counters = counters
    if loop.world.rank == 0:
        print(f"resuming at step {counters.position:,} of {loop.plan.steps:,}", flush=True)


def assemble(
    net: AutoDeepLab,
    description: Description,
    plan: Plan,
    dataset: DatasetDescriptor,
    *,
    record: Path,
    state: State,
    world: World = ALONE,
    stopping: Callable[[], bool] = lambda: False,
) -> Loop:
    """The loop that trains a network as its description says, at its first step."""
    params = description.params
    optimizer = choices.optimizer(params.optimizer, net, weight_decay=params.weight_decay)
    # Before mixed precision moves the parameters.
    weights = Weights(checkpoint.native(net), optimizer)
    stopwatch = Stopwatch()

    def speed() -> dict[str, Any]:
        return stopwatch.speed(
            batch_size=params.batch_size, devices=world.size, device_target=params.device_target
        )

    saver = Saver(
        state=state,
        weights=weights,
        plan=plan,
        saving=Saving(params.save_epochs, params.save_minutes, params.keep_checkpoints),
        stopwatch=stopwatch,
        speed=speed,
        describe=description.write,
        world=world,
    )
    batches = _batches(params, plan, dataset, record=record, world=world)
    return Loop(
        plan=plan,
        counters=Counters(position=plan.first_step, step=plan.first_step),
        step=_step(net, optimizer, params, plan, world),
        batches=lambda epoch, first_batch: batches.epoch(epoch, first_batch=first_batch),
        weights=weights,
        saver=saver,
        stopwatch=stopwatch,
        reporter=_reporter(params, plan) if world.rank == 0 else None,
        stopping=stopping,
        world=world,
    )


def _reporter(params: Params, plan: Plan) -> Reporter:
    lines_of_2021 = plan.steps_per_epoch if params.log_lines == "model_zoo" else None
    return Reporter(plan.steps, lines_of_2021_every=lines_of_2021)


def _batches(
    params: Params, plan: Plan, dataset: DatasetDescriptor, *, record: Path, world: World
) -> Batches:
    return Batches(
        record=record,
        images=plan.images,
        seed=params.seed,
        batch_size=params.batch_size,
        crop_size=params.crop_size,
        ignore_label=params.ignore_label,
        workers=runtime.workers(params.workers),
        normalise=Normalise(mean=dataset.mean, std=dataset.std),
        scales=(params.min_scale, params.max_scale),
        world=world,
    )


def _step(
    net: AutoDeepLab, optimizer: Optimizer, params: Params, plan: Plan, world: World
) -> HostStep:
    criterion = choices.loss(
        params.criterion,
        ignore_label=params.ignore_label,
        pixels=params.batch_size // world.size * params.crop_size**2,
        hard_threshold=params.ohem_thresh,
        world=world,
    )
    learning_rates = choices.learning_rates(
        params.schedule,
        start=params.warmup_start_lr,
        base=params.base_lr,
        minimum=params.min_lr or 0.0,
        warmup=params.warmup_iters,
        steps=plan.steps,
    )
    # O2 leaves batch norm in float32, that over all ranks included: it is a nn.BatchNorm2d.
    precise = amp.auto_mixed_precision(net, params.amp_level)
    return HostStep(
        graph=TrainStep(precise, criterion, optimizer, world).set_train(),
        learning_rates=learning_rates,
        seed=params.seed,
        batch_size=params.batch_size,
        cells=len(net.architecture.net),
        operations=len(net.architecture.cell),
        drop_path_keep_prob=params.drop_path_keep_prob,
        world=world,
    )


def _describe(architecture: Architecture, params: Params, plan: Plan, world: World) -> None:
    """Say what will run."""
    lines = architecture.describe()
    lines += summary.before_training(
        architecture,
        images=plan.images,
        steps=plan.steps,
        first_step=plan.first_step,
        epochs=params.epochs,
        batch_size=params.batch_size,
        crop_size=params.crop_size,
        devices=world.size,
        parallel=params.parallel,
        device_target=params.device_target,
    )
    if params.parallel and world.size == 1:
        lines.append("parallel: no effect on one device")
    if params.workers > runtime.cores():
        lines.append(f"workers: {runtime.cores()} instead of {params.workers}, the number of cores")
    print("\n".join(lines), flush=True)


def _load_start_weights(net: AutoDeepLab, params: Params, pretrained: Path, world: World) -> None:
    if params.ckpt_name is None:
        return
    leave_out = None if params.ckpt_classifier else CLASSIFIER
    loaded = checkpoint.load(net, pretrained / params.ckpt_name, leave_out=leave_out)
    if world.rank == 0:
        without = f", without {leave_out}" if leave_out else ""
        print(f"weights from {params.ckpt_name}: {loaded}{without}")


def _validate(validation: Validation | None, loop: Loop) -> None:
    if validation is None:
        return
    try:
        validation.add_to_history(loop.weights.parameters, loop.counters, loop.plan)
    except Interrupted:
        loop.saver.save(loop.counters)
        raise Stopped.at(loop.counters, loop.plan, ", while validating") from None
