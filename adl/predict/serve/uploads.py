"""What may be sent: how many bytes, how many pixels, which kinds of file. Everything stays in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from io import BytesIO

from fastapi import HTTPException, Request

from adl.predict import photographs
from adl.predict.photographs import ImageError
from adl.predict.serve.queue import full

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
MOST_SIDE = 65_500
"""Of a JPEG, which overlays and previews are."""
READ_SECONDS = 60
"""In which a body has to arrive."""
SILENT_SECONDS = 10
"""In which something more of it has to arrive."""
KINDS = "JPEG, PNG, WebP, AVIF, TIFF, JPEG 2000, GIF, BMP or PPM"
"""For people; `photographs.FORMATS` is what is read."""

NOT_ALONE = "Send the picture itself as the body, as `curl --data-binary @photo.jpg` does, and no form."


class Uploads:
    """Receives bodies. Those on their way hold memory, but no place in the queue; a silent client's is soon freed."""

    def __init__(self, most: int) -> None:
        """most: bytes that all requests hold together, until they are answered."""
        self.free = most

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytearray]:
        """The body of a request: an image file, of which nothing is written to a disk.

        Raises HTTPException: 408 too slow, 413 too large, 415 a form or nothing at all, 503 if there is no room for it.
        """
        content = bytearray()
        try:
            try:
                await asyncio.wait_for(self._receive(request, content), READ_SECONDS)
            except asyncio.TimeoutError:
                raise HTTPException(
                    408,
                    f"The picture did not arrive within {READ_SECONDS} s, or nothing of it for {SILENT_SECONDS} s. "
                    "Send it again.",
                ) from None
            if request.headers.get("content-type", "").startswith("multipart/"):
                raise HTTPException(415, NOT_ALONE)
            if not content:
                raise HTTPException(415, f"The request is empty. {NOT_ALONE}")
            yield content
        finally:
            self.free += len(content)

    async def _receive(self, request: Request, content: bytearray) -> None:
        """What is refused is received and forgotten: most clients read an answer only when they have sent all."""
        size = int(request.headers.get("content-length", 0))  # as stated, until more has arrived
        received = 0
        has_room = True
        stream = request.stream()
        while size <= 5 * MOST_BYTES:
            chunk = await asyncio.wait_for(anext(stream, b""), SILENT_SECONDS)
            if not chunk:
                break
            received += len(chunk)
            size = max(size, received)
            has_room &= len(chunk) <= self.free
            if has_room and size <= MOST_BYTES:
                content += chunk
                self.free -= len(chunk)
            else:
                self.free += len(content)
                content.clear()
        if size > MOST_BYTES:
            raise HTTPException(
                413,
                f"The file is larger than {MOST_BYTES // 1_000_000} MB. "
                "Save the picture as a JPEG, or scale it down, and send that.",
            )
        if not has_room:
            raise full()


def check(content: bytes | bytearray) -> None:
    """Judge a picture by its header, before anything is decoded.

    Raises ImageError if it is damaged, animated, of too many pixels, or too slow to decode; NotAnImageError if it is
    none.
    """
    with photographs.opened(BytesIO(content)) as picture:
        width, height = picture.size
        # A phone's JPEG with its depth map and the pages of a TIFF do not move: the first picture counts.
        if picture.format not in ("MPO", "TIFF") and getattr(picture, "is_animated", False):
            raise ImageError(f"is an animated {picture.format}. Save one of its frames, and send that.")
        # 20 MB of digits take five seconds to decode, in which nothing else is answered.
        if content[:2] in (b"P1", b"P2", b"P3"):
            raise ImageError("is a PPM that holds its pixels as text. Save it as a PNG, and send that.")
        if max(width, height) > MOST_SIDE:
            raise ImageError(
                f"has {width}×{height} pixels; at most {MOST_SIDE:,} on a side are taken. Cut it into pieces, or scale "
                "it down, and send that."
            )
        if width * height > MOST_PIXELS:
            raise ImageError(
                f"has {width}×{height} pixels; at most {MOST_PIXELS // 1_000_000} million are taken. Scale it down, "
                "and send that."
            )
