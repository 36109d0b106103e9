"""Stage `mindrecord@train`, `mindrecord@val`: convert one split to MindRecord."""

from __future__ import annotations

import argparse

from adl import params, preflight, records, runtime
from adl.artifacts import write_json
from adl.cityscapes import SPLITS
from pipeline import METRICS, RECORDS, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=SPLITS, required=True)
    split = parser.parse_args().split
    p = params.load()
    frames = preflight.expected_frames(p, split)
    manifest = records.write(frames, records.record_path(RECORDS, split), workers=runtime.cores())
    numbers = {name: manifest[name] for name in ("images", "classes", "pixels_ignored", "pixels")}
    write_json(METRICS / f"mindrecord_{split}.json", numbers)


if __name__ == "__main__":
    run(main)
