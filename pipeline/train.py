"""Stage `train`: train on the record; write the checkpoint, its sidecar, metrics and learning curves."""

from __future__ import annotations

from dvclive import Live

from adl import figures, params, training
from adl.artifacts import write_json
from adl.records import record_path
from pipeline import CHECKPOINT, METRICS, PRETRAINED, RECORDS, REPORTS, run, state_folder


def main() -> None:
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
