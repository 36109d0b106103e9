"""What may be sent: how many bytes, how many pixels, which kinds of file. Everything stays in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import HTTPException, Request

from adl.errors import AdlError
from adl.predict import photographs
from adl.predict.serve.queue import FullError

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
MOST_SIDE = 65_500
"""Of a JPEG, which overlays and previews are."""
ASCII_NETPBM = (b"P1", b"P2", b"P3")
"""20 MB of digits take five seconds to decode, in which nothing else is answered."""
MOST_DISCARDED = 5 * MOST_BYTES
"""Bytes that are received and forgotten. Most clients read an answer only when they have sent all they have."""
READ_SECONDS = 60
"""In which a body has to arrive."""
SILENT_SECONDS = 10
"""In which something more of it has to arrive."""
KINDS = "JPEG, PNG, WebP, AVIF, TIFF, JPEG 2000, GIF, BMP or PPM"
"""For people; `photographs.FORMATS` is what is read."""

TOO_LARGE = (
    f"The file is larger than {MOST_BYTES // 1_000_000} MB. "
    "Save the picture as a JPEG, or scale it down, and send that."
)
NOT_ALONE = (
    "Send the picture itself as the body, as `curl --data-binary @photo.jpg` does, and no form."
)
TOO_SLOW = (
    f"The picture did not arrive within {READ_SECONDS} s, or nothing of it for {SILENT_SECONDS} s. "
    "Send it again."
)


class Uploads:
    """Receives bodies. Those on their way hold memory, but no place in the queue; a silent client's is soon freed."""

    def __init__(self, most: int) -> None:
        """most: bytes that all requests hold together, until they are answered."""
        self.free = most

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytearray]:
        """The body of a request: an image file, of which nothing is written to a disk.

        Raises FullError if there is no room for it, and HTTPException: 408 too slow, 413 too large, 415 a form or
        nothing at all.
        """
        content = bytearray()
        try:
            try:
                await asyncio.wait_for(self._receive(request, content), READ_SECONDS)
            except asyncio.TimeoutError:
                raise HTTPException(408, TOO_SLOW) from None
            if request.headers.get("content-type", "").startswith("multipart/"):
                raise HTTPException(415, NOT_ALONE)
            if not content:
                raise HTTPException(415, f"The request is empty. {NOT_ALONE}")
            yield content
        finally:
            self.free += len(content)

    async def _receive(self, request: Request, content: bytearray) -> None:
        """What is refused is received and forgotten: most clients read an answer only when they have sent all."""
        stated = int(request.headers.get("content-length", 0))
        if stated > MOST_DISCARDED:
            raise HTTPException(413, TOO_LARGE)
        received = 0
        refusal: Exception | None = None
        stream = request.stream()
        while chunk := await asyncio.wait_for(anext(stream, b""), SILENT_SECONDS):
            received += len(chunk)
            if max(stated, received) > MOST_BYTES:
                refusal = HTTPException(413, TOO_LARGE)
            elif len(chunk) > self.free:
                refusal = FullError()
            if received > MOST_DISCARDED:
                break
            if refusal:
                self.free += len(content)
                content.clear()
            else:
                content += chunk
                self.free -= len(chunk)
        if refusal:
            raise refusal


def check(content: bytes | bytearray) -> None:
    """Judge a picture by its header, before anything is decoded.

    Raises HTTPException: 415 no image, 422 damaged, animated, of too many pixels, or too slow to decode.
    """
    try:
        header = photographs.header(content, _NAME)
    except photographs.NotAnImageError as error:
        raise HTTPException(415, f"This file {error.problem} Send a {KINDS}.") from None
    except AdlError as error:
        raise HTTPException(422, sentence(error)) from None
    if header.is_animated:
        raise HTTPException(
            422, f"This {header.format} is animated. Save one of its frames, and send that."
        )
    if content[:2] in ASCII_NETPBM:
        raise HTTPException(
            422, "This PPM holds its pixels as text. Save it as a PNG, and send that."
        )
    if max(header.width, header.height) > MOST_SIDE:
        raise HTTPException(
            422,
            f"The picture has {header.width}×{header.height} pixels; at most {MOST_SIDE:,} on a side are taken. Cut it "
            "into pieces, or scale it down, and send that.",
        )
    if header.width * header.height > MOST_PIXELS:
        raise HTTPException(
            422,
            f"The picture has {header.width}×{header.height} pixels; at most {MOST_PIXELS // 1_000_000} million are "
            "taken. Scale it down, and send that.",
        )


def decode(content: bytes | bytearray) -> photographs.Photograph:
    """`photographs.decode` for what has passed `check`. Raises HTTPException 422 if it is damaged."""
    try:
        return photographs.decode(content, _NAME)
    except AdlError as error:
        raise HTTPException(422, f"{sentence(error)} Save it again, or send another.") from None


_NAME = "upload"


def sentence(error: AdlError) -> str:
    """The fault of a file without a name."""
    if isinstance(error, photographs.DamagedImageError):
        return f"The image is damaged ({error.__cause__})."
    return f"This file {error.problem}"
