"""Videos, frame by frame: whatever OpenCV's FFmpeg reads, and MP4 out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from adl.artifacts import replacing
from adl.errors import AdlError

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


@dataclasses.dataclass(frozen=True)
class Video:
    """frames: as its header states, which may be one too many or too few. rate: frames per second."""

    path: Path
    frames: int
    rate: float

    @classmethod
    def open(cls, path: Path) -> Video:
        """Raises AdlError if it cannot be read."""
        capture = _capture(path)
        try:
            readable, _ = capture.read()
            if not readable:
                raise AdlError(f"{path}: not a video that can be read.")
            frames = max(1, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            return cls(path, frames, capture.get(cv2.CAP_PROP_FPS) or 25.0)
        finally:
            capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 BGR of each frame, upright."""
        capture = _capture(self.path)
        try:
            while True:
                more, frame = capture.read()
                if not more:
                    return
                yield frame
        finally:
            capture.release()


def _capture(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise AdlError(f"{path}: no such video.")
    try:
        name = str(path)
        name.encode()
    except UnicodeEncodeError:
        raise AdlError(
            f"{path}: OpenCV reads no video whose name is not UTF-8. Rename it."
        ) from None
    return cv2.VideoCapture(name)


def write(path: Path, frames: Iterable[np.ndarray], *, rate: float) -> int:
    """Write an MP4 of (H, W, 3) uint8 RGB frames of one size, whole or not at all. Returns how many there were."""
    writer, written = None, 0
    with replacing(path) as temporary:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(
                    str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, size
                )
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            written += 1
        if writer is not None:
            writer.release()
        # OpenCV does not say that a disk is full.
        if not temporary.exists() or sum(1 for _ in Video.open(temporary)) != written:
            raise AdlError(f"{path}: the video could not be written. Is there room on the disk?")
    return written
