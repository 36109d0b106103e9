"""What is counted and timed while images are predicted."""

from __future__ import annotations

import numpy as np

from adl.evaluation.counts import Counts


def test_merged_counts_keep_what_belongs_to_an_image_together():
    def of(*names: str) -> Counts:
        numbers = [float(ord(name)) for name in names]
        matrices = np.array([np.full((19, 20), number) for number in numbers])
        return Counts(
            list(names), {"single": matrices}, numbers, [number / 2 for number in numbers]
        )

    merged = Counts.merged([of("d", "a"), of(), of("c", "b")])
    assert merged.names == ["a", "b", "c", "d"]
    assert merged.seconds == [97, 98, 99, 100]
    assert merged.network_seconds == [48.5, 49, 49.5, 50]
    assert merged.counts["single"][:, 0, 0].tolist() == [97, 98, 99, 100]
