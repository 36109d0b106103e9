"""`adl predict` on videos as phones, cameras and interrupted downloads leave them."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import commands
from adl.errors import AdlError
from adl.predict import photographs, videos
from tests.data import largest_file
from tests.films import MATRICES, damage, read_film, turn, write_film


@pytest.fixture
def frames(photograph) -> list[np.ndarray]:
    return [photograph(64, 128) for _ in range(10)]


@pytest.fixture
def predict(models, tmp_path, capsys):
    """Run the command; returns its exit code and what it printed and told."""

    def run(*arguments):
        code = 0
        try:
            commands.main(
                ["predict", "--output", "out", "--no-flip", "--model", str(models / "m.ckpt"), *map(str, arguments)]
            )  # fmt: skip
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_overlay_shows_each_frame_upright_in_its_order_at_its_time(predict, frames, tmp_path):
    write_film(tmp_path / "a.mp4", frames[:3], rate=12.5)
    turn(write_film(tmp_path / "portrait.mp4", frames[:1]), 90)
    code, printed, told = predict("a.mp4", "portrait.mp4")
    assert code == 0
    film = videos.Video.open(tmp_path / "out/a_overlay.mp4")
    assert (film.frames, film.rate, film.size) == (3, 12.5, (64, 128))
    # Half of an overlay is the picture itself.
    written = [frame.ravel() for frame in read_film(tmp_path / "out/a_overlay.mp4")]
    alike = [[np.corrcoef(one, frame.ravel())[0, 1] for frame in frames[:3]] for one in written]
    assert np.argmax(alike, axis=1).tolist() == [0, 1, 2]
    assert [frame.shape for frame in read_film(tmp_path / "out/portrait_overlay.mp4")] == [(128, 64, 3)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a_overlay.mp4",
        "portrait_overlay.mp4",
    }
    assert "a.mp4: 3 frames, 12.5 per second, without sound, as " in printed
    h264 = cv2.VideoWriter("trial.mp4", cv2.VideoWriter.fourcc(*"avc1"), 25, (64, 64)).isOpened()
    assert (", as H.264\n" in printed) is h264
    assert ("which VLC and mpv show, and web browsers do not" in printed) is not h264
    assert "ERROR" not in told, "OpenCV does not complain of what it cannot write"


@pytest.mark.parametrize("degrees", MATRICES)
def test_film_of_a_phone_that_was_turned_is_upright(tmp_path, degrees):
    upright = np.zeros((96, 64, 3), np.uint8)
    upright[:32, :32] = 255  # at the top, on the left
    stored = np.ascontiguousarray(np.rot90(upright, degrees // 90))
    path = write_film(tmp_path / "a.mp4", [stored] * 2)
    turn(path, degrees)
    film = videos.Video.open(path)
    assert film.size == (96, 64)
    for frame in film:
        assert np.abs(frame.astype(int) - upright).mean() < 8


def test_frames_after_a_damaged_one_are_labelled(predict, frames, tmp_path):
    write_film(tmp_path / "a.mp4", frames[:4])
    damage(tmp_path / "a.mp4", start=0.3, length=1500)
    assert len(list(videos.Video.open(tmp_path / "a.mp4"))) == 3
    code, printed, _ = predict("a.mp4")
    assert "a.mp4: 3 frames (its header states 4)" in printed
    assert code == 0, "one frame of a film"
    assert len(read_film(tmp_path / "out/a_overlay.mp4")) == 3


def test_film_that_is_cut_in_half_is_labelled_and_reported(predict, frames, tmp_path):
    path = write_film(tmp_path / "a.avi", frames)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    write_film(tmp_path / "c.mp4", frames[:1])
    code, printed, told = predict("a.avi", "c.mp4")
    assert code == 2
    readable = len(read_film(path))
    assert len(read_film(tmp_path / "out/a_overlay.mp4")) == readable < 6
    assert f"a.avi: only {readable} of the 10 frames that its header states could be read" in told
    assert told.endswith("error: not labelled, or only in part: a.avi.\n")
    assert "1 of 2 images and videos labelled" in printed
    assert (tmp_path / "out/c_overlay.mp4").exists()


@pytest.mark.parametrize(
    ("stated", "read", "is_complete"),
    [
        (100, 96, True),
        (100, 95, True),
        (100, 94, False),
        (10, 9, True),
        (10, 8, False),
        (1, 400, True),
    ],
)
def test_clearly_fewer_is_more_than_one_and_a_twentieth(predict, tmp_path, stated, read, is_complete):
    film = videos.Video(tmp_path / "a.mp4", stated, 25, (64, 128))
    if is_complete:
        film.check_complete(read)
    else:
        with pytest.raises(AdlError, match=f"only {read} of the {stated} frames"):
            film.check_complete(read)


@pytest.mark.parametrize("name", ["a.3gp", "a.ts", "a", "a.webm", "a.mkv", "a.MOV", "50%.mp4", "s:a.mp4"])
def test_videos_are_known_by_their_content(tmp_path, monkeypatch, frames, name):
    suffix = name[1:] if name in ("a.3gp", "a.ts", "a.webm", "a.mkv") else ".mp4"
    write_film(tmp_path / f"film{suffix}", frames[:3]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    found = photographs.find([Path(name)])
    assert (found.images, list(found.unlike_images)) == ({}, [Path(name)])
    film = videos.Video.open(Path(name))
    assert len(list(film)) == 3


def test_rate_that_no_mp4_can_have_is_replaced_and_told(predict, frames, tmp_path):
    content = bytearray(write_film(tmp_path / "a.mp4", frames[:1]).read_bytes())
    # Ticks in a second, and of a frame.
    for place, value in ((content.index(b"mdhd") + 16, 200_000), (content.index(b"stts") + 16, 1)):
        content[place : place + 4] = struct.pack(">I", value)
    (tmp_path / "a.mp4").write_bytes(content)
    code, printed, _ = predict("a.mp4")
    assert code == 0
    assert "1 frame, 25 (its header states 200000, which no MP4 can have) per second" in printed
    assert videos.Video.open(tmp_path / "out/a_overlay.mp4").rate == 25


@pytest.mark.parametrize("rate", [0, -1, 1e-4, float("nan"), float("inf")])
def test_rate_that_is_none_is_replaced(tmp_path, rate):
    encoding = videos.Encoding.like(videos.Video(tmp_path / "a.mp4", 1, rate, (64, 128)))
    assert encoding.rate == 25


def test_size_that_no_encoder_takes_is_told_before_the_model_is_loaded(predict, frames, tmp_path):
    write_film(tmp_path / "line.avi", [frame[:1] for frame in frames])
    code, printed, told = predict("line.avi")
    assert code == 2
    assert "line.avi: no encoder of this OpenCV takes frames of 128×1 pixels. Scale it" in told
    assert "disk" not in told
    assert "parameters, native names" not in printed
    assert not (tmp_path / "out").exists()


def test_video_is_written_beside_itself_whatever_its_name(predict, frames, tmp_path):
    write_film(tmp_path / "film.mp4", frames[:1]).rename("cam-12:30.mp4")
    code, _, told = predict("cam-12:30.mp4", "--output", ".")
    assert (code, "error" in told) == (0, False)
    assert len(read_film(tmp_path / "cam-12:30_overlay.mp4")) == 1


def test_video_that_cannot_be_begun_asks_for_no_frame(tmp_path):
    frames = iter([np.zeros((1, 128, 3), np.uint8)])
    with pytest.raises(AdlError, match=r"a\.mp4: OpenCV cannot begin this video"):
        videos.Encoding("mp4v", 25, (1, 128)).write(tmp_path / "a.mp4", frames)
    assert len(list(frames)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path, frames):
    encoding = videos.Encoding("mp4v", 25, (64, 128))
    mixed = [frames[0], cv2.resize(frames[0], (64, 32)), frames[0]]
    assert encoding.write(tmp_path / "a.mp4", mixed) == 3
    first, second, _ = read_film(tmp_path / "a.mp4")
    assert np.abs(first.astype(int) - second).mean() < 6


def test_texts_and_what_is_damaged_from_the_start_are_no_videos(tmp_path, frames):
    (tmp_path / "log.txt").write_text("FFmpeg would show this as a terminal does\n" * 2000)
    write_film(tmp_path / "cut.mp4", frames)
    damage(tmp_path / "cut.mp4", start=0, length=10**6)
    for name in ("log.txt", "cut.mp4"):
        with pytest.raises(AdlError, match=f"{name}: is neither an image nor a video"):
            videos.Video.open(tmp_path / name)
    with pytest.raises(AdlError, match=r"none\.mp4: no such video"):
        videos.Video.open(tmp_path / "none.mp4")


def test_video_on_a_full_disk_is_an_error_and_nothing_is_left(tmp_path, frames):
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 128, 3), dtype=np.uint8)
    encoding = videos.Encoding("mp4v", 25, (64, 128))
    with largest_file(4096), pytest.raises(AdlError, match=r"could not be written\. Is there room"):
        encoding.write(tmp_path / "b.mp4", noise)
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]
