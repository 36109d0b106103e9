"""Stage `mindrecord@train`, `mindrecord@val`: check one split and convert it to MindRecord.

reads:  params.yaml, leftImg8bit/<split> and gtFine/<split> below data_path
writes: data/mindrecord/cityscapes_<split>.mindrecord, its .db and manifest, metrics/mindrecord_<split>.json

example: python -m pipeline.mindrecord --split train
"""

from __future__ import annotations

from adl import conversion, params, records, runtime
from adl.artifacts import write_json
from adl.cityscapes import SPLIT_SIZES, WITHHELD
from adl.cityscapes.survey import survey
from adl.errors import AdlError
from pipeline import METRICS, RECORDS, parser, run


def main() -> None:
    whole = parser("mindrecord", __doc__)
    whole.add_argument("--split", choices=SPLIT_SIZES, required=True)
    split = whole.parse_args().split
    if split == "test":
        raise AdlError(f"--split test: {WITHHELD}")
    p = params.load()
    expected = {"train": p.expected_train_images, "val": p.expected_val_images}[split]
    frames = survey(p.data_path, [split], expected={split: expected}).checked().splits[split].frames
    manifest = conversion.write(frames, records.record_path(RECORDS, split), workers=runtime.cores())
    numbers = {name: manifest[name] for name in ("images", "classes", "pixels_ignored", "pixels")}
    write_json(METRICS / f"mindrecord_{split}.json", numbers)


if __name__ == "__main__":
    run(main)
