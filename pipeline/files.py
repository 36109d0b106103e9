"""Stage `files`: list what the conversion of each split follows from, so that DVC converts anew only what changed.

reads:  params.yaml, the file of the data set, the files of train and val below data_path
writes: data/files/<split>.json: each frame's files with their digests, and what the values in its label mean

example: python -m pipeline.files
"""

from __future__ import annotations

from pathlib import Path

from adl.config import params
from adl.files import write_json
from adl.prepare import survey
from adl.workspace import FILES
from pipeline import parser, run


def main() -> None:
    parser("files", __doc__).parse_args()
    p = params.load()
    for split in ("train", "val"):
        write_json(FILES / f"{split}.json", survey.listing(Path(p.data_path), split, p.descriptor))


if __name__ == "__main__":
    run(main)
