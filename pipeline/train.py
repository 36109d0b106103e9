"""Stage `train`: train on the train record; write the checkpoint, its sidecar, metrics and learning curves.

reads:  params.yaml, data/mindrecord, the architecture files, pretrained/ where ckpt_name names a file
writes: models/autodeeplab.ckpt and its sidecar, metrics/train.json, reports/train, reports/speed/train.json

example: python -m pipeline.train
"""

from __future__ import annotations

from dvclive import Live

from adl import figures, params, training
from adl.artifacts import write_json
from adl.records import record_path
from pipeline import CHECKPOINT, METRICS, PRETRAINED, RECORDS, REPORTS, parser, run, state_folder


def main() -> None:
    parser("train", __doc__).parse_args()
    p = params.load()
    history = []
    with Live(str(REPORTS / "train"), dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def log_epoch(epoch: int, values: dict[str, float]) -> None:
            history.append({"epoch": epoch + 1, **values})
            for name, value in values.items():
                live.log_metric(name, value)
            live.next_step()

        result = training.train(
            p,
            record_path(RECORDS, "train"),
            CHECKPOINT,
            log_epoch=log_epoch,
            pretrained=PRETRAINED,
            saved=state_folder(),
        )
    figures.save(figures.learning_curves(history), REPORTS / "train" / "curves.png")
    write_json(METRICS / "train.json", result.metrics)
    write_json(REPORTS / "speed" / "train.json", result.speed)


if __name__ == "__main__":
    run(main)
