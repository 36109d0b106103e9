"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord
writes: metrics/evaluate.json, data/predictions/evaluate, reports/evaluate, reports/speed/evaluate.json

Outside DVC, --checkpoint FILE --output DIR scores any checkpoint; one without a sidecar (FILE.json) takes its
architecture from params.yaml.

example: python -m pipeline.evaluate --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

from adl import checkpoint, evaluation, params, records
from adl.artifacts import write_json
from adl.baselines import Baselines
from adl.cityscapes import SPLIT_SIZES, WITHHELD
from adl.errors import AdlError
from adl.progress import track
from pipeline import METRICS, PREDICTIONS, RECORDS, REPORTS, checkpoint_arguments, parser, run


def main() -> None:
    whole = parser("evaluate", __doc__)
    whole.add_argument("--split", choices=SPLIT_SIZES, default="val", help="default: %(default)s; others need --output")
    arguments = checkpoint_arguments(whole)
    checkpoint_file, output, split = arguments.checkpoint, arguments.output, arguments.split
    if split == "test":
        raise AdlError(f"--split test: {WITHHELD}")
    if split != "val" and output is None:
        whole.error("--split needs --output, so that the pipeline's own results stay as they are")
    predictions = output / "predictions" if output else PREDICTIONS / "evaluate"
    report = output / "report" if output else REPORTS / "evaluate"

    p = params.load()
    architecture = checkpoint.architecture_of(checkpoint_file, p)
    network = checkpoint.restore(checkpoint_file, architecture, device_target=p.device_target)
    train, record = (records.record_path(RECORDS, name) for name in ("train", split))
    seen = track(records.read(train), records.read_manifest(train)["images"], "fitting the baselines")
    result = evaluation.evaluate(
        network,
        record,
        multiscale=p.ms_infer,
        flip=p.eval_flip,
        limit=p.eval_images,
        predictions=predictions,
        baselines=Baselines(seen),
    )
    evaluation.write_report(result, record, predictions, report)
    write_json((output or METRICS) / "evaluate.json", result.metrics())
    write_json((output or REPORTS) / "speed" / "evaluate.json", evaluation.speed(result, p.device_target))
    print(f"mIOU {result.metrics()['mIOU']:.2f} ({result.selected}, {len(result.per_image)} images)")


if __name__ == "__main__":
    run(main)
