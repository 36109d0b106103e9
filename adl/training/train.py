"""A training run, from its parameters to its result.

Every rank runs `train` on its slice of each global batch; rank 0 saves and reports. From the command to a step:

    pipeline/train.py           reads params.yaml, holds the run's lock, and has run/nodes.py start the processes,
                                each of which is a rank (run/worker.py) and calls
      train()                   this file: data, network, loss, schedule, optimizer, resume, loop, result
        Loop.run_epoch()        loop.py: batches and counters, when to save and when to stop
          HostStep.__call__()   step.py: learning rate, loss scale and masks of one step, and its graph, TrainStep:
                                forward, backward, sums over the ranks, update
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mindspore import amp

from adl import device, network
from adl.architecture import Architecture
from adl.config.params import Params
from adl.console import summary
from adl.console.reporter import Reporter
from adl.dataset.augment import Normalise
from adl.dataset.batches import Batches
from adl.dataset.descriptor import DatasetDescriptor
from adl.dataset.records import read_manifest
from adl.network import AutoDeepLab, checkpoint, drop_path
from adl.parallel.world import ALONE, World
from adl.training import losses, optimizers, schedules
from adl.training.checkpoints import Origin, Saver, Weights
from adl.training.loop import Loop, Stopped
from adl.training.plan import Counters, Plan, Stop, Stopwatch
from adl.training.state import State
from adl.training.step import HostStep, TrainStep
from adl.training.validation import Interrupted, Validation

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
    stop: Stop | None = None,
) -> None:
    """Train on a record, from the newest whole state on, and leave the result in the state's folder.

    log_epochs(rows): called with those epochs that an earlier attempt trained, then after every epoch. stop: looked
    at before every step. Raises AdlError before anything is compiled if the parameters do not fit the data, and later
    if training diverges; Stopped when the state is saved because the run was asked to stop.
    """
    dataset.check_classes(params.num_classes, "num_classes")
    manifest = read_manifest(record, dataset)
    plan = Plan.of(params, manifest["images"])
    stop = stop or Stop()

    device.start(params.device_target, seed=params.seed, world=world)
    drop_path.check_hash()
    architecture = Architecture.from_params(params)
    net = network.build(architecture, world=world if params.parallel else ALONE)
    if world.rank == 0:
        _describe(architecture, params, plan, world)
    _load_start_weights(net, params, pretrained, world)

    validation = None
    if val_record and params.eval_epochs:
        every = params.eval_epochs
        validation = Validation(
            architecture, val_record, dataset, every=every, world=world, stop=stop
        )
    origin = Origin(architecture, manifest, params)
    loop = assemble(net, origin, plan, dataset, record=record, state=state, world=world, stop=stop)
    resumed = loop.saver.resume()
    if resumed is not None:
        loop.counters = resumed
        if world.rank == 0:
            print(f"resuming at step {resumed.position:,} of {plan.steps:,}", flush=True)

    _validate(validation, loop)
    log_epochs(loop.counters.history)
    while not loop.is_finished:
        loop.run_epoch()
        _validate(validation, loop)
        log_epochs(loop.counters.history[-1:])
    if world.rank == 0:
        loop.saver.write_result(loop.counters)


def assemble(
    net: AutoDeepLab,
    origin: Origin,
    plan: Plan,
    dataset: DatasetDescriptor,
    *,
    record: Path,
    state: State,
    world: World = ALONE,
    stop: Stop | None = None,
) -> Loop:
    """The loop that trains a network with the parameters of its origin, at its first step."""
    params = origin.params
    batches = Batches(
        record=record,
        images=plan.images,
        seed=params.seed,
        batch_size=params.batch_size,
        crop_size=params.crop_size,
        ignore_label=params.ignore_label,
        workers=device.workers(params.workers),
        normalise=Normalise(mean=dataset.mean, std=dataset.std),
        scales=(params.min_scale, params.max_scale),
        world=world,
    )
    criterion = losses.build(params, world)
    learning_rates = schedules.build(params, plan.steps)
    optimizer = optimizers.build(params, net)
    weights = Weights(checkpoint.native(net), optimizer)  # before mixed precision moves them
    # O2 leaves batch norm in float32, that over all ranks included: it is a nn.BatchNorm2d.
    precise = amp.auto_mixed_precision(net, params.amp_level)
    step = HostStep(
        graph=TrainStep(precise, criterion, optimizer, world).set_train(),
        learning_rates=learning_rates,
        seed=params.seed,
        batch_size=params.batch_size,
        cells=len(net.architecture.net),
        operations=len(net.architecture.cell),
        drop_path_keep_prob=params.drop_path_keep_prob,
        world=world,
    )
    saver = Saver(
        state=state, weights=weights, plan=plan, origin=origin, stopwatch=Stopwatch(), world=world
    )
    reporter = None
    if world.rank == 0:
        lines_of_2021 = plan.steps_per_epoch if params.log_lines == "model_zoo" else None
        reporter = Reporter(plan.steps, lines_of_2021_every=lines_of_2021)
    return Loop(
        plan=plan,
        counters=Counters(position=plan.first_step, step=plan.first_step),
        batches=batches,
        step=step,
        saver=saver,
        stop=stop or Stop(),
        reporter=reporter,
        world=world,
    )


def _validate(validation: Validation | None, loop: Loop) -> None:
    if validation is None:
        return
    try:
        validation.add_to_history(loop.saver.weights.parameters, loop.counters, loop.plan)
    except Interrupted:
        loop.saver.save(loop.counters)
        raise Stopped.at(loop.counters, loop.plan, ", while validating") from None


def _load_start_weights(net: AutoDeepLab, params: Params, pretrained: Path, world: World) -> None:
    if params.ckpt_name is None:
        return
    leave_out = None if params.ckpt_classifier else CLASSIFIER
    loaded = checkpoint.load(net, pretrained / params.ckpt_name, leave_out=leave_out)
    if world.rank == 0:
        without = f", without {leave_out}" if leave_out else ""
        print(f"weights from {params.ckpt_name}: {loaded}{without}")


def _describe(architecture: Architecture, params: Params, plan: Plan, world: World) -> None:
    """Print what will run."""
    lines = architecture.describe()
    lines += summary.before_training(
        architecture,
        params,
        images=plan.images,
        steps=plan.steps,
        first_step=plan.first_step,
        devices=world.size,
    )
    if params.parallel and world.size == 1:
        lines.append("parallel: no effect on one device")
    if params.workers > device.cores():
        lines.append(f"workers: {device.cores()} instead of {params.workers}, the number of cores")
    print("\n".join(lines), flush=True)
