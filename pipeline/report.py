"""Stage `report`: render every metric as a page.

reads:  params.yaml, dvc.lock, metrics/, reports/, the checkpoint's sidecar, the val manifest. Missing inputs are
        reported as missing.
writes: reports/miou.md, reports/index.html (the same with pictures, in one file); outside DVC,
        what `adl report` writes: reports/performance.md and .html

example: python -m pipeline.report
"""

from __future__ import annotations

from adl.config import params
from adl.files import write_text
from adl.report import page, performance, report
from adl.report.results import Results
from adl.workspace import PERFORMANCE_PAGE, REPORTS
from pipeline import parser, run


def main() -> None:
    parser("report", __doc__).parse_args()
    p = params.load()
    asked = {
        "data_path": p.data_path,
        "ms_infer": p.ms_infer,
        "eval_flip": p.eval_flip,
        "eval_window": p.eval_window,
        "eval_images": p.eval_images,
    }
    results = Results.read(p.descriptor, asked)
    content = report.blocks(results)
    write_text(REPORTS / "miou.md", page.markdown(content))
    write_text(REPORTS / "index.html", page.web_page(content, {"Performance": PERFORMANCE_PAGE.name}))
    performance.write(results)


if __name__ == "__main__":
    run(main)
