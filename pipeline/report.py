"""Stage `report`: render every metric as a page, and one picture for the README."""

from __future__ import annotations

import shutil

from adl import params, report
from adl.artifacts import replacing, write_text
from pipeline import CHECKPOINT, METRICS, RECORDS, REPORTS, run


def main() -> None:
    write_text(REPORTS / "miou.md", report.miou(METRICS, CHECKPOINT, RECORDS, params.load()))
    with replacing(REPORTS / "preview.png") as temporary:
        shutil.copyfile(REPORTS / "evaluate" / "overlays" / "median_1.png", temporary)


if __name__ == "__main__":
    run(main)
