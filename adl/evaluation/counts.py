"""What is counted and timed while images are predicted."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass
class ImageResult:
    """One image. counts: mode → (C, C + 1) pixels (`Confusion.counts`).

    seconds: all in all; network_seconds: from the image on the host to the label maps on the host; None if a graph was
    compiled for it.
    """

    name: str
    counts: dict[str, np.ndarray]
    seconds: float | None = None
    network_seconds: float | None = None
