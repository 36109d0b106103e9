"""Stage `baselines`: what three predictors without a network reach on the val record, fitted on the train record.

reads:  data/mindrecord
writes: data/baselines.npz, the counts of each val image, which `evaluate` shows beside its own; metrics/baselines.json

example: python -m pipeline.baselines
"""

from __future__ import annotations

from adl import device, workspace
from adl.config import params
from adl.evaluation import baselines
from adl.files import write_json
from adl.workspace import BASELINES, METRICS
from pipeline import parser, run


def main() -> None:
    parser("baselines", __doc__).parse_args()
    dataset = params.load().descriptor
    scores = baselines.score(workspace.record("train"), workspace.record("val"), dataset, processes=device.cores())
    scores.save(BASELINES)
    write_json(METRICS / "baselines.json", scores.metrics(dataset))


if __name__ == "__main__":
    run(main)
