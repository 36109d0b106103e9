"""Stage `synthesize`: draw the embedded data set.

reads:  params.yaml
writes: data/synthetic, in the folder layout of Cityscapes

example: python -m pipeline.synthesize
"""

from __future__ import annotations

from adl import device, synthetic
from adl.config import params
from adl.dataset import descriptor
from adl.workspace import SYNTHETIC
from pipeline import parser, run


def main() -> None:
    parser("synthesize", __doc__).parse_args()
    p = params.load()
    synthetic.write(
        SYNTHETIC,
        descriptor.shipped("synthetic"),
        images={"train": p.synthetic_train_images, "val": p.synthetic_val_images},
        height=p.synthetic_height,
        seed=p.synthetic_seed,
        workers=device.cores(),
    )


if __name__ == "__main__":
    run(main)
