"""Stage `evaluate`: score the checkpoint on the val record, beside three baselines.

Outside DVC: python -m pipeline.evaluate --checkpoint FILE --output DIR scores any checkpoint; one without a sidecar
(FILE.json) takes its architecture from params.yaml.
"""

from __future__ import annotations

from adl import checkpoint, evaluation, params, records
from adl.artifacts import write_json
from adl.baselines import Baselines
from adl.progress import track
from pipeline import METRICS, PREDICTIONS, RECORDS, REPORTS, checkpoint_arguments, run


def main() -> None:
    checkpoint_file, output = checkpoint_arguments(__doc__)
    predictions = output / "predictions" if output else PREDICTIONS / "evaluate"
    report = output / "report" if output else REPORTS / "evaluate"

    p = params.load()
    architecture = checkpoint.architecture_of(checkpoint_file, p)
    network = checkpoint.restore(checkpoint_file, architecture, device_target=p.device_target)
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
