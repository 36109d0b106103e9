"""Stage `infer`: run the exported file on the raw val images, and compare it with what `evaluate` found."""

from __future__ import annotations

from adl import cityscapes, deployment, params
from adl.artifacts import write_json
from pipeline import METRICS, MINDIR, PREDICTIONS, REPORTS, run


def main() -> None:
    p = params.load()
    result = deployment.infer(
        MINDIR,
        cityscapes.frames(p.data_path, "val")[: p.eval_images],
        device_target=p.device_target,
        flip=p.eval_flip,
        reference=PREDICTIONS / "evaluate",
        predictions=PREDICTIONS / "infer",
    )
    write_json(METRICS / "infer.json", result.metrics)
    write_json(REPORTS / "speed" / "infer.json", result.speed)
    print(f"mIOU {result.metrics['mIOU']:.2f}, {result.metrics['agreement']:.4f} % of the labels as in evaluate")


if __name__ == "__main__":
    run(main)
