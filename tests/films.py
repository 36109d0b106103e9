"""Small real videos for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""Degrees clockwise → a, b, c, d of an MP4's display matrix, as phones write it."""
_CODECS = {".avi": "MJPG", ".webm": "VP80"}


def write_film(path: Path, frames: Iterable[np.ndarray], *, rate: float = 10) -> Path:
    """A video of (H, W, 3) uint8 BGR frames; what is in it follows from the suffix."""
    frames = list(frames)
    codec = cv2.VideoWriter.fourcc(*_CODECS.get(path.suffix, "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, rate, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def read_film(path: Path) -> list[np.ndarray]:
    """All frames, as they are stored."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def turn(path: Path, degrees: int) -> None:
    """State in the header of an MP4 that its frames lie on their side."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in MATRICES[degrees])
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def damage(path: Path, *, start: float, length: int) -> None:
    """Overwrite bytes. start: how far into the file, 0 to 1."""
    content = bytearray(path.read_bytes())
    place = int(len(content) * start)
    content[place : place + length] = b"\xff" * length
    path.write_bytes(content)
