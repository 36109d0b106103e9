"""Stage `report`: render every metric as a page, and one picture for the README.

reads:  params.yaml, metrics/, reports/, the checkpoint's sidecar, the val manifest; of git and DVC the runs that differ
        only in their seed. What is missing is said to be missing.
writes: reports/miou.md, reports/index.html (the same with pictures, in one file), reports/preview.png

example: python -m pipeline.report
"""

from __future__ import annotations

import shutil

from adl import page, params, report, runs
from adl.artifacts import replacing, write_text
from adl.errors import AdlError
from adl.report import Results
from pipeline import CHECKPOINT, METRICS, RECORDS, REPORTS, parser, run


def main() -> None:
    parser("report", __doc__).parse_args()
    p = params.load()
    results = Results.read(
        METRICS,
        REPORTS / "speed",
        CHECKPOINT,
        RECORDS / "cityscapes_val.json",
        data_path=p.data_path,
        evaluation={"ms_infer": p.ms_infer, "eval_flip": p.eval_flip, "eval_images": p.eval_images},
        over_seeds=over_seeds(),
    )
    content = report.blocks(results, REPORTS)
    write_text(REPORTS / "miou.md", page.markdown(content))
    write_text(REPORTS / "index.html", page.web_page(content))
    preview = REPORTS / "evaluate" / "overlays" / "median.png"
    if preview.exists():
        with replacing(REPORTS / "preview.png") as temporary:
            shutil.copyfile(preview, temporary)


def over_seeds() -> str:
    try:
        this = runs.load(runs.WORKSPACE)
    except AdlError:
        return ""
    return runs.spread(this, runs.collect())


if __name__ == "__main__":
    run(main)
