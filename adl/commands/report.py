"""write how long training and inference of the present model took, and on what

reads:  reports/speed, metrics/, the checkpoint and its sidecar, params.yaml, dvc.lock; with --preview
        reports/evaluate/overlays/median.png
writes: reports/performance.md and reports/performance.html, which git ignores; with --preview reports/preview.png, the
        picture of README

example: adl report --preview
"""

from __future__ import annotations

import argparse

from adl.errors import AdlError
from adl.workspace import PERFORMANCE, PERFORMANCE_PAGE, REPORTS

PREVIEW = REPORTS / "preview.png"
MEDIAN = REPORTS / "evaluate/overlays/median.png"


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--preview",
        action="store_true",
        help="make the picture of README anew too, from the image with the median mIOU",
    )


def run(arguments: argparse.Namespace) -> None:
    from adl.config import params
    from adl.report import figures, performance
    from adl.report.results import Results

    if arguments.preview and not MEDIAN.exists():
        raise AdlError(f"{MEDIAN}: is missing; `dvc repro` draws it.")
    p = params.load()
    performance.write(Results.read(p.descriptor, p.model_dump()))
    print(f"{PERFORMANCE}, {PERFORMANCE_PAGE}: times and speeds")
    if arguments.preview:
        figures.preview(MEDIAN, PREVIEW)
        print(f"{PREVIEW}: the image with the median mIOU")
