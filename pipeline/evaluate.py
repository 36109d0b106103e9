"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord, data/baselines.npz
writes: metrics/evaluate.json, data/predictions/evaluate, reports/evaluate; outside DVC reports/speed/evaluate.json

Outside DVC, --checkpoint FILE --output DIR scores any checkpoint, and replaces DIR/predictions and DIR/report if it
made them; a checkpoint without a sidecar (FILE.json) takes its architecture from params.yaml. --model FILE scores an
exported file. device_num processes share the images. --split train shows no baselines: they were fitted on it.

example: python -m pipeline.evaluate --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

import argparse

from adl import device, workspace
from adl.config import params
from adl.dataset import records
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.evaluation import tables
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.evaluate import evaluate
from adl.evaluation.inference import Mode
from adl.files import check_replaceable, digest, write_json
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
    RECORDS,
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
    record = workspace.record(RECORDS, CITYSCAPES.name, arguments.split)
    train_record = workspace.record(RECORDS, CITYSCAPES.name, "train")
    trained_pixels = records.read_manifest(train_record, CITYSCAPES)["pixels"]
    baselines = Scores.load(BASELINES) if arguments.split == "val" else None
    model = arguments.model or arguments.checkpoint
    architecture = None
    if not arguments.model:
        architecture = checkpoint.architecture_of(model, p, CITYSCAPES)
    job = EvaluationJob(
        model=model,
        architecture=architecture,
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

    result = evaluate(job, predictions, CITYSCAPES, launch=lambda command: Launcher(logs).run(command, nodes))
    compared = baselines.mean_ious(CITYSCAPES, result.names) if baselines else None
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


def parse() -> argparse.Namespace:
    command = parser("evaluate", __doc__)
    command.add_argument(
        "--split",
        choices=CITYSCAPES.split_sizes,
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
    if arguments.split in CITYSCAPES.withheld:
        raise AdlError(f"--split {arguments.split}: {CITYSCAPES.withheld[arguments.split]}.")
    if arguments.split != "val" and not arguments.output:
        command.error("--split needs --output, so that the pipeline's own results stay as they are")
    if arguments.eval_batch_size < 1:
        command.error("--eval-batch-size: at least 1")
    return arguments


if __name__ == "__main__":
    run(main)
