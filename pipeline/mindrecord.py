"""Stage `mindrecord@train`, `mindrecord@val`: check one split and convert it to MindRecord.

reads:  params.yaml, leftImg8bit/<split> and gtFine/<split> below data_path
writes: data/mindrecord/cityscapes_<split>.mindrecord, its .db and manifest, metrics/mindrecord_<split>.json

example: python -m pipeline.mindrecord --split train
"""

from __future__ import annotations

from pathlib import Path

from adl import device, workspace
from adl.config import params
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.files import write_json
from adl.prepare.check import check_dataset
from adl.prepare.convert import convert
from adl.workspace import METRICS, RECORDS, SYNTHETIC
from pipeline import parser, run


def main() -> None:
    command = parser("mindrecord", __doc__)
    command.add_argument("--split", choices=CITYSCAPES.split_sizes, required=True)
    split = command.parse_args().split
    if split in CITYSCAPES.withheld:
        raise AdlError(f"--split {split}: {CITYSCAPES.withheld[split]}.")
    p = params.load()
    found = check_dataset(
        p.data_path,
        CITYSCAPES,
        [split],
        expected={"train": p.expected_train_images, "val": p.expected_val_images},
    )
    manifest = convert(
        found.passed().splits[split].frames,
        workspace.record(RECORDS, CITYSCAPES.name, split),
        CITYSCAPES,
        workers=device.cores(),
        drawn=Path(p.data_path) == SYNTHETIC,
    )
    write_json(
        METRICS / f"mindrecord_{split}.json",
        {
            "images": manifest["images"],
            "classes": len(manifest["classes"]),
            "pixels_ignored": manifest["pixels_ignored"],
            "pixels": manifest["pixels"],
        },
    )


if __name__ == "__main__":
    run(main)
