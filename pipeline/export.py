"""Stage `export`: write the checkpoint as a MINDIR that takes raw images, and prove that it gives the same results.

Outside DVC: python -m pipeline.export --checkpoint FILE --output DIR exports any checkpoint; one without a sidecar
(FILE.json) takes its architecture from params.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adl import checkpoint, export, params
from adl.artifacts import write_json
from adl.records import record_path
from pipeline import CHECKPOINT, METRICS, MINDIR, RECORDS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--output", type=Path, help="folder for all results, instead of the pipeline's own places")
    args = parser.parse_args()
    if args.checkpoint != CHECKPOINT and args.output is None:
        parser.error("--checkpoint needs --output, so that the pipeline's own results stay as they are")

    p = params.load()
    mindir = args.output / MINDIR.name if args.output else MINDIR
    architecture = checkpoint.architecture_of(args.checkpoint, p)
    size = {"height": p.export_height, "width": p.export_width}
    proof = export.mindir(
        checkpoint.restore(args.checkpoint, architecture, device_target=p.device_target),
        mindir,
        **size,
        record=record_path(RECORDS, "val"),
    )
    export.write_sidecar(mindir, source=args.checkpoint, architecture=architecture, **size)
    write_json((args.output or METRICS) / "export.json", proof.metrics())
    print(f"{mindir}: largest difference {proof.difference:.2g}, equal labels {100 * proof.agreement:.4f} %")


if __name__ == "__main__":
    run(main)
