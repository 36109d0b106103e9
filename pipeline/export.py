"""Stage `export`: write the checkpoint as files that take raw images, and prove that they give the same results.

reads:  params.yaml, models/autodeeplab.ckpt and its sidecar, data/mindrecord (val images for the proof, train images
        to calibrate 8 bits on), data/predictions/evaluate (the checkpoint's labels, where they are of the same mode)
writes: models/autodeeplab.mindir, models/exported (the files that export_formats names), sidecars, metrics/export.json

Outside DVC, --checkpoint FILE --output DIR exports any checkpoint; one without a sidecar (FILE.json) takes its
architecture from params.yaml. A file is kept only if it equals the checkpoint; one in 8 bits if, with every instruction
set that this processor has, it loses at most one point of mIOU and gives 90 % of the checkpoint's labels.

example: python -m pipeline.export --checkpoint pretrained/old.ckpt --output old
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from adl import workspace
from adl.config import params
from adl.dataset.label_maps import LabelMaps
from adl.evaluation.inference import Mode
from adl.export.formats import FORMATS
from adl.export.writers import Exporter
from adl.files import replacing_folder, write_json
from adl.network import checkpoint
from adl.workspace import EXPORTED, METRICS, MINDIR, PREDICTIONS
from pipeline import checkpoint_arguments, parser, run


def main() -> None:
    arguments = checkpoint_arguments(parser("export", __doc__))
    source, output = arguments.checkpoint, arguments.output
    p = params.load()
    architecture, dataset = checkpoint.origin(source, p)
    record = workspace.record("val")
    exporter = Exporter(
        checkpoint.restore(source, architecture, device_target=p.device_target),
        dataset,
        size=(p.export_height, p.export_width),
        record=record,
        training_record=workspace.record("train"),
        mode=Mode(mirror=p.eval_flip, window=p.eval_window),
        evaluated=LabelMaps.of(PREDICTIONS / "evaluate", model=source, record=record, dataset=dataset),
    )
    proofs = export(exporter, "mindir", output / MINDIR.name if output else MINDIR, source)
    with contextlib.nullcontext(output) if output else replacing_folder(EXPORTED) as folder:
        for name in p.export_formats:
            proofs |= export(exporter, name, FORMATS[name].beside(folder / MINDIR.name), source)
    write_json((output or METRICS) / "export.json", proofs)


def export(exporter: Exporter, name: str, path: Path, source: Path) -> dict[str, dict]:
    """Write a file and its sidecar. Returns the format's name → what was proved; nothing where nothing can be."""
    kind = FORMATS[name]
    proof = exporter.write(path, kind)
    if path.exists():
        exporter.write_sidecar(path, kind, source, proof)
        print(f"{path.name}: {proof or 'not verified: MindSpore cannot run it'}", flush=True)
    return {name: proof.metrics()} if proof else {}


if __name__ == "__main__":
    run(main)
