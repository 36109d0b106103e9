"""Training: every rank runs it on its slice of each global batch; rank 0 saves and reports."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adl import checkpoint, network, runtime, summary
from adl.architecture import Architecture
from adl.artifacts import digest, remove, replacing_folder, sidecar_path, to_disk, write_json
from adl.network import drop_path
from adl.params import TRAINING, Params
from adl.records import read_manifest
from adl.runtime import ALONE, World
from adl.state import State, seal
from adl.training.loop import Loop as Loop
from adl.training.loop import Plan as Plan
from adl.training.loop import Stopped as Stopped
from adl.validation import Validation

CHECKPOINT = "autodeeplab.ckpt"
CLASSIFIER = "decoder.classifier."


def train(
    params: Params,
    record: Path,
    state: State,
    *,
    val_record: Path | None = None,
    world: World = ALONE,
    pretrained: Path = Path("pretrained"),
    log_epochs: Callable[[Sequence[dict[str, float]]], None] = lambda rows: None,
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Train on a record, from the newest whole state on, and leave the result in the state's folder.

    log_epochs(rows) is told of every epoch, and of those that an earlier attempt trained at once. stopping: asked
    after every step. Raises AdlError before anything is compiled where the parameters do not fit the data, and later
    where the loss stays without finite gradients; Stopped when the state is saved because it was asked to.
    """
    architecture = Architecture.from_params(params)
    manifest = read_manifest(record)
    plan = Plan.of(params, manifest)
    runtime.start(params.device_target, seed=params.seed, world=world)
    drop_path.check_hash()
    net = network.build(architecture, world=world if params.parallel else ALONE)
    say = print if world.rank == 0 else lambda *_, **__: None
    about_to_run = summary.before_training(
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
    say("\n".join([*architecture.describe(), *about_to_run]), flush=True)
    if params.ckpt_name:
        leave_out = None if params.ckpt_classifier else CLASSIFIER
        loaded = checkpoint.load(net, pretrained / params.ckpt_name, leave_out=leave_out)
        say(f"weights from {params.ckpt_name}: {loaded}" + (f", without {leave_out}" if leave_out else ""))
    if params.parallel and world.size == 1:
        say("parallel: no effect on one device")
    if params.workers > runtime.cores():
        say(f"workers: {runtime.cores()} instead of {params.workers}, the number of cores")

    validation = None
    if val_record and params.eval_epochs:
        validation = Validation(architecture, val_record, world, stopping)
    sidecar = functools.partial(_sidecar, architecture=architecture, manifest=manifest, params=params)
    loop = Loop(net, params, plan, record, state, world, stopping, validation, sidecar)
    if loop.resume():
        say(f"resuming at step {loop.position:,} of {plan.steps:,}", flush=True)
    loop.validate()
    log_epochs(loop.history)
    while loop.position < plan.steps:
        loop.run_epoch()
        loop.validate()
        log_epochs(loop.history[-1:])
    if world.rank == 0:
        _write_result(state, params, loop)


def _sidecar(output: Path, *, epoch: int, architecture: Architecture, manifest: dict[str, Any], params: Params) -> None:
    """Write beside a checkpoint what it is. epoch: how many epochs it was trained, of how many is in its params."""
    content = {
        "format": 1,
        "architecture": architecture.to_json(),
        "data": {"digest": manifest["digest"], "images": manifest["images"]},
        "digest": digest(output),
        "epoch": epoch,
        "params": params.model_dump(include=set(TRAINING)),
    }
    write_json(sidecar_path(output), content)


def _write_result(state: State, params: Params, loop: Loop) -> None:
    """The folder `result` is the record of completion: it appears whole."""
    loop.check_finite()
    with replacing_folder(state.result) as folder:
        checkpoint.save(loop.parameters, folder / CHECKPOINT)
        loop.sidecar(folder / CHECKPOINT, epoch=params.epochs)
        kept = folder / state.intermediate.name
        kept.mkdir()
        for model in loop.intermediate():
            for path in (model, sidecar_path(model)):
                shutil.copyfile(path, kept / path.name)
        metrics = {
            "loss": loop.history[-1]["loss"] and round(loop.history[-1]["loss"], 6) if loop.history else None,
            "epochs": params.epochs - params.start_epoch,
            "steps": loop.step - loop.plan.first_step,
            "skipped_steps": loop.skipped,
            "images": loop.plan.images,
            "parameters": sum(p.size for p in loop.parameters.values() if p.requires_grad),
        }
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "history.json", loop.history)
        write_json(folder / "speed.json", loop.speed())
        seal(folder)
        to_disk(folder)
    state.drop_positions()
    remove(state.intermediate)
