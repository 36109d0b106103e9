"""A training run, from its parameters to its result.

Every rank runs `train` on its slice of each global batch; rank 0 saves and reports. From the command to a step:

    pipeline/train.py           reads params.yaml, holds the run's lock, and has run/nodes.py start the processes,
                                each of which is a rank (run/worker.py) and calls
      train()                   this file: data, network, loss, schedule, optimizer, resume, loop, result
        Loop.run_epoch()        loop.py: batches and counters, when to save and when to stop; learning rate, loss scale
                                and masks of each step
          TrainStep             step.py: the graph of a step: forward, backward, sums over the ranks, update
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mindspore import amp

from adl import device, network
from adl.architecture import Architecture
from adl.config.params import Params
from adl.console import summary
from adl.console.reporter import Reporter
from adl.dataset.augment import Normalise
from adl.dataset.batches import Batches
from adl.dataset.records import read_manifest
from adl.network import AutoDeepLab, checkpoint, drop_path
from adl.parallel.world import ALONE, World
from adl.training.checkpoints import Weights
from adl.training.loop import Loop
from adl.training.losses import LOSSES, class_weights
from adl.training.optimizers import OPTIMIZERS
from adl.training.plan import Counters, Plan, Stop
from adl.training.schedules import SCHEDULES
from adl.training.state import State, TrainingJob
from adl.training.step import TrainStep
from adl.training.validation import Validation


def train(
    job: TrainingJob,
    *,
    world: World = ALONE,
    log_epochs: Callable[[Sequence[dict[str, float]]], None],
    stop: Stop,
) -> None:
    """Train on the job's record, from the newest whole state on, and leave the result in the state's folder.

    log_epochs(rows): called with those epochs that an earlier attempt trained, then after every epoch. stop: looked
    at before every step. Raises AdlError before anything is compiled if the parameters do not fit the data, and later
    if training diverges; Stopped when the state is saved because the run was asked to stop.
    """
    params = job.params
    manifest = read_manifest(job.record, params.descriptor)
    plan = Plan.of(params, manifest["images"])

    device.start(params.device_target, seed=params.seed, world=world)
    drop_path.check_hash()
    net = network.build(Architecture.from_params(params), world=world if params.parallel else ALONE)
    if world.is_first:
        _describe(net.architecture, params, plan)
    if params.ckpt_name:
        leave_out = None if params.ckpt_classifier else "decoder.classifier."
        loaded = checkpoint.load(net, job.pretrained / params.ckpt_name, leave_out=leave_out)
        if world.is_first:
            print(f"weights from {params.ckpt_name}: {loaded}")

    loop = assemble(job, net, manifest, plan, world=world, stop=stop)
    loop.resume()
    loop.validate()
    log_epochs(loop.counters.history)
    while not loop.counters.is_finished:
        loop.run_epoch()
        loop.validate()
        log_epochs(loop.counters.history[-1:])
    if world.is_first:
        loop.write_result()


def assemble(
    job: TrainingJob,
    net: AutoDeepLab,
    manifest: Mapping[str, Any],
    plan: Plan,
    *,
    world: World,
    stop: Stop,
) -> Loop:
    """The loop that trains a network, at its first step. manifest: of the job's record."""
    params = job.params
    optimizer = OPTIMIZERS[params.optimizer](params, net)
    weights = Weights(net, optimizer)  # before mixed precision moves them
    # O2 leaves batch norm in float32, that over all ranks included: it is a nn.BatchNorm2d.
    precise = amp.auto_mixed_precision(net, params.amp_level)
    weights_of_classes = class_weights(params.class_weights, manifest)
    criterion = LOSSES[params.criterion](params, world, weights_of_classes)
    validation = reporter = None
    if params.eval_epochs:
        validation = Validation(
            net.architecture,
            job.val_record,
            params.descriptor,
            window=params.eval_window,
            world=world,
            stop=stop,
        )
    if world.is_first:
        if weights_of_classes is not None:
            pairs = zip(params.descriptor.class_names, weights_of_classes.tolist(), strict=True)
            print("class weights:", ", ".join(f"{name} {weight:.3g}" for name, weight in pairs))
        per_epoch = plan.steps_per_epoch if params.log_lines == "model_zoo" else None
        reporter = Reporter(plan.steps, model_zoo_lines_every=per_epoch)
    return Loop(
        state=State(job.state),
        weights=weights,
        counters=Counters(plan=plan, position=plan.first_step, step=plan.first_step),
        params=params,
        manifest=manifest,
        world=world,
        batches=Batches(
            record=job.record,
            images=plan.images,
            params=params,
            normalise=Normalise(params.descriptor),
            world=world,
        ),
        graph=TrainStep(precise, criterion, optimizer, world).set_train(),
        learning_rates=SCHEDULES[params.schedule](params, plan.steps),
        validation=validation,
        stop=stop,
        reporter=reporter,
    )


def _describe(architecture: Architecture, params: Params, plan: Plan) -> None:
    """Print what will run."""
    print(
        *architecture.describe(),
        *summary.before_training(
            architecture,
            params,
            images=plan.images,
            steps=plan.steps,
            first_step=plan.first_step,
            devices=params.device_num,
        ),
        sep="\n",
        flush=True,
    )
    if params.parallel and params.device_num == 1:
        print("parallel: no effect on one device")
    if params.workers > device.cores():
        print(f"workers: {device.cores()} instead of {params.workers}, the number of cores")
