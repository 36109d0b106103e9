"""Stage `export`: write the checkpoint as a MINDIR that takes raw images, and prove that it gives the same results.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord (three val images, for the proof)
writes: models/autodeeplab.mindir and its sidecar, metrics/export.json

Outside DVC, --checkpoint FILE --output DIR exports any checkpoint; one without a sidecar (FILE.json) takes its
architecture from params.yaml.

example: python -m pipeline.export --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

from adl import checkpoint, export, params
from adl.artifacts import write_json
from adl.records import record_path
from pipeline import METRICS, MINDIR, RECORDS, checkpoint_arguments, parser, run


def main() -> None:
    arguments = checkpoint_arguments(parser("export", __doc__))
    checkpoint_file, output = arguments.checkpoint, arguments.output

    p = params.load()
    mindir = output / MINDIR.name if output else MINDIR
    architecture = checkpoint.architecture_of(checkpoint_file, p)
    size = {"height": p.export_height, "width": p.export_width}
    proof = export.mindir(
        checkpoint.restore(checkpoint_file, architecture, device_target=p.device_target),
        mindir,
        **size,
        record=record_path(RECORDS, "val"),
    )
    export.write_sidecar(mindir, source=checkpoint_file, architecture=architecture, **size)
    write_json((output or METRICS) / "export.json", proof.metrics())
    print(f"{mindir}: largest difference {proof.difference:.2g}, equal labels {100 * proof.agreement:.4f} %")


if __name__ == "__main__":
    run(main)
