"""The application: the page, and the endpoints that it and any other program use."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from adl.errors import unknown
from adl.export import provenance
from adl.predict.photographs import ImageError, NotAnImageError
from adl.predict.serve import uploads
from adl.predict.serve.answers import Limits, Model, Prediction, Problem, QueueState
from adl.predict.serve.queue import Queue
from adl.predict.serve.segmenter import Segmenter

DESCRIPTION = """Segments photographs with a trained model, one at a time, in the order of arrival.

    curl --data-binary @photo.jpg http://127.0.0.1:8000/api/predict

No picture is written to disk or kept after the answer. Every error has a sentence in `detail`."""
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": reason}
    for status, reason in {
        403: "From another web page, or to a foreign host name",
        408: f"Not received within {uploads.READ_SECONDS} s, or nothing of it for {uploads.SILENT_SECONDS} s",
        413: f"More than {uploads.MOST_BYTES:,} bytes",
        415: f"None of {uploads.KINDS}",
        422: f"Damaged, animated, of more than {uploads.MOST_PIXELS:,} pixels, more than {uploads.MOST_SIDE:,} on a "
        "side, or a PPM in digits",
        500: "A fault of the server",
        503: "Too many waiting (see Retry-After), or shutting down",
    }.items()
}
IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "description": f"An image file as it is, not a form: {uploads.KINDS}. Its type is found in its content.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class App(FastAPI):
    """The routes, and what they do. Its own documentation pages are off, because they load scripts from elsewhere.

    file: the model's, with its sidecar. images: those that the page offers by name.
    """

    def __init__(self, segmenter: Segmenter, queue: Queue, *, file: Path, images: Mapping[str, Path]) -> None:
        super().__init__(
            title="adl serve",
            version="1",
            description=DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            exception_handlers={
                ImageError: _unreadable,
                RequestValidationError: _invalid,
                ClientDisconnect: _gone,
                Exception: _broken,
            },
        )
        self.segmenter, self.queue, self.file, self.images = segmenter, queue, file, images
        self.uploads = uploads.Uploads(queue.most * uploads.MOST_BYTES)
        self.post("/api/predict", responses=PROBLEMS, openapi_extra=IMAGE_BODY)(self.predict)
        self.add_api_route("/api/queue", self.queue_state)
        self.add_api_route("/api/model", self.model)
        self.add_api_route("/api/images", self.list_images)
        self.add_api_route(
            "/api/images/{name}",
            self.image,
            response_class=Response,
            responses={200: {"content": {"image/png": {}}}, 404: {"model": Problem}},
        )
        self.add_api_route("/api/health", self.health)
        self.mount("/", StaticFiles(directory=Path(__file__).with_name("page"), html=True))

    async def predict(
        self,
        request: Request,
        overlay: bool = False,
        preview: bool = False,
        queue_ticket: Annotated[
            str | None,
            Header(
                alias="Queue-Ticket",
                pattern="^[A-Za-z0-9-]{1,64}$",
                description="Any name for this request, with which `/api/queue` tells its place.",
            ),
        ] = None,
    ) -> Prediction:
        """Segment the picture in the body.

        `overlay`: add the picture under its colours. `preview`: add what a web page needs to show it.
        """
        with self.queue.entered():
            async with self.uploads.received(request) as content:
                await asyncio.to_thread(uploads.check, content)
                work = functools.partial(self.segmenter, content, overlay=overlay, preview=preview)
                return await _while_connected(request, self.queue.run(work, queue_ticket))

    async def queue_state(self, ticket: str = "") -> QueueState:
        """How many pictures wait, and how many of them come before the one with the ticket."""
        tickets = list(self.queue.waiting.values())
        running = self.queue.running
        ahead = tickets.index(ticket) + running if ticket in tickets else None
        return QueueState(waiting=len(tickets), running=running, ahead=ahead)

    async def model(self) -> Model:
        """The model, its classes, and what may be sent to it."""
        about = provenance.described(self.file)
        return Model(
            model=self.file.name,
            trained_on=provenance.trained_on(about),
            score=provenance.score(about),
            dataset=self.segmenter.dataset.title,
            classes=list(self.segmenter.classes.values()),
            limits=Limits(bytes=uploads.MOST_BYTES, pixels=uploads.MOST_PIXELS, side=uploads.MOST_SIDE),
        )

    async def list_images(self) -> list[str]:
        """The data set's own images that can be tried, by name; empty if the data are not on this machine."""
        return list(self.images)

    def image(self, name: str) -> Response:
        """One of the data set's own images, as its file is."""
        try:
            return Response(self.images[name].read_bytes(), media_type="image/png")
        except KeyError:
            raise HTTPException(404, str(unknown("image", name, self.images))) from None
        except OSError as error:
            raise HTTPException(404, f"{name} cannot be read ({error.strerror}).") from None

    async def health(self) -> dict[str, str]:
        """Answers `ok` as soon as the model is loaded."""
        return {"status": "ok"}


async def _while_connected(request: Request, work: Awaitable[Prediction]) -> Prediction:
    """The result of work, which is cancelled when the client goes. Raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(request.receive())  # the body is read: only a farewell can come
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _unreadable(request: Request, error: ImageError) -> JSONResponse:
    sentence = f"This file {error.problem}"
    if isinstance(error, NotAnImageError):
        return JSONResponse({"detail": f"{sentence} Send a {uploads.KINDS}."}, 415)
    return JSONResponse({"detail": sentence}, 422)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    return JSONResponse({"detail": f"{faults}."}, 422)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads it."""
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "The server failed at this request; what happened is in its terminal."}, 500)
