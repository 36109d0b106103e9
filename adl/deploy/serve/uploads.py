"""What may be sent: how many bytes, how many pixels, which kinds of file. Everything stays in memory."""

from __future__ import annotations

import asyncio

from fastapi import HTTPException, Request

from adl.deploy import photographs
from adl.errors import AdlError

MOST_BYTES = 20_000_000
MOST_PIXELS = 50_000_000
MOST_DISCARDED = 5 * MOST_BYTES
"""Bytes that are received and forgotten. Most clients read an answer only when they have sent all they have."""
READ_SECONDS = 60
"""In which a body has to arrive."""
KINDS = "JPEG, PNG, WebP, AVIF, TIFF, JPEG 2000, GIF, BMP or PPM"
"""For people; `photographs.FORMATS` is what is read."""

TOO_LARGE = (
    f"The file is larger than {MOST_BYTES // 1_000_000} MB. "
    "Save the picture as a JPEG, or scale it down, and send that."
)
NOT_ALONE = (
    "Send the picture itself as the body, as `curl --data-binary @photo.jpg` does, and no form."
)
TOO_SLOW = f"The picture did not arrive within {READ_SECONDS} s. Send it again."


async def read(request: Request) -> bytes:
    """The body of a request: an image file, of which nothing is written to a disk.

    Raises HTTPException: 408 too slow, 413 too large, 415 a form or nothing at all.
    """
    try:
        content = await asyncio.wait_for(_limited(request, MOST_BYTES), READ_SECONDS)
    except asyncio.TimeoutError:
        raise HTTPException(408, TOO_SLOW) from None
    if content is None:
        raise HTTPException(413, TOO_LARGE)
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(415, NOT_ALONE)
    if not content:
        raise HTTPException(415, f"The request is empty. {NOT_ALONE}")
    return content


async def discard(request: Request) -> None:
    """Let a client that will be turned away finish, so that it sees why."""
    try:
        await asyncio.wait_for(_limited(request, 0), READ_SECONDS)
    except asyncio.TimeoutError:
        return


async def _limited(request: Request, most: int) -> bytes | None:
    """The body; None if it is larger than most, by what the client states or by what it sends."""
    stated = int(request.headers.get("content-length", 0))
    if stated > MOST_DISCARDED:
        return None
    received, content = 0, bytearray()
    async for chunk in request.stream():
        received += len(chunk)
        if max(stated, received) <= most:
            content += chunk
        else:
            content.clear()
        if received > MOST_DISCARDED:
            break
    return None if max(stated, received) > most else bytes(content)


def check(content: bytes) -> None:
    """Judge a picture by its header, before anything is decoded.

    Raises HTTPException: 415 no image, 422 damaged, animated, or of too many pixels.
    """
    try:
        header = photographs.header(content, _NAME)
    except photographs.NotAnImageError as error:
        raise HTTPException(415, f"{sentence(error)} Send a {KINDS}.") from None
    except AdlError as error:
        raise HTTPException(422, sentence(error)) from None
    if header.is_animated:
        raise HTTPException(
            422, f"This {header.format} is animated. Save one of its frames, and send that."
        )
    if header.width * header.height > MOST_PIXELS:
        raise HTTPException(
            422,
            f"The picture has {header.width}×{header.height} pixels; at most {MOST_PIXELS // 1_000_000} million are "
            "taken. Scale it down, and send that.",
        )


def decode(content: bytes) -> photographs.Photograph:
    """`photographs.decode` for what has passed `check`. Raises HTTPException 422 if it is damaged."""
    try:
        return photographs.decode(content, _NAME)
    except AdlError as error:
        raise HTTPException(422, f"{sentence(error)} Save it again, or send another.") from None


_NAME = "upload"


def sentence(error: AdlError) -> str:
    """The fault of a file without a name."""
    fault = str(error).removeprefix(f"{_NAME}: ")
    if fault.startswith("the "):
        return f"The {fault.removeprefix('the ')}"
    return f"This file {fault}"
