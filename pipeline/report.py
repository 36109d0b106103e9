"""Stage `report`: render every metric as a page, and one picture for the README.

reads:  params.yaml, metrics/, the checkpoint's sidecar, reports/evaluate
writes: reports/miou.md, reports/preview.png

example: python -m pipeline.report
"""

from __future__ import annotations

import shutil

from adl import params, report
from adl.artifacts import replacing, write_text
from pipeline import CHECKPOINT, METRICS, REPORTS, parser, run


def main() -> None:
    parser("report", __doc__).parse_args()
    p = params.load()
    page = report.miou(
        METRICS,
        CHECKPOINT,
        data_path=p.data_path,
        ms_infer=p.ms_infer,
        eval_flip=p.eval_flip,
        eval_images=p.eval_images,
    )
    write_text(REPORTS / "miou.md", page)
    with replacing(REPORTS / "preview.png") as temporary:
        shutil.copyfile(REPORTS / "evaluate" / "overlays" / "median_1.png", temporary)


if __name__ == "__main__":
    run(main)
