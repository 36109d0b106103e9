"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord, data/baselines.npz
writes: metrics/evaluate.json, data/predictions/evaluate, reports/evaluate; outside DVC reports/speed/evaluate.json

Outside DVC, --checkpoint FILE --output DIR scores any checkpoint, and replaces DIR/predictions and DIR/report if it
made them; a checkpoint without a sidecar (FILE.json) takes its architecture from params.yaml. --model FILE scores an
exported file. device_num processes share the images. --split NAME scores another split, and converts it if no stage
does; it shows no baselines, which are of val.

example: python -m pipeline.evaluate --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adl import device, workspace
from adl.config import params
from adl.dataset import records
from adl.errors import AdlError
from adl.evaluation import tables
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.evaluate import evaluate
from adl.evaluation.inference import Mode
from adl.files import check_replaceable, digest, write_json
from adl.launch import foreground
from adl.launch.environment import child_environment
from adl.launch.launcher import Launcher
from adl.launch.topology import check_first_device, local
from adl.metrics.baselines import Scores
from adl.network import checkpoint
from adl.workspace import (
    BASELINES,
    CHECKPOINT,
    LOGS,
    METRICS,
    PREDICTIONS,
    REPORTS,
    SCORED,
    as_path,
)
from pipeline import checkpoint_arguments, parser, run


def main() -> None:
    arguments = parse()
    predictions, report = PREDICTIONS / "evaluate", REPORTS / "evaluate"
    logs, results, speed = LOGS / "evaluate", METRICS, workspace.SPEED
    if output := arguments.output:
        predictions, report = output / "predictions", output / "report"
        logs, results, speed = output / "logs", output, output / "speed"
    check_replaceable(predictions)
    check_replaceable(report)
    p = params.load()
    p.descriptor.check_labelled(arguments.split)
    model = arguments.model or arguments.checkpoint
    architecture, dataset = checkpoint.origin(model, None if arguments.model else p)
    record = record_of(arguments.split, output)
    trained_pixels = records.read_manifest(workspace.record("train"), dataset)["pixels"]
    baselines = Scores.load(BASELINES) if arguments.split == "val" else None
    job = EvaluationJob(
        model=model,
        architecture=None if arguments.model else architecture,
        dataset=dataset,
        record=record,
        device_target=p.device_target,
        mode=Mode(multiscale=p.ms_infer, mirror=p.eval_flip, window=p.eval_window),
        limit=p.eval_images,
        batch_size=arguments.eval_batch_size,
    )
    # device_num processes, or as many as there are devices on this machine.
    first_device, processes = arguments.device_id, p.device_num
    check_first_device(first_device, p.device_target)
    if usable := device.devices(p.device_target):
        processes = min(processes, max(1, usable - first_device))
    nodes = local(processes, first_device)

    result = evaluate(job, predictions, launch=lambda command: Launcher(logs).run(command, nodes))
    compared = baselines.mean_ious(dataset, result.names) if baselines else None
    metrics = result.metrics(compared)
    miou, images = metrics["mIOU"], metrics["images"]
    if not arguments.model:
        metrics["checkpoint_epoch"] = checkpoint.epoch_of(model)
    if miou is None:
        raise AdlError(f"{record}: no pixel of its {images} images belongs to a class; there is nothing to score.")
    tables.write_report(result, metrics, record, report, trained_pixels=trained_pixels)
    write_json(results / "evaluate.json", metrics)
    print(f"mIOU {miou:.2f} ({result.selected}, {images} images)")
    model_digest = digest(model)
    write_json(speed / "evaluate.json", result.speed() | {"checkpoint_digest": model_digest})
    write_json(report / SCORED.name, {"digest": model_digest, "mIOU": miou, "images": images})


def record_of(split: str, output: Path | None) -> Path:
    """The record of a split; one that no stage makes is converted into the folder of the results."""
    if output is None or split in ("train", "val"):
        return workspace.record(split)
    # As a process, so that the score of val does not depend on the code that converts.
    command = [sys.executable, "-m", "pipeline.mindrecord", "--split", split, "--output", str(output)]
    if code := foreground.run(command, child_environment({})):
        sys.exit(code)
    return workspace.record(split, output)


def parse() -> argparse.Namespace:
    command = parser("evaluate", __doc__)
    command.add_argument(
        "--split",
        default="val",
        help="default: %(default)s; others need --output",
    )
    command.add_argument("--eval-batch-size", type=int, default=1, metavar="N", help="images at a time; default: 1")
    command.add_argument("--device-id", type=int, default=0, metavar="N", help="the first device to use")
    command.add_argument(
        "--model",
        type=as_path,
        metavar="FILE",
        help="score an exported file (.mindir, .onnx) instead; needs --output",
    )
    arguments = checkpoint_arguments(command)
    if arguments.model:
        if not arguments.output:
            command.error("--model needs --output, so that the pipeline's own results stay as they are")
        if arguments.checkpoint != CHECKPOINT:
            command.error("--model scores an exported file instead of --checkpoint: name one of them")
        if arguments.eval_batch_size != 1:
            command.error("--eval-batch-size: an exported file takes one image at a time")
    if arguments.split != "val" and not arguments.output:
        command.error("--split needs --output, so that the pipeline's own results stay as they are")
    if arguments.eval_batch_size < 1:
        command.error("--eval-batch-size: at least 1")
    return arguments


if __name__ == "__main__":
    run(main)
