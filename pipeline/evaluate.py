"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord, data/baselines.npz
writes: metrics/evaluate.json, data/predictions/evaluate, reports/evaluate; beside DVC reports/speed/evaluate.json

Outside DVC, --checkpoint FILE --output DIR scores any checkpoint, and replaces DIR/predictions and DIR/report if it
made them; a checkpoint without a sidecar (FILE.json) takes its architecture from params.yaml. --model FILE scores an
exported file. device_num processes share the images. --split train shows no baselines: they were fitted on it.

example: python -m pipeline.evaluate --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from adl import device, workspace
from adl.config import params
from adl.config.params import Params
from adl.dataset import records
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.evaluation import tables
from adl.evaluation.evaluate import evaluate
from adl.evaluation.worker import EvaluationJob
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
    logs, metrics_folder, speed = LOGS / "evaluate", METRICS, workspace.SPEED
    if output := arguments.output:
        predictions, report = output / "predictions", output / "report"
        logs, metrics_folder, speed = output / "logs", output, output / "speed"
    for folder in (predictions, report):
        check_replaceable(folder)
    p = params.load()
    record = workspace.record(RECORDS, CITYSCAPES.name, arguments.split)
    trained_pixels = records.read_manifest(
        workspace.record(RECORDS, CITYSCAPES.name, "train"), CITYSCAPES
    )["pixels"]
    baselines = Scores.load(BASELINES) if arguments.split == "val" else None

    def launch(command: Sequence[str], processes: int) -> int:
        return Launcher(logs).run(command, local(processes, arguments.device_id))

    result = evaluate(
        job_of(p, arguments, record),
        predictions,
        CITYSCAPES,
        processes=processes(p, arguments.device_id),
        launch=launch,
    )
    if baselines is not None:
        result.baselines = baselines.confusions(CITYSCAPES, result.counts.names)
    metrics = result.metrics()
    if not arguments.model:
        metrics["checkpoint_epoch"] = checkpoint.epoch_of(arguments.checkpoint)
    if metrics["mIOU"] is None:
        raise AdlError(
            f"{record}: no pixel of its {result.images} images belongs to a class; there is nothing to score."
        )
    tables.write_report(result, record, report, trained_pixels=trained_pixels)
    write_json(metrics_folder / "evaluate.json", metrics)
    print(f"mIOU {metrics['mIOU']:.2f} ({result.selected}, {result.images} images)")
    model = digest(arguments.model or arguments.checkpoint)
    write_json(speed / "evaluate.json", result.speed() | {"checkpoint_digest": model})
    scored = {"digest": model, "mIOU": metrics["mIOU"], "images": metrics["images"]}
    write_json(report / SCORED.name, scored)


def parse() -> argparse.Namespace:
    command = parser("evaluate", __doc__)
    command.add_argument(
        "--split",
        choices=CITYSCAPES.split_sizes,
        default="val",
        help="default: %(default)s; others need --output",
    )
    command.add_argument(
        "--eval-batch-size", type=int, default=1, metavar="N", help="images at a time; default: 1"
    )
    command.add_argument(
        "--device-id", type=int, default=0, metavar="N", help="the first device to use"
    )
    command.add_argument(
        "--model",
        type=as_path,
        metavar="FILE",
        help="score an exported file (.mindir, .onnx) instead; needs --output",
    )
    arguments = checkpoint_arguments(command)
    if arguments.model and arguments.output is None:
        command.error("--model needs --output, so that the pipeline's own results stay as they are")
    if arguments.model and arguments.checkpoint != CHECKPOINT:
        command.error("--model scores an exported file instead of --checkpoint: name one of them")
    if arguments.model and arguments.eval_batch_size != 1:
        command.error("--eval-batch-size: an exported file takes one image at a time")
    if arguments.split in CITYSCAPES.withheld:
        raise AdlError(f"--split {arguments.split}: {CITYSCAPES.withheld[arguments.split]}.")
    if arguments.split != "val" and arguments.output is None:
        command.error("--split needs --output, so that the pipeline's own results stay as they are")
    if arguments.eval_batch_size < 1:
        command.error("--eval-batch-size: at least 1")
    return arguments


def job_of(p: Params, arguments: argparse.Namespace, record: Path) -> EvaluationJob:
    architecture = None
    if not arguments.model:
        architecture = checkpoint.architecture_of(arguments.checkpoint, p, CITYSCAPES).to_json()
    return EvaluationJob(
        model=str(arguments.model or arguments.checkpoint),
        architecture=architecture,
        record=str(record),
        device_target=p.device_target,
        multiscale=p.ms_infer,
        flip=p.eval_flip,
        limit=p.eval_images,
        batch_size=arguments.eval_batch_size,
    )


def processes(p: Params, first_device: int) -> int:
    """device_num, or as many as there are devices on this machine."""
    check_first_device(first_device, p.device_target)
    usable = device.devices(p.device_target)
    return min(p.device_num, max(1, usable - first_device)) if usable else p.device_num


if __name__ == "__main__":
    run(main)
