"""Stage `infer`: run the exported file on the raw val images, and compare it with what `evaluate` found.

reads:  params.yaml, models/autodeeplab.mindir and its sidecar, the val images and labels, data/predictions/evaluate
writes: metrics/infer.json, data/predictions/infer, reports/speed/infer.json

example: python -m pipeline.infer
"""

from __future__ import annotations

from adl import deployment, params
from adl.artifacts import write_json
from adl.cityscapes import layout
from pipeline import METRICS, MINDIR, PREDICTIONS, REPORTS, parser, run


def main() -> None:
    parser("infer", __doc__).parse_args()
    p = params.load()
    result = deployment.infer(
        MINDIR,
        layout.frames(p.data_path, "val")[: p.eval_images],
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
