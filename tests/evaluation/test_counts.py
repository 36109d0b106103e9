"""What is counted and timed while images are predicted."""

from __future__ import annotations

import numpy as np

from adl.evaluation.counts import Counts, ImageResult, load, save


def test_counts_keep_what_belongs_to_an_image_together(tmp_path):
    results = []
    for process, names in enumerate(("da", "", "cb")):
        numbers = [float(ord(name)) for name in names]
        found = [
            ImageResult(name, {"single": np.full((19, 20), number)}, number, number / 2)
            for name, number in zip(names, numbers, strict=True)
        ]
        save(found, tmp_path / str(process))
        results += load(tmp_path / str(process))
    counts = Counts.of_images(results)
    assert counts.names == ["a", "b", "c", "d"]
    assert counts.seconds == [97, 98, 99, 100]
    assert counts.network_seconds == [48.5, 49, 49.5, 50]
    assert counts.counts["single"][:, 0, 0].tolist() == [97, 98, 99, 100]
