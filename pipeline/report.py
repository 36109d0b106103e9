"""Stage `report`: render every metric as a page, and one picture for the README.

reads:  params.yaml, metrics/, reports/, the checkpoint's sidecar, the val manifest; of git and DVC the runs that differ
        only in their seed. What is missing is said to be missing.
writes: reports/miou.md, reports/index.html (the same with pictures, in one file), reports/preview.png

example: python -m pipeline.report
"""

from __future__ import annotations

from adl import figures, page, params, report, runs
from adl.artifacts import write_text
from adl.errors import AdlError
from adl.report import Results
from adl.runs import Run
from pipeline import CHECKPOINT, METRICS, RECORDS, REPORTS, parser, run


def main() -> None:
    parser("report", __doc__).parse_args()
    p = params.load()
    asked = {"ms_infer": p.ms_infer, "eval_flip": p.eval_flip, "eval_images": p.eval_images}
    this, others = finished_runs()
    results = Results.read(
        METRICS,
        REPORTS / "speed",
        CHECKPOINT,
        RECORDS / "cityscapes_val.json",
        data_path=p.data_path,
        # As the run was evaluated, not as it may be asked for by now.
        evaluation={name: this.params[name] if this else value for name, value in asked.items()},
        over_seeds=runs.spread(this, others) if this else "",
        recipe=this.recipe if this else None,
    )
    content = report.blocks(results, REPORTS)
    write_text(REPORTS / "miou.md", page.markdown(content))
    write_text(REPORTS / "index.html", page.web_page(content))
    picture = REPORTS / "evaluate" / "overlays" / "median.png"
    if picture.exists():
        figures.preview(picture, REPORTS / "preview.png")


def finished_runs() -> tuple[Run | None, list[Run]]:
    """The workspace's own run, if it is finished, and all others."""
    try:
        return runs.load(runs.WORKSPACE), runs.collect()
    except AdlError:
        return None, []


if __name__ == "__main__":
    run(main)
