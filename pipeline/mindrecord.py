"""Stage `mindrecord@train`, `mindrecord@val`: convert one split to MindRecord."""

from __future__ import annotations

import argparse

from adl import cityscapes, params, records, runtime
from adl.artifacts import write_json
from pipeline import METRICS, RECORDS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=cityscapes.SPLITS, required=True)
    split = parser.parse_args().split
    p = params.load()
    expected = {"train": p.expected_train_images, "val": p.expected_val_images}[split]
    frames = cityscapes.frames(p.data_path, split, expected=expected)
    manifest = records.write(frames, records.record_path(RECORDS, split), workers=runtime.cores())
    numbers = {name: manifest[name] for name in ("images", "classes", "pixels_ignored", "pixels")}
    write_json(METRICS / f"mindrecord_{split}.json", numbers)


if __name__ == "__main__":
    run(main)
