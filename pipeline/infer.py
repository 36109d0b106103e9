"""Stage `infer`: run the exported file on the raw val images, and compare it with what `evaluate` found.

reads:  params.yaml, models/autodeeplab.mindir and its sidecar, the val images and labels, data/predictions/evaluate
writes: metrics/infer.json, data/predictions/infer, reports/speed/infer.json

example: python -m pipeline.infer
"""

from __future__ import annotations

from adl import params
from adl.artifacts import write_json
from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import infer
from adl.intake import layout
from adl.workspace import METRICS, MINDIR, PREDICTIONS, SPEED
from pipeline import parser, run


def main() -> None:
    parser("infer", __doc__).parse_args()
    p = params.load()
    frames = layout.frames(p.data_path, "val", CITYSCAPES)
    result = infer.infer(
        MINDIR,
        frames[: p.eval_images],
        CITYSCAPES,
        device_target=p.device_target,
        flip=p.eval_flip,
        reference=PREDICTIONS / "evaluate",
        predictions=PREDICTIONS / "infer",
    )
    write_json(METRICS / "infer.json", result.metrics)
    write_json(SPEED / "infer.json", result.speed)
    print(
        f"mIOU {result.metrics['mIOU']:.2f}, {result.metrics['agreement']:.4f} % of the labels as in evaluate"
    )


if __name__ == "__main__":
    run(main)
