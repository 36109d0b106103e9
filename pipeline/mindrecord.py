"""Stage `mindrecord@train`, `mindrecord@val`: check one split and convert it to MindRecord.

reads:  params.yaml, the file of the data set, the split's files below data_path
writes: data/mindrecord/<split>.mindrecord, its .db and manifest, metrics/mindrecord_<split>.json

Outside DVC, --output DIR converts any labelled split into DIR.

example: python -m pipeline.mindrecord --split train
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adl import device
from adl.config import params
from adl.console.text import byte_size
from adl.errors import AdlError
from adl.files import check_output, write_json
from adl.prepare.check import check_dataset
from adl.prepare.convert import convert
from adl.workspace import METRICS, RECORDS, SYNTHETIC, as_path
from pipeline import parser, run


def main() -> None:
    arguments = parse()
    split, output = arguments.split, arguments.output
    p = params.load()
    p.descriptor.check_labelled(split)
    if not output and split not in ("train", "val"):
        raise AdlError(f"--split {split} needs --output: no stage converts it.")
    record = (output or RECORDS) / f"{arguments.name or split}.mindrecord"
    manifest = convert(
        check_dataset(p.data_path, p.descriptor, [split]).passed().splits[split].frames,
        record,
        p.descriptor,
        workers=device.cores(),
        drawn=Path(p.data_path) == SYNTHETIC,
    )
    if output:
        return
    write_json(
        METRICS / f"mindrecord_{split}.json",
        {
            "images": manifest["images"],
            "classes": len(manifest["classes"]),
            "pixels_ignored": manifest["pixels_ignored"],
            "pixels": manifest["pixels"],
        },
    )
    print(f"{record}: {byte_size(record.stat().st_size)}; DVC now copies it, and says nothing meanwhile", flush=True)


def parse() -> argparse.Namespace:
    command = parser("mindrecord", __doc__)
    command.add_argument("--split", required=True, help="train or val; others need --output")
    command.add_argument("--output", type=as_path, help="folder for the results, instead of the pipeline's own places")
    command.add_argument("--name", help="of the record in that folder; default: the split")
    arguments = command.parse_args()
    if arguments.output:
        check_output(arguments.output, folder=True)
    elif arguments.name:
        command.error("--name needs --output")
    return arguments


if __name__ == "__main__":
    run(main)
