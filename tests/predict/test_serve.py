"""`adl serve` as a process: its answers, limits, queue, and end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from adl import commands
from adl.predict.overlays import overlay
from adl.predict.photographs import ImageError
from adl.predict.predictor import Predictor
from adl.predict.serve import server as serve_server
from adl.predict.serve import uploads
from adl.predict.serve.app import App
from adl.predict.serve.queue import ENDING, Queue
from adl.predict.serve.segmenter import PREVIEW_SIDE, Segmenter
from tests.conftest import ROOT
from tests.data import CITYSCAPES, huge_png
from tests.serving import (
    Held,
    Served,
    animated,
    answer_of,
    encoded,
    header_of,
    running,
    saved,
    served,
    serving_folder,
    smooth,
    until,
)

LONGEST_SIDE = 256
pytestmark = pytest.mark.xdist_group("serve")


@pytest.fixture(scope="module")
def workspace_of_server(tmp_path_factory):
    """A folder with two val images, and one of temporary files."""
    folder = serving_folder(tmp_path_factory.mktemp("serve"))
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(models, workspace_of_server):
    folder = workspace_of_server
    options = ("--longest-side", LONGEST_SIDE)
    with served(models / "m.onnx", *options, cwd=folder, TMPDIR=str(folder / "temporary")) as running:
        yield running


@pytest.fixture(scope="module")
def predictor(models):
    return Predictor.load(models / "m.onnx", device_target="CPU", flip=True, longest_side=LONGEST_SIDE)


def decoded(text: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def half_second() -> bytes:
    """Large enough for the others to have to wait meanwhile: the probabilities of every class are enlarged to it."""
    return encoded(smooth(2000, 3000), ".jpg")


@pytest.mark.parametrize("size", [(64, 128), (90, 50), (300, 700)])
def test_answer_is_what_the_predictor_says(server, predictor, size):
    picture = smooth(*size)
    expected = predictor(picture)
    status, answer = server.predict(encoded(picture))
    assert status == 200
    assert (answer["height"], answer["width"]) == size
    np.testing.assert_array_equal(decoded(answer["train_ids"]), expected)
    np.testing.assert_array_equal(decoded(answer["label_ids"]), CITYSCAPES.label_ids[expected])
    assert len(answer["classes"]) == len(np.unique(expected)) > 1
    for entry in answer["classes"]:
        train_id = entry["train_id"]
        assert entry["name"] == CITYSCAPES.class_names[train_id]
        assert entry["colour"] == "#{:02x}{:02x}{:02x}".format(*CITYSCAPES.classes[train_id].colour)
        assert entry["share"] == pytest.approx((expected == train_id).mean())
    shares = [entry["share"] for entry in answer["classes"]]
    assert shares == sorted(shares, reverse=True)
    assert answer["milliseconds"] > 0
    assert answer["preview"] is None


def test_overlay_comes_on_demand(server, predictor):
    picture = smooth(64, 128)
    assert server.predict(encoded(picture))[1]["overlay"] is None
    _, answer = server.predict(encoded(picture), "/api/predict?overlay=true")
    expected = overlay(picture, predictor(picture), CITYSCAPES)
    found = decoded(answer["overlay"])[..., ::-1].astype(int)
    assert np.abs(found - expected).mean() < 4 < 20 < np.abs(found - picture[..., ::-1]).mean()


def test_preview_is_the_upright_picture_reduced_with_its_labels(server, predictor):
    upright = smooth(3000, 1500)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90° to the right to see it upright"
    lying = Image.fromarray(upright[..., ::-1]).transpose(Image.Transpose.ROTATE_90)
    _, answer = server.predict(saved(lying, "PNG", exif=exif), "/api/predict?preview=true")
    expected = predictor(upright)
    np.testing.assert_array_equal(decoded(answer["train_ids"]), expected)
    preview = answer["preview"]
    size = (PREVIEW_SIDE, PREVIEW_SIDE // 2)
    assert (preview["height"], preview["width"]) == size
    shown, labels = decoded(preview["image"]), decoded(preview["train_ids"])
    assert shown.shape == (*size, 3)
    assert np.abs(shown.astype(int) - cv2.resize(upright, size[::-1])).mean() < 3
    assert (labels == cv2.resize(expected, size[::-1], interpolation=cv2.INTER_NEAREST)).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "BMP", "GIF", "MPO", "16 bits"])
def test_kinds_of_pictures_are_read(server, kind):
    picture = Image.fromarray(smooth(50, 70))
    content = encoded(smooth(50, 70).astype(np.uint16) << 8) if kind == "16 bits" else None
    if kind == "MPO":  # a phone's JPEG with a second picture, which is no animation
        content = saved(picture, "MPO", save_all=True, append_images=[picture])
    status, answer = server.predict(content or saved(picture, kind))
    assert (status, answer.get("width"), answer.get("height")) == (200, 70, 50), answer


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (b"Hello, I am a text.\n" * 9, 415, "This file is not an image that can be read. Send a J"),
        (b"", 415, "The request is empty. Send the picture itself"),
        (b"\0\0\0\x18ftypheic" + bytes(99), 415, "This file is HEIC, which cannot be read"),
        ("100 megapixels", 422, "This file has 10000×10000 pixels; at most 50 million are taken"),
        (huge_png(), 422, "This file states more pixels than can be read."),
        ("cut.png", 422, "This file is damaged ("),
        ("cut.jpg", 422, "This file is damaged ("),
        ("GIF", 422, "This file is an animated GIF. Save one of its frames, and send that."),
        ("PNG", 422, "This file is an animated PNG. Save one of its frames, and send that."),
        ("WEBP", 422, "This file is an animated WEBP. Save one of its frames, and send that."),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_sentence(server, content, status, sentence):
    if content == "100 megapixels":
        content = saved(Image.new("1", (10_000, 10_000)), "PNG")
    elif content in ("cut.png", "cut.jpg"):
        noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
        whole = encoded(noise, content[3:])
        content = whole[: len(whole) // 2]
    elif isinstance(content, str):
        content = animated(content)
    found, answer = server.predict(content)
    assert (found, answer["detail"][: len(sentence)]) == (status, sentence)
    assert answer["detail"].endswith(".")
    assert list(answer) == ["detail"]


def test_number_of_pixels_is_known_before_any_is_decoded(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match="at most 50 million are taken"):
        uploads.check(header_of(10_000, 10_000))
    uploads.check(header_of(5_000, 10_000))


@pytest.mark.parametrize("more", [0, 1])
def test_largest_file_is_taken_and_a_byte_more_is_not(server, more):
    """What follows the end of a JPEG is ignored."""
    picture = encoded(smooth(50, 50), ".jpg")
    status, answer = server.predict(picture + bytes(uploads.MOST_BYTES + more - len(picture)), "/api/predict")
    assert status == (413 if more else 200)
    assert not more or answer["detail"].startswith("The file is larger than 20 MB. ")


def test_client_that_lies_about_its_length_fills_no_memory(server):
    before = psutil.Process(server.process.pid).memory_info().rss
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak begins anew

    def endless():
        for _ in range(90):
            yield bytes(1_000_000)

    # In chunks, without any length.
    status, answer = server.predict(endless())
    assert (status, answer["detail"][:27]) == (413, "The file is larger than 20 ")
    status_of_process = Path(f"/proc/{server.process.pid}/status").read_text()
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", status_of_process)
    assert 1024 * int(peak) < before + 60_000_000
    # A length beyond all reason is refused before anything is sent.
    with server.sending(stated=1 << 40) as connection:
        assert answer_of(connection)[0] == 413


def test_form_is_told_how_to_send_a_picture(server):
    status, answer = server.predict(b"--x", Content_Type="multipart/form-data; boundary=x")
    assert (status, answer["detail"]) == (415, uploads.NOT_ALONE)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "own"}, 200),
        ({"Origin": "http://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Host": "example.org"}, 403),
        ({"Host": "example.org:80", "Origin": "http://example.org:80"}, 403),
        ({"Host": "127.0.0.1.example.org"}, 403),
        ({"Host": "192.0.2.1"}, 403),
        ({"Host": "localhost:9000", "Origin": "http://localhost:9000"}, 200),  # through a tunnel
    ],
)
def test_other_web_pages_and_foreign_names_are_refused(server, headers, status):
    headers = {n: server.url if value == "own" else value for n, value in headers.items()}
    assert server.predict(encoded(smooth(40, 40)), **headers)[0] == status
    if "Sec_Fetch_Site" not in headers:  # a link may lead here
        assert server.ask("GET", "/", **headers)[0] == status


def test_every_answer_forbids_what_comes_from_elsewhere(server):
    for path in ("/", "/page.js", "/page.css", "/api/model", "/none", "/openapi.json"):
        _, headers, _ = server.ask("GET", path)
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    for path in ("/docs", "/redoc"):  # would load scripts from elsewhere
        assert server.ask("GET", path)[0] == 404


def test_openapi_names_the_endpoint_its_picture_and_its_errors(server):
    document = server.get("/openapi.json")
    endpoint = document["paths"]["/api/predict"]["post"]
    assert endpoint["requestBody"]["content"] == {"image/*": {"schema": {"type": "string", "format": "binary"}}}
    errors = {"403", "408", "413", "415", "422", "500", "503"}
    assert set(endpoint["responses"]) == {"200"} | errors
    for status in errors:
        schema = endpoint["responses"][status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}
    _, answer = server.predict(encoded(smooth(40, 40)))
    assert set(document["components"]["schemas"]["Prediction"]["properties"]) == set(answer)


def test_model_and_health_are_told(server):
    model = server.get("/api/model")
    assert (model["model"], model["dataset"]) == ("m.onnx", CITYSCAPES.title)
    assert [entry["name"] for entry in model["classes"]] == list(CITYSCAPES.class_names)
    assert model["limits"] == {"bytes": 20_000_000, "pixels": 50_000_000, "side": 65_500}
    assert server.get("/api/health") == {"status": "ok"}


def test_val_images_are_found_by_their_names_alone(server, workspace_of_server):
    names = server.get("/api/images")
    files = sorted((workspace_of_server / "raw/leftImg8bit/val").rglob("*.png"))
    assert names == [file.name.removesuffix("_leftImg8bit.png") for file in files]
    assert len(names) == 2
    for name, file in zip(names, files, strict=True):
        assert server.ask("GET", f"/api/images/{name}")[2] == file.read_bytes()
    for path in ("..%2F..%2Fparams.yaml", "%2Fetc%2Fpasswd", "nothing", f"..%2F{names[0]}"):
        assert server.ask("GET", f"/api/images/{path}")[0] == 404


def test_twenty_pictures_at_once_are_all_answered_each_with_its_own_labels(server, predictor):
    pictures = [smooth(60 + seed, 100, seed) for seed in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(server.predict, map(encoded, pictures)))
    for picture, (status, answer) in zip(pictures, answers, strict=True):
        assert status == 200
        expected = predictor(picture)
        np.testing.assert_array_equal(decoded(answer["train_ids"]), expected)


def test_queue_tells_how_many_wait_and_who_is_next():
    picture, held = encoded(smooth(40, 40)), Held()
    with running(held) as server, ThreadPoolExecutor(3) as pool:
        assert server.get("/api/queue") == {"waiting": 0, "running": False, "ahead": None}
        sent = []
        for number in range(3):
            sent.append(pool.submit(server.predict, picture, Queue_Ticket=f"t-{number}"))
            until(lambda n=number: server.get("/api/queue")["waiting"] == n)
            until(lambda: server.get("/api/queue")["running"])
        both_wait = time.perf_counter()
        state = server.get("/api/queue?ticket=t-2")
        assert state == {"waiting": 2, "running": True, "ahead": 2}
        assert server.get("/api/queue?ticket=t-0")["ahead"] is None
        waited = 1000 * (time.perf_counter() - both_wait)
        held.released.set()
        answers = [future.result() for future in sent]
        assert [status for status, _ in answers] == [200] * 3
        assert min(answer["waited"] for _, answer in answers[1:]) >= round(waited, 1)
        assert answers[2][1]["waited"] >= answers[1][1]["milliseconds"]
        assert server.get("/api/queue") == {"waiting": 0, "running": False, "ahead": None}


def test_client_that_leaves_leaves_the_queue(server, half_second):
    lines = len(server.log)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.predict, half_second)
        until(lambda: server.get("/api/queue")["running"])
        picture = half_second
        with server.sending(len(picture), picture, Queue_Ticket="leaver"):
            until(lambda: server.get("/api/queue?ticket=leaver")["ahead"] == 1)
            last = pool.submit(server.predict, encoded(smooth(40, 40)), Queue_Ticket="last")
            until(lambda: server.get("/api/queue?ticket=last")["ahead"] == 2)
        until(lambda: " predict: 499 after " in "".join(server.log[lines:]))
        assert server.get("/api/queue?ticket=leaver")["ahead"] is None
        assert server.get("/api/queue?ticket=last")["ahead"] == 1, "the first is still at work"
        assert [first.result()[0], last.result()[0]] == [200, 200]


def test_full_server_asks_to_come_back_and_recovers():
    picture, held = encoded(smooth(40, 40)), Held()
    with running(held, most=2) as server, ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(server.predict, picture) for _ in range(2)]
        until(lambda: server.queue.running and len(server.queue.waiting) == 1)
        status, headers, content = server.ask("POST", "/api/predict", picture)
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        assert json.loads(content)["detail"].startswith("Too many pictures are waiting. Try again")
        held.released.set()
        assert [answer.result()[0] for answer in taken] == [200, 200]
        assert server.predict(picture)[0] == 200


def test_pictures_on_their_way_keep_nobody_out():
    with running(most=1) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(server.sending(stated=1000))
            stack.enter_context(server.sending(stated=1000, content=b"some of it"))
        assert server.predict(encoded(smooth(40, 40)))[0] == 200


def test_what_is_on_its_way_has_bounded_memory_and_gives_it_back(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    with running(most=1) as server:
        with server.sending(stated=900, content=bytes(700)):
            until(lambda: server.predict(bytes(301))[0] == 503)
            assert server.predict(bytes(300))[0] == 415, "no image, but there is room for it"
        until(lambda: server.predict(bytes(1000))[0] == 415)
        assert server.predict(bytes(1001))[0] == 413
        assert server.predict(iter([bytes(600), bytes(600)]))[0] == 413
        assert server.predict(bytes(1000))[0] == 415


def test_client_that_falls_silent_gives_its_memory_back(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    monkeypatch.setattr(uploads, "READ_SECONDS", 600)
    monkeypatch.setattr(uploads, "SILENT_SECONDS", 0.2)
    with running(most=1) as server, server.sending(stated=1000, content=bytes(999)) as silent:
        status, answer = answer_of(silent)
        assert (status, answer["detail"].split(", or ")[1]) == (
            408,
            "nothing of it for 0.2 s. Send it again.",
        )
        assert server.predict(bytes(1000))[0] == 415, "no image, but there is room for it"


def test_connection_without_a_request_is_closed_and_one_at_work_is_not(monkeypatch):
    monkeypatch.setattr(serve_server, "IDLE_SECONDS", 0.2)
    held = Held()
    question = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n"
    with running(held) as server, ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(server.predict, encoded(smooth(40, 40)))
        until(lambda: server.queue.running)
        for sent in (b"", question, question + b"\r\n" + question):
            with server.connected(sent) as connection:
                answered = b""
                while content := connection.recv(1 << 16):
                    answered += content
                assert answered.count(b"200 OK") == sent.count(b"\r\n\r\n")
        held.released.set()
        assert at_work.result()[0] == 200


@pytest.mark.parametrize(
    ("height", "width", "path", "status"),
    [
        (1, 65_500, "/api/predict?overlay=true&preview=true", 200),
        (65_500, 1, "/api/predict?overlay=true&preview=true", 200),
        (65_501, 1, "/api/predict?overlay=true", 422),
        (1, 1_000_001, "/api/predict", 422),
    ],
)
def test_longest_side_is_that_of_a_jpeg(height, width, path, status):
    content = saved(Image.new("L", (width, height)), "PPM")
    with running() as server:
        found, answer = server.predict(content, path)
    assert found == status, answer
    if status == 422:
        sentence = f"This file has {width}×{height} pixels; at most 65,500 on a side are taken."
        assert answer["detail"].startswith(sentence)
    else:
        assert decoded(answer["overlay"]).shape == (height, width, 3)


def test_picture_in_digits_is_refused_and_the_same_in_bytes_is_not():
    with running() as server:
        for content in (b"P1 2 1\n0 1", b"P2 2 1 255\n0 255", b"P3 1 1 255\n0 128 255"):
            status, answer = server.predict(content)
            assert (status, answer["detail"][:48]) == (
                422,
                "This file is a PPM that holds its pixels as text",
            )
        for content in (b"P4 2 1\n\x40", b"P5 2 1 255\n\0\xff", b"P6 1 1 255\n\0\x80\xff"):
            assert server.predict(content)[0] == 200


def test_picture_that_arrives_while_the_server_ends_is_told_so():
    picture, held = encoded(smooth(40, 40)), Held()
    with running(held) as server, ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(server.predict, picture)
        until(lambda: server.queue.running)
        with server.sending(stated=len(picture), content=picture[:-1]) as arriving:
            server.get("/api/health")  # what was sent before has been noticed
            server.end()
            until(lambda: server.queue.closed)
            arriving.sendall(picture[-1:])
            assert answer_of(arriving) == (503, {"detail": ENDING})
        held.released.set()
        assert at_work.result()[0] == 200


def test_nothing_of_a_user_is_on_disk(server, workspace_of_server):
    """Watched while a picture arrives, waits and is answered, larger than what servers keep in memory."""
    folder = workspace_of_server
    before = sorted(folder.rglob("*"))
    picture = encoded(smooth(2000, 3000), ".bmp")
    handles = Path(f"/proc/{server.process.pid}/fd")
    files = set()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.predict, picture)
        while not answer.done():
            files |= {str(path) for path in set(folder.rglob("*")) - set(before)}
            for handle in handles.iterdir():  # also files without a name
                with contextlib.suppress(FileNotFoundError):
                    files.add(str(handle.readlink()))
    assert len(picture) > 10_000_000
    assert answer.result()[0] == 200
    assert [file for file in files if file.startswith(str(folder))] == []
    assert sorted(folder.rglob("*")) == before


def test_log_has_a_short_line_a_picture(server):
    lines, began = len(server.log), time.monotonic()
    server.ask("POST", "/api/predict?preview=true", encoded(smooth(40, 40)))
    until(lambda: len(server.log) > lines)
    answered = re.search(r" predict: 200 after (\d+) ms$", server.log[-1])
    # The server's time is a part of the client's.
    assert 0 < int(answered[1]) < 1000 * (time.monotonic() - began)
    assert len(server.log[-1]) < 60


def test_fault_of_the_server_is_a_sentence_without_its_inside():
    def fails(image):
        raise RuntimeError("inside")

    queue = Queue(most=1)
    app = App(Segmenter(fails, CITYSCAPES), queue, file=Path("m"), images={})
    with pytest.raises(RuntimeError, match="inside"):  # which uvicorn writes to its log
        asyncio.run(handed(app, encoded(smooth(40, 40)), sent := []))
    queue.close()
    assert sent[0]["status"] == 500
    sentence = "The server failed at this request; what happened is in its terminal."
    assert json.loads(sent[1]["body"]) == {"detail": sentence}


def test_client_that_sends_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(uploads, "READ_SECONDS", 0.01)
    queue = Queue(most=1)
    app = App(Segmenter(None, CITYSCAPES), queue, file=Path("m"), images={})
    asyncio.run(handed(app, None, sent := []))
    queue.close()
    assert sent[0]["status"] == 408
    detail = json.loads(sent[1]["body"])["detail"]
    assert detail.startswith("The picture did not arrive within 0.01 s, or nothing of it for 10 s.")


async def handed(app, content: bytes | None, sent: list) -> None:
    """Hand a request to an application as the server does, and note what it sends; None: the body never comes."""
    messages = [{"type": "http.request", "body": content, "more_body": False}] if content else []

    async def receive():
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/predict", "headers": []}
    await app(scope | {"query_string": b""}, receive, send)


@pytest.mark.parametrize("model", ["m.ckpt", "m.mindir"])
def test_models_of_mindspore_work_in_the_thread_that_loaded_them(models, photograph, model):
    """Not in that of the server, and so not in this one."""
    picture = photograph(64, 128)
    queue = Queue(most=1)

    def make() -> Predictor:
        return Predictor.load(models / model, device_target="CPU", flip=True)

    segmenter = Segmenter(queue.submit(make).result(), CITYSCAPES)
    prediction = asyncio.run(queue.run(functools.partial(segmenter, encoded(picture))))
    queue.close()
    expected = make()(picture)
    np.testing.assert_array_equal(decoded(prediction.train_ids), expected)


def test_busy_port_and_impossible_addresses_are_one_message(models, server, capsys):
    port = server.address.split(":")[1]
    for options, message in (
        (("--port", port), f"error: --port: {port} is in use on 127.0.0.1. End what uses it"),
        (("--port", 70000), "error: --port: 70000 is no port"),
        (("--host", "192.0.2.1", "--port", 0), "error: --host 192.0.2.1, --port 0: cannot be list"),
        (("--port", 0, "--model", "none.ckpt"), "error: none.ckpt: no such model."),
    ):
        arguments = ["serve", "--model", models / "m.onnx", *options]
        with pytest.raises(SystemExit, match="2"):
            commands.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert printed.err.startswith(message)
        assert len(printed.err.splitlines()) == 1
        assert printed.out == ""


def test_other_machines_are_warned_of_and_reach_it_by_name_or_address_until_ctrl_c_ends_it(models, tmp_path):
    names = ("one.example.org", "other.example.org")
    named = [option for name in names for option in ("--public-name", name)]
    with served(models / "m.onnx", "--host", "0.0.0.0", *named, cwd=tmp_path) as open_server:
        assert open_server.log[0].startswith("warning: --host 0.0.0.0: whoever can reach this ma")
        assert "there is no password" in open_server.log[0]
        port = open_server.address.split(":")[1]
        assert open_server.url == f"http://127.0.0.1:{port}"
        addresses = re.findall(r"http://([^\s,]+)", open_server.log[-1])
        own = {
            one.address
            for addresses in psutil.net_if_addrs().values()
            for one in addresses
            if one.family == socket.AF_INET
        }
        assert {address.removesuffix(f":{port}") for address in addresses} == own | {"127.0.0.1"}
        assert open_server.get("/api/images") == []  # no params.yaml here
        for address in (*addresses, f"192.0.2.1:{port}", *names):
            assert open_server.ask("GET", "/", Host=address)[0] == 200
        assert open_server.ask("GET", "/", Host=f"example.org:{port}")[0] == 403

        assert open_server.predict(encoded(smooth(40, 40)))[0] == 200
        process = psutil.Process(open_server.process.pid)
        children = process.children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert open_server.process.wait(timeout=60) == 0
        assert not any(child.is_running() for child in children)
        assert "Traceback" not in "".join(open_server.log)
        with pytest.raises(ConnectionRefusedError):
            open_server.get("/api/health")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_addresses_of_ipv6_have_brackets():
    with serve_server.listen("::", 0) as listening:
        own, *others = serve_server.urls("::", listening)
        assert own == f"http://[::1]:{listening.getsockname()[1]}"
        assert all(re.fullmatch(r"http://\[[0-9a-f:]+\]:\d+", other) for other in others)
        assert not any("[fe80" in other or "[::]" in other for other in others)


def test_machine_is_known_by_its_full_name_where_others_reach_it(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "Box")
    monkeypatch.setattr(socket, "getfqdn", lambda: "Box.example.org")
    names = ("box:8000", "box.local:8000", "box.example.org:8000", "BOX.EXAMPLE.ORG")
    for is_open, status in ((True, 200), (False, 403)):
        with running(is_open=is_open) as server:
            for name in names:
                assert server.ask("GET", "/", Host=name, Origin=f"http://{name}")[0] == status
            assert server.ask("GET", "/", Host="example.org")[0] == 403


def test_reverse_proxy_is_named_by_an_option_that_the_refusal_tells():
    picture = encoded(smooth(40, 40))
    public = ["Segment.example.org", "example.org:8443", "[FD00::1]:8443"]
    with running(public_names=public) as server:
        for host, origin, status in (
            ("segment.example.org", "https://segment.example.org", 200),
            (server.address, "https://segment.example.org", 200),  # a proxy that sends its own
            ("example.org", "https://example.org:8443", 200),
            ("[fd00::1]:8443", "https://[fd00::1]:8443", 200),
            (server.address, "https://[fd00::1]:8443", 200),
            ("[fd00::2]:8443", "https://[fd00::2]:8443", 403),
            (server.address, "https://example.org", 403),
            (server.address, "https://segment.example.org:444", 403),
            ("other.example.org", "https://segment.example.org", 403),
            ("segment.example.org", "https://other.example.org", 403),
        ):
            found, answer = server.predict(picture, Host=host, Origin=origin)
            assert found == status, (host, origin)
            assert status == 200 or "--public-name" in answer["detail"]


def test_public_name_may_be_an_address_of_ipv6(models, server, capsys):
    port = server.address.split(":")[1]
    for name, message in (
        ("[fd00::1]:8443", f"error: --port: {port} is in use"),
        ("[fd00::1]", f"error: --port: {port} is in use"),
        ("[1:2]:8443", "error: --public-name: '[1:2]:8443' is no name; write"),
        ("fd00::1", "error: --public-name: 'fd00::1' is no name; write"),
    ):
        options = ["--model", str(models / "m.onnx"), "--port", port, "--public-name", name]
        with pytest.raises(SystemExit, match="2"):
            commands.main(["serve", *options])
        assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("name", ["https://example.org", "example.org/page", "", "a b", "x:y"])
def test_public_name_that_is_none_is_refused_at_once(models, name, capsys):
    arguments = ["serve", "--model", str(models / "m.onnx"), "--port", "0", "--public-name", name]
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert capsys.readouterr().err.startswith(f"error: --public-name: {name!r} is no name; write")


HALF_A_SECOND = """
import time
from adl.predict.serve import server
from tests.serving import all_road, serving
def predict(image):
    print("at work", flush=True)
    time.sleep(0.5)
    return all_road(image)
listening = server.listen("127.0.0.1", 0)
[url] = server.urls("127.0.0.1", listening)
print("ready at", url, flush=True)
serving(predict).run([listening])
"""


@pytest.mark.parametrize("ignored", [True, False])
def test_closed_terminal_cuts_nobody_off_and_ends_nothing_under_nohup(ignored):
    command = [sys.executable, "-c", HALF_A_SECOND]
    process = subprocess.Popen(
        ["nohup", *command] if ignored else command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Served(process)
    with ThreadPoolExecutor(1) as pool:
        at_work = pool.submit(server.predict, encoded(smooth(40, 40)))
        until(lambda: "at work\n" in server.log)
        for _ in range(2):  # one from the shell, one from the terminal
            process.send_signal(signal.SIGHUP)
        assert at_work.result()[0] == 200
    if ignored:
        assert server.get("/api/health") == {"status": "ok"}
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0


def test_second_ctrl_c_counts_whatever_follows():
    with running() as server:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGHUP):
            server.server.handle_exit(number, None)
        assert server.server.force_exit


# `adl serve` whose model takes longer than anybody waits.
AT_WORK_FOR_EVER = """
import sys, time
from adl import commands
from adl.commands import serve
from tests.data import CITYSCAPES
from adl.predict.serve import server
from adl.predict.serve.segmenter import Segmenter
serve.load = lambda arguments: Segmenter(lambda image: time.sleep(600), CITYSCAPES)
server.GRACE_SECONDS = 0.5
commands.main(["serve", *sys.argv[1:]])
"""


def test_server_ends_while_pictures_are_at_work_waiting_and_arriving(models):
    process = subprocess.Popen(
        [sys.executable, "-c", AT_WORK_FOR_EVER, "--model", models / "m.onnx", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running, picture = Served(process), encoded(smooth(40, 40))
    with ThreadPoolExecutor(3) as pool:
        sent = [pool.submit(running.predict, picture)]
        until(lambda: running.get("/api/queue")["running"])
        sent += [pool.submit(running.predict, picture) for _ in range(2)]
        until(lambda: running.get("/api/queue")["waiting"] == 2)
        with running.sending(stated=1000) as arriving:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
            assert answer_of(arriving)[0] == 503
        for status, answer in (future.result() for future in sent):
            assert (status, answer["detail"]) == (503, ENDING)
        assert all(" predict: " in line for line in running.log[1:]), running.log


@pytest.mark.slow
def test_memory_is_flat_over_a_hundred_pictures(server):
    process = psutil.Process(server.process.pid)
    rng = np.random.default_rng(0)
    pictures = [encoded(rng.integers(0, 256, (900 + i, 1200, 3), dtype=np.uint8), ".jpg") for i in range(10)]
    assert min(map(len, pictures)) > 1_000_000
    resident = []
    for number in range(100):
        status, _ = server.predict(pictures[number % 10], "/api/predict?preview=true")
        assert status == 200
        resident.append(process.memory_info().rss)
    # Kept, 50 of the files alone would be 50 MB.
    assert max(resident[75:]) < max(resident[:25]) + 25_000_000, resident[::5]
    assert process.num_threads() < 100
