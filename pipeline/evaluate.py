"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

Outside DVC: python -m pipeline.evaluate --checkpoint FILE --output DIR scores any checkpoint; one without a sidecar
(FILE.json) takes its architecture from params.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adl import checkpoint, evaluation, params, records
from adl.artifacts import write_json
from adl.baselines import Baselines
from adl.progress import track
from pipeline import CHECKPOINT, METRICS, PREDICTIONS, RECORDS, REPORTS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--output", type=Path, help="folder for all results, instead of the pipeline's own places")
    args = parser.parse_args()
    if args.checkpoint != CHECKPOINT and args.output is None:
        parser.error("--checkpoint needs --output, so that the pipeline's own results stay as they are")
    output = args.output
    predictions = output / "predictions" if output else PREDICTIONS / "evaluate"
    report = output / "report" if output else REPORTS / "evaluate"

    p = params.load()
    architecture = checkpoint.architecture_of(args.checkpoint, p)
    network = checkpoint.restore(args.checkpoint, architecture, device_target=p.device_target)
    train, record = (records.record_path(RECORDS, split) for split in ("train", "val"))
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
