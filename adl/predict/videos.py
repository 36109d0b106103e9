"""Videos, frame by frame: whatever OpenCV's FFmpeg reads, and MP4 out."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from adl.console import text
from adl.errors import AdlError
from adl.files import replacing

CODECS = {
    "avc1": "H.264",
    "mp4v": "MPEG-4 Part 2, which VLC and mpv show, and web browsers do not",
}
"""What is written, the best first; not every build of OpenCV has an encoder for H.264."""


@dataclasses.dataclass(frozen=True)
class Video:
    """frames: as its header states, which may be one too many or too few. rate: frames per second. size: (h, w)."""

    path: Path
    frames: int
    rate: float
    size: tuple[int, ...]

    @classmethod
    def open(cls, path: Path) -> Video:
        """Raises AdlError if it cannot be read."""
        capture = _capture(path)
        readable, frame = capture.read()
        if not readable:
            raise AdlError(f"{path}: is neither an image nor a video that can be read.")
        return cls(
            path,
            frames=max(1, round(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
            rate=capture.get(cv2.CAP_PROP_FPS),
            size=frame.shape[:2],
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """(H, W, 3) uint8 BGR of each frame that can be read, upright."""
        capture = _capture(self.path)
        unreadable = 0
        # OpenCV does not tell a damaged frame from the end.
        while unreadable < 1000:
            unreadable += 1
            readable, frame = capture.read()
            if readable:
                unreadable = 0
                yield frame

    def check_complete(self, frames: int) -> None:
        """Raises AdlError if clearly fewer frames could be read than the header states."""
        # Some containers state a length in seconds only, from which the number of frames is estimated.
        if self.frames - frames > max(1, self.frames // 20):
            raise AdlError(
                f"{self.path}: only {frames} of the {self.frames} frames that its header states could be read: it is "
                "cut short or damaged. The result holds these."
            )


def _capture(path: Path) -> cv2.VideoCapture:
    """An open video; one without frames if it is none. Raises AdlError if there is no such file."""
    if not path.is_file():
        raise AdlError(f"{path}: no such video.")
    with path.open("rb") as file:
        # Every container of videos has a zero there, and no text has one: FFmpeg makes a film of a text, too.
        if b"\0" not in file.read(4096):
            return cv2.VideoCapture()
    capture = cv2.VideoCapture(_opencv_name(path))
    # Without this a film of a phone that was held upright lies on its side.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _opencv_name(path: Path) -> str:
    """Absolute, so that no name looks like an address. Raises AdlError for one that OpenCV does not take.

    OpenCV is told to be silent: what it cannot do is found out here, and has a message of its own.
    """
    cv2.setLogLevel(0)
    name = str(path.absolute())
    if name.encode(errors="ignore").decode() != name:
        raise AdlError(f"{path}: OpenCV reads and writes no video whose name is not UTF-8. Rename it.")
    return name


class Encoding(NamedTuple):
    """How a video is written. codec: one of CODECS. rate: frames per second. size: (height, width)."""

    codec: str
    rate: float
    size: tuple[int, ...]

    @classmethod
    def like(cls, video: Video) -> Encoding:
        """What this OpenCV can write for it: as fast as it is, or at the usual rate. Raises AdlError if nothing."""
        with tempfile.TemporaryDirectory() as folder:
            # 25 frames per second, if the source states what no MP4 can have.
            for rate, codec in itertools.product((video.rate, 25.0), CODECS):
                encoding = cls(codec, rate, video.size)
                if encoding._writer(Path(folder, "trial.mp4")).isOpened():
                    return encoding
        raise AdlError(
            f"{video.path}: no encoder of this OpenCV takes frames of {text.size(*video.size)} pixels. Scale it, or "
            "label its frames as images."
        )

    def write(self, path: Path, frames: Iterable[np.ndarray]) -> int:
        """Write an MP4 of (H, W, 3) uint8 RGB frames, whole or not at all. Returns how many there were."""
        written = 0
        with replacing(path) as temporary:
            writer = self._writer(temporary)
            if not writer.isOpened():
                raise AdlError(f"{path}: OpenCV cannot begin this video. Name another --output, or scale the video.")
            for frame in frames:
                # The size may change within a video; OpenCV leaves such a frame out without a word.
                frame = cv2.resize(frame, self.size[::-1])
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
                written += 1
            writer.release()
            # OpenCV does not say that a disk is full.
            again = Video(temporary, written, self.rate, self.size)
            if not temporary.exists() or sum(1 for _ in again) != written:
                raise AdlError(f"{path}: the video could not be written. Is there room on the disk?")
        return written

    def _writer(self, path: Path) -> cv2.VideoWriter:
        """Not open if this OpenCV cannot write so."""
        # OpenCV searches an infinite rate for ever.
        if not 0 < self.rate < math.inf:
            return cv2.VideoWriter()
        return cv2.VideoWriter(
            _opencv_name(path),
            cv2.VideoWriter.fourcc(*self.codec),
            self.rate,
            self.size[::-1],
        )
