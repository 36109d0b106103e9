"""How long `adl check-data` takes on a tree as large as Cityscapes: 3475 pairs of 2048×1024, from the disk cache.

    python benchmarks/check_data.py

The images are sparse PNG files of zeros of the usual length, whose pixels the shallow check does not inflate; one label
is real, the others are links to it.
"""

from __future__ import annotations

import struct
import tempfile
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

from adl.dataset import descriptor
from adl.prepare.check import check_dataset

CITYSCAPES = descriptor.shipped("cityscapes")
WIDTH, HEIGHT, BYTES = 2048, 1024, 2_100_000
END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def write(root: Path) -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    labels = np.random.default_rng(0).integers(0, 34, (HEIGHT // 16, WIDTH // 16)).astype(np.uint8)
    real = root / "label.png"
    cv2.imwrite(str(real), labels.repeat(16, axis=0).repeat(16, axis=1))
    number, checksum = 0, zlib.crc32(b"IDAT" + bytes(BYTES))
    for split in CITYSCAPES.labelled_splits:
        for _ in range(CITYSCAPES.expect[split]):
            number += 1  # images of one length would be compared
            checksum = zlib.crc32(b"\x00", checksum)
            name = f"{split}_{number:06d}_000019"
            image, label = (
                CITYSCAPES.images.path(root, split, split, name),
                CITYSCAPES.labels.path(root, split, split, name),
            )
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            with image.open("wb") as file:
                file.write(start + struct.pack(">I", BYTES + number) + b"IDAT")
                file.seek(BYTES + number, 1)
                file.write(struct.pack(">I", checksum) + END)
            label.hardlink_to(real)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for turn in ("first", "second"):
            began = time.perf_counter()
            found = check_dataset(folder, CITYSCAPES).passed()
            seconds = time.perf_counter() - began
            pairs = sum(len(split.frames) for split in found.splits.values())
            print(f"{turn} look: {pairs} pairs in {seconds:.1f} s, {found.decoded} labels decoded")


if __name__ == "__main__":
    main()
