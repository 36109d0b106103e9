"""Stage `export`: write the checkpoint as a MINDIR that takes raw images, and prove that it gives the same results.

Outside DVC: python -m pipeline.export --checkpoint FILE --output DIR exports any checkpoint; one without a sidecar
(FILE.json) takes its architecture from params.yaml.
"""

from __future__ import annotations

from adl import checkpoint, export, params
from adl.artifacts import write_json
from adl.records import record_path
from pipeline import METRICS, MINDIR, RECORDS, checkpoint_arguments, run


def main() -> None:
    checkpoint_file, output = checkpoint_arguments(__doc__)

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
