"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord, data/baselines.npz
writes: metrics/evaluate.json, data/predictions/evaluate, reports/evaluate, reports/speed/evaluate.json

Outside DVC, --checkpoint FILE --output DIR scores any checkpoint, and replaces DIR/predictions and DIR/report if it
made them; a checkpoint without a sidecar (FILE.json) takes its architecture from params.yaml. device_num processes
share the images. --split train shows no baselines: they were fitted on it.

example: python -m pipeline.evaluate --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

from pathlib import Path

from adl import checkpoint, evaluation, params, records
from adl.artifacts import check_replaceable, write_json
from adl.baselines import Scores
from adl.cityscapes import SPLIT_SIZES, WITHHELD
from adl.errors import AdlError
from adl.evaluation import Job
from pipeline import BASELINES, LOGS, METRICS, PREDICTIONS, RECORDS, REPORTS, checkpoint_arguments, parser, run


def main() -> None:
    whole = parser("evaluate", __doc__)
    whole.add_argument("--split", choices=SPLIT_SIZES, default="val", help="default: %(default)s; others need --output")
    whole.add_argument("--eval-batch-size", type=int, default=1, metavar="N", help="images at a time; default: 1")
    whole.add_argument("--device-id", type=int, default=0, metavar="N", help="the first device to use")
    arguments = checkpoint_arguments(whole)
    output: Path | None = arguments.output
    if arguments.split == "test":
        raise AdlError(f"--split test: {WITHHELD}")
    if arguments.split != "val" and output is None:
        whole.error("--split needs --output, so that the pipeline's own results stay as they are")
    if arguments.eval_batch_size < 1:
        whole.error("--eval-batch-size: at least 1")
    predictions = output / "predictions" if output else PREDICTIONS / "evaluate"
    report = output / "report" if output else REPORTS / "evaluate"
    for folder in (predictions, report):
        check_replaceable(folder)

    p = params.load()
    record = records.record_path(RECORDS, arguments.split)
    trained_pixels = records.read_manifest(records.record_path(RECORDS, "train"))["pixels"]
    beside = Scores.load(BASELINES) if arguments.split == "val" else None
    job = Job(
        checkpoint=str(arguments.checkpoint),
        architecture=checkpoint.architecture_of(arguments.checkpoint, p).to_json(),
        record=str(record),
        device_target=p.device_target,
        multiscale=p.ms_infer,
        flip=p.eval_flip,
        limit=p.eval_images,
        batch_size=arguments.eval_batch_size,
    )
    logs = output / "logs" if output else LOGS / "evaluate"
    result = evaluation.evaluate(job, predictions, processes=p.device_num, first_device=arguments.device_id, logs=logs)
    if beside is not None:
        result.baselines = beside.of(result.counts.names)
    metrics = result.metrics() | {"checkpoint_epoch": checkpoint.epoch_of(arguments.checkpoint)}
    if metrics["mIOU"] is None:
        raise AdlError(
            f"{record}: no pixel of its {result.images} images belongs to a class; there is nothing to score."
        )
    evaluation.write_report(result, record, report, trained_pixels=trained_pixels)
    write_json((output or METRICS) / "evaluate.json", metrics)
    write_json((output or REPORTS) / "speed" / "evaluate.json", result.speed())
    print(f"mIOU {metrics['mIOU']:.2f} ({result.selected}, {result.images} images)")


if __name__ == "__main__":
    run(main)
