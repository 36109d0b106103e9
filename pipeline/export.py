"""Stage `export`: write the checkpoint as a MINDIR that takes raw images, and prove that it gives the same results.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord (three val images, for the proof)
writes: models/autodeeplab.mindir and its sidecar, metrics/export.json

Outside DVC, --checkpoint FILE --output DIR exports any checkpoint, as ONNX too; one without a sidecar (FILE.json)
takes its architecture from params.yaml.

example: python -m pipeline.export --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

from adl import params, workspace
from adl.artifacts import write_json
from adl.dataset.descriptor import CITYSCAPES
from adl.deploy import export, exported
from adl.network import checkpoint
from adl.workspace import METRICS, MINDIR, RECORDS
from pipeline import checkpoint_arguments, parser, run


def main() -> None:
    arguments = checkpoint_arguments(parser("export", __doc__))
    source, output = arguments.checkpoint, arguments.output

    p = params.load()
    architecture = checkpoint.architecture_of(source, p, CITYSCAPES)
    network = checkpoint.restore(source, architecture, device_target=p.device_target)
    size = {"height": p.export_height, "width": p.export_width}
    any_size = {"height": None, "width": None}
    record = workspace.record(RECORDS, CITYSCAPES.name, "val")
    proofs = {}
    files = (
        [(output / MINDIR.name, size), (output / MINDIR.with_suffix(".onnx").name, any_size)]
        if output
        else [(MINDIR, size)]
    )
    for path, takes in files:
        proof = export.write(network, path, CITYSCAPES, **size, record=record)
        exported.write_sidecar(
            path, source=source, architecture=architecture, dataset=CITYSCAPES, **takes
        )
        proofs[path.suffix.removeprefix(".")] = proof.metrics()
        print(
            f"{path}: largest difference {proof.difference:.2g}, equal labels {100 * proof.agreement:.4f} %"
        )
    write_json((output or METRICS) / "export.json", proofs)


if __name__ == "__main__":
    run(main)
