"""Stage `report`: render every metric as a page, and one picture for the README.

reads:  params.yaml, metrics/, reports/, the checkpoint's sidecar, the val manifest; of git and DVC the runs that differ
        only in their seed. Missing inputs are reported as missing.
writes: reports/miou.md, reports/index.html (the same with pictures, in one file), reports/preview.png

example: python -m pipeline.report
"""

from __future__ import annotations

from adl import params, workspace
from adl.artifacts import write_text
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.reporting import figures, page, report, runs
from adl.reporting.results import Results
from adl.reporting.runs import Run
from adl.workspace import CHECKPOINT, METRICS, RECORDS, REPORTS, SPEED
from pipeline import parser, run


def main() -> None:
    parser("report", __doc__).parse_args()
    p = params.load()
    this, others = finished_runs()
    over_seeds = ""
    if this and others is not None:
        over_seeds = runs.spread(this, others)
    results = Results.read(
        CITYSCAPES,
        metrics=METRICS,
        speed=SPEED,
        checkpoint=CHECKPOINT,
        val_manifest=workspace.manifest(workspace.record(RECORDS, CITYSCAPES.name, "val")),
        # As the run was trained and evaluated, not as the next one may be asked for by now.
        params=this.params if this else p.model_dump(),
        over_seeds=over_seeds,
        recipe=this.recipe if this else None,
    )
    content = report.blocks(results, REPORTS)
    write_text(REPORTS / "miou.md", page.markdown(content))
    write_text(REPORTS / "index.html", page.web_page(content))
    picture = REPORTS / "evaluate" / "overlays" / "median.png"
    if picture.exists():
        figures.preview(picture, REPORTS / "preview.png")


def finished_runs() -> tuple[Run | None, list[Run] | None]:
    """The workspace's own run, if it is finished, and all others; None if the history cannot be read."""
    try:
        this = runs.load(runs.WORKSPACE, CITYSCAPES)
    except AdlError:
        return None, None
    try:
        return this, runs.collect(CITYSCAPES)
    except AdlError as error:
        print(f"warning: runs of other seeds are not known: {error}")
        return this, None


if __name__ == "__main__":
    run(main)
