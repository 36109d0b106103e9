"""Stage `synthesize`: draw the embedded data set."""

from __future__ import annotations

from adl import params, runtime, synthetic
from pipeline import SYNTHETIC, run


def main() -> None:
    p = params.load()
    synthetic.write(
        SYNTHETIC,
        images={"train": p.synthetic_train_images, "val": p.synthetic_val_images},
        height=p.synthetic_height,
        seed=p.synthetic_seed,
        workers=runtime.cores(),
    )


if __name__ == "__main__":
    run(main)
