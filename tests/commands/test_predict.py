"""`adl predict` on any photograph, folder or video."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adl import commands
from adl.commands import predict as command
from adl.config import recipes
from adl.console import progress
from adl.evaluation import inference
from adl.files import write_text
from adl.predict import photographs
from adl.predict.predictor import Predictor
from adl.predict.videos import Video
from tests.data import CITYSCAPES, huge_png
from tests.films import write_film
from tests.fixtures import operation_by_operation
from tests.workspace import WITHOUT_ROOT_RIGHTS

FAST = "m.onnx"
"""The model where any will do: it needs no second at the first image."""


@pytest.fixture
def uncompiled():
    with operation_by_operation():
        yield


def read(folder, name, kind):
    return cv2.imread(str(folder / f"{name}_{kind}.png"), cv2.IMREAD_UNCHANGED)


def predict(*arguments) -> None:
    commands.main(["predict", *map(str, arguments)])


@pytest.mark.parametrize(("model", "size"), [("m.ckpt", (33, 33)), ("m.ckpt", (20, 90)), ("m.mindir", (70, 50))])
def test_small_and_odd_sizes_are_labelled_at_their_size(models, photograph, tmp_path, model, size):
    cv2.imwrite(str(tmp_path / "p.png"), photograph(*size))
    predict(tmp_path / "p.png", "--model", models / model, "--output", tmp_path / "out")
    labels = read(tmp_path / "out", "p", "labelIds")
    assert labels.shape == size
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= set(CITYSCAPES.label_names)
    assert read(tmp_path / "out", "p", "color").shape == (*size, 3)
    np.testing.assert_array_equal(
        read(tmp_path / "out", "p", "color")[..., ::-1],
        CITYSCAPES.palette[CITYSCAPES.train_ids[labels]],
    )


@pytest.mark.slow
def test_photograph_of_48_megapixels_is_labelled_at_its_size(models, photograph, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "large.jpg"), photograph(6000, 8000))
    predict(
        tmp_path / "large.jpg",
        "--model",
        models / "m.ckpt",
        "--output",
        tmp_path / "out",
        "--longest-side",
        512,
    )
    assert read(tmp_path / "out", "large", "labelIds").shape == (6000, 8000)
    assert "8000×6000, " in capsys.readouterr().out


def test_portrait_with_exif_rotation_is_labelled_upright(models, photograph, tmp_path):
    upright = photograph(96, 64)
    Image.fromarray(upright[..., ::-1]).save(tmp_path / "upright.jpg", quality=100, subsampling=0)
    lying = Image.open(tmp_path / "upright.jpg").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90° to the right to see it upright"
    lying.save(tmp_path / "lying.jpg", quality=100, subsampling=0, exif=exif)
    assert Image.open(tmp_path / "lying.jpg").size == (96, 64)
    predict(tmp_path, "--model", models / "m.ckpt", "--output", tmp_path / "out")
    one, other = (read(tmp_path / "out", name, "labelIds") for name in ("upright", "lying"))
    assert one.shape == other.shape == (96, 64)
    assert (one == other).mean() > 0.95
    assert len(np.unique(one)) > 1


def test_options_do_what_they_say(models, photograph, tmp_path, uncompiled):
    image = photograph(64, 128)
    cv2.imwrite(str(tmp_path / "p.png"), image)
    load = functools.partial(Predictor.load, models / "m.ckpt", device_target="CPU")
    expected = {
        (): load(flip=True)(image),
        ("--no-flip",): load(flip=False)(image),
        ("--longest-side", "64"): load(flip=True, longest_side=64)(image),
        ("--window", "64", "100"): load(flip=True, window=[64, 100])(image),
    }
    assert len({labels.tobytes() for labels in expected.values()}) == len(expected)
    for options, labels in expected.items():
        predict(tmp_path / "p.png", "--model", models / "m.ckpt", "--output", tmp_path / "out", *options)
        np.testing.assert_array_equal(read(tmp_path / "out", "p", "labelIds"), CITYSCAPES.label_ids[labels])
        overlay = read(tmp_path / "out", "p", "overlay")
        np.testing.assert_array_equal(overlay, image // 2 + CITYSCAPES.palette[labels][..., ::-1] // 2)


def test_windows_are_those_of_the_parameters_unless_others_are_named(models, photograph, tmp_path, monkeypatch):
    cv2.imwrite("p.png", photograph(64, 300))
    write_text(Path("params.yaml"), recipes.shipped_text().replace("eval_window:", "eval_window: [64, 128]", 1))
    seen, strips = [], inference.strips

    def watched(run, images, window, **mirror):
        seen.append(window)
        return strips(run, images, window, **mirror)

    monkeypatch.setattr(inference, "strips", watched)
    for options in ((), ("--window", 40, 50), ("--window", 0, 0)):
        predict("p.png", "--model", models / FAST, "--output", "out", *options)
    assert seen == [[64, 128], [40, 50]]


def test_very_large_image_gets_its_label_ids_and_the_rest_on_request(models, photograph, monkeypatch, capsys):
    monkeypatch.setattr(command, "MOST_PIXELS", 40 * 50)
    for name, height in (("small", 40), ("large", 41)):
        cv2.imwrite(f"{name}.png", photograph(height, 50))
    arguments = ("small.png", "large.png", "--model", models / FAST, "--output", "out")
    predict(*arguments)
    of_small = {f"small_{kind}.png" for kind in ("labelIds", "color", "overlay")}
    assert {path.name for path in Path("out").iterdir()} == of_small | {"large_labelIds.png"}
    assert "large.png: 50×41, label ids only (--overlay writes the rest), " in capsys.readouterr().out
    predict(*arguments, "--overlay")
    assert len(list(Path("out").iterdir())) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("predict", "p.png", "--longest-side", "64", "--model", "m.mindir"),
            "a MINDIR has a fixed input size",
        ),
        (("predict", "p.png", "--window", "64", "20", "--model", "m.onnx"), "--window: 20 is less than 33 pixels"),
        (("predict", "p.png", "--output", "p.png"), "p.png is a file; name a folder"),
        (("predict", "p.png", "--output", "p.png/sub"), "p.png is a file; name a folder"),
        (
            ("submission", ".", "--predictions", "maps", "--no-flip", "--multiscale"),
            "leave out --no-flip, --mult",
        ),
        (("submission", ".", "--output", "s.tar"), "--output s.tar: must end with .zip"),
        (
            ("submission", ".", "--output", "folder.zip"),
            "--output folder.zip: is a folder; name a file",
        ),
        (("recipe", "--all"), "--dry-run, --all and --data-path need the NAME of a recipe"),
        (("recipe", "--dry-run"), "--dry-run, --all and --data-path need the NAME of a recipe"),
        (("compare", "HEAD", "--output", "c.jpg"), "--output c.jpg: must end with .png"),
        (("table", "--output", "p.png/t.md"), "p.png is a file; name a folder"),
    ],
)
def test_options_that_would_be_ignored_and_outputs_that_cannot_be_are_refused(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("p.png", np.zeros((40, 40, 3), np.uint8))
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert message in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"datasets", "p.png", "folder.zip"}


def test_folder_is_labelled_with_its_structure(models, photograph, tmp_path):
    for name in ("b.png", "sub/a.JPG"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
    (tmp_path / "in" / "notes.txt").write_text("no image")
    predict(tmp_path / "in", "--model", models / FAST, "--output", tmp_path / "out")
    found = photographs.find([tmp_path])
    assert list(found.images) == [tmp_path / "in/b.png", tmp_path / "in/sub/a.JPG"]
    assert {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*_labelIds.png")} == {
        "b_labelIds.png",
        "sub/a_labelIds.png",
    }


def test_several_images_a_folder_and_a_video_are_labelled_at_once(models, photograph, tmp_path, monkeypatch, capsys):
    odd = os.fsdecode(b"Stra\xdfe.png")
    cv2.imwrite(str(tmp_path / "a.png"), photograph(40, 40))
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "a.png", tmp_path / "in" / odd)
    (tmp_path / "in/notes.txt").write_text("no image")
    write_film(tmp_path / "a.mp4", [photograph(64, 128) for _ in range(3)])
    inputs = (tmp_path / "a.png", tmp_path / "in", tmp_path / "a.mp4")
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    predict(*inputs, "--model", models / FAST, "--output", tmp_path / "out")
    stem = odd.removesuffix(".png")
    kinds = ("labelIds", "color", "overlay")
    names = {f"{name}_{kind}.png" for name in ("a", stem) for kind in kinds}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "a_overlay.mp4"}
    assert len(list(Video.open(tmp_path / "out/a_overlay.mp4"))) == 3
    printed, told = capsys.readouterr()
    assert "predicting a.mp4: 3/3 frames, " in told
    assert "skipped: 1 file (notes.txt)" in printed
    assert "3 images and videos labelled" in printed
    [line] = [line for line in printed.splitlines() if "a.png: 40×40" in line]
    assert line.count(" %") == 3


def cut(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    whole = cv2.imencode(kind, noise)[1]
    return whole.tobytes()[: len(whole) // 2]


BROKEN = {
    "text.jpg": (b"hello", "is not an image that can be read"),
    "empty.png": (b"", "is not an image that can be read"),
    "half.jpg": (cut(".jpg"), "is damaged (image file is truncated"),
    "cut.png": (cut(".png"), "is damaged"),
    "huge.png": (huge_png(), "states more pixels than can be read"),
}


def test_broken_files_are_named_and_the_others_labelled(models, photograph, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name, (content, _) in BROKEN.items():
        (tmp_path / "in" / name).write_bytes(content)
    cv2.imwrite(str(tmp_path / "in/good.png"), photograph(40, 40))
    (tmp_path / "film.mp4").write_bytes(b"no video")
    shutil.copy(tmp_path / "in/good.png", tmp_path / "last.png")
    inputs = (tmp_path / "in", tmp_path / "film.mp4", tmp_path / "last.png")
    with pytest.raises(SystemExit, match="2"):
        predict(*inputs, "--model", models / FAST, "--output", tmp_path / "out")
    printed, told = capsys.readouterr()
    names = {f"{name}_{kind}.png" for name in ("good", "last") for kind in ("labelIds", "color", "overlay")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name, (_, message) in BROKEN.items():
        assert f"in/{name}: {message}" in told
    assert "film.mp4: is neither an image nor a video that can be read" in told
    assert "2 of 8 images and videos labelled" in printed
    faulty = [*(tmp_path / "in" / name for name in sorted(BROKEN)), tmp_path / "film.mp4"]
    assert told.endswith(f"error: not labelled, or only in part: {', '.join(map(str, faulty))}.\n")


def test_image_too_long_for_a_png_is_named_and_the_others_labelled(models, photograph, capsys):
    Image.new("L", (1, 1_000_001)).save("long.png")
    cv2.imwrite("z.png", photograph(40, 40))
    with pytest.raises(SystemExit, match="2"):
        predict("long.png", "z.png", "--model", models / FAST, "--output", "out", "--no-flip")
    told = capsys.readouterr().err
    assert "error: out/long_labelIds.png: no PNG of 1×1000001 pixels can be written. Cut" in told
    assert told.endswith("error: not labelled, or only in part: long.png.\n")
    assert Path("out/z_overlay.png").exists()


def test_nothing_but_broken_files_loads_no_model(models, tmp_path, capsys):
    (tmp_path / "cut.png").write_bytes(cut(".png"))
    with pytest.raises(SystemExit, match="2"):
        predict(tmp_path / "cut.png", "--model", models / "m.ckpt", "--output", tmp_path / "out")
    assert "parameters, native names" not in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_missing_path_is_refused_before_the_others_are_labelled(models, photograph, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "good.png"), photograph(40, 40))
    with pytest.raises(SystemExit, match="2"):
        predict(tmp_path / "good.png", tmp_path / "lost.png", "--output", tmp_path / "out")
    assert "lost.png: no such image or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_of_an_earlier_run_are_left_out_and_nothing_else(models, photograph, tmp_path, capsys):
    """`x_color.png` may well be somebody's photograph."""
    for name in ("a.png", "x_color.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
    for output in ("in", "again"):
        predict(tmp_path / "in", "--model", models / FAST, "--output", tmp_path / output)
    assert {path.name for path in (tmp_path / "again").iterdir()} == {
        f"{name}_{kind}.png" for name in ("a", "x_color") for kind in ("labelIds", "color", "overlay")
    }
    skipped = "skipped: 6 files (a_color.png, a_labelIds.png, a_overlay.png, …), results of an earlier"
    assert capsys.readouterr().out.count(skipped) == 1


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            ("a.png", "a_color.png"),
            "a.png: a result would be written over a_color.png; name another",
        ),
        (
            ("sub/a.png", "linked/a_overlay.png"),
            "a result would be written over a_overlay.png",
        ),
        (("a.mp4", "a_overlay.mp4"), "a.mp4: a result would be written over a_overlay.mp4"),
        (("a.png", "sub/a.png"), "a.png and sub/a.png would write the same files; rename one"),
        (("a.mp4", "sub/a.mp4"), "a.mp4 and sub/a.mp4 would write the same files; rename one"),
        ((".",), "a result would be written over"),
    ],
)
def test_no_result_is_written_over_an_input_or_another_result(photograph, tmp_path, capsys, inputs, message):
    (tmp_path / "sub").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    for name in ("b.png", "b_color.png", *inputs):
        if name.endswith(".png"):
            cv2.imwrite(name, photograph(40, 40))
    for name in ("a.mp4", "a_overlay.mp4", "sub/a.mp4"):
        write_film(tmp_path / name, [photograph(64, 64)])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(SystemExit, match="2"):
        predict(*inputs, "--output", ".")
    assert message in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_interrupted_run_beside_the_images_is_repeated(models, photograph, capsys):
    Path("in").mkdir()
    long = "x" * 251
    for name in ("a", long):
        Path(f"in/{name}.jpg").write_bytes(cv2.imencode(".jpg", photograph(40, 40))[1].tobytes())
    arguments = ("in", "--model", models / FAST, "--output", "in", "--no-flip")
    predict(*arguments)
    written = sorted(Path("in").iterdir())
    for path in Path("in").glob("*_overlay.png"):
        path.unlink()
    Path("in/a_color.png").unlink()
    predict(*arguments)
    assert sorted(Path("in").iterdir()) == written
    assert "2 of 2 images and videos labelled" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["color", "overlay"])
def test_no_result_is_written_over_what_is_no_result(models, photograph, capsys, ending):
    for name in ("a", f"a_{ending}"):
        cv2.imwrite(f"{name}.png", photograph(40, 40))
    before = Path(f"a_{ending}.png").read_bytes()
    with pytest.raises(SystemExit, match="2"):
        predict("a.png", "--model", models / "m.ckpt", "--output", ".", "--no-flip")
    told = f"a.png: a result would be written over a_{ending}.png; name another --output."
    assert told in capsys.readouterr().err
    assert Path(f"a_{ending}.png").read_bytes() == before
    assert len(list(Path().glob("*.png"))) == 2


def test_folders_that_cannot_be_read_and_images_of_one_name_do_not_stop_the_others(models, photograph):
    for name in ("y", "z", "shut/b"):
        Path(f"in/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f"in/{name}.png", photograph(40, 40))
    cv2.imwrite("in/y.jpg", photograph(40, 40))
    Path("in/link").symlink_to("shut/b.png")
    Path("in/shut").chmod(0)
    options = ("--model", str(models / "m.onnx"), "--output", "out", "--no-flip")
    command = [*WITHOUT_ROOT_RIGHTS, sys.executable, "-m", "adl.commands", "predict", "in"]
    try:
        done = subprocess.run([*command, *options], capture_output=True, text=True)
    finally:
        Path("in/shut").chmod(0o755)
    assert done.returncode == 2
    assert "in/shut: cannot be searched (Permission denied). Change its perm" in done.stderr
    assert "in/y.jpg and in/y.png would write the same files; rename one" in done.stderr
    faulty = "in/link, in/shut, in/y.jpg, in/y.png"
    found = done.stderr.splitlines()[-1].removeprefix("error: not labelled, or only in part: ")
    assert sorted(found.rstrip(".").split(", ")) == faulty.split(", ")
    assert "1 of 3 images and videos labelled: out" in done.stdout
    assert {path.name for path in Path("out").iterdir()} == {
        f"z_{kind}.png" for kind in ("labelIds", "color", "overlay")
    }


def test_photograph_is_decoded_once(models, photograph, monkeypatch):
    cv2.imwrite("a.png", photograph(40, 40))
    decoded, decode = [], photographs.decode

    def counted(content):
        decoded.append(content)
        return decode(content)

    monkeypatch.setattr(photographs, "decode", counted)
    predict("a.png", "--model", models / FAST, "--output", "out", "--no-flip")
    assert decoded == [Path("a.png").read_bytes()]


def test_line_of_a_photograph_says_how_many_of_its_16_bits_are_used(models, photograph, capsys):
    cv2.imwrite("a.png", photograph(40, 40).astype(np.uint16) << 4)
    predict("a.png", "--model", models / FAST, "--output", "out")
    assert "a.png: 40×40, 12 of 16 bits are used, " in capsys.readouterr().out


def test_image_that_is_named_twice_is_labelled_once(models, photograph, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    cv2.imwrite("in/a.png", photograph(40, 40))
    (tmp_path / "in/linked.png").symlink_to("a.png")
    predict("in", "in/a.png", "in/a.png", "--model", models / FAST, "--output", "out")
    printed = capsys.readouterr().out
    assert printed.count("in/a.png: ") == printed.count("in/linked.png: ") == 1


SHORT = ("x" * 242, "图" * 80)
LONG = ("x" * 251, "图" * 83, "图" * 82 + "2", os.fsdecode(b"\xdf" * 250))


def test_names_that_leave_no_room_for_an_ending_are_shortened(models, photograph, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for stem in (*SHORT, *LONG):
        Path("in", f"{stem}.png").write_bytes(cv2.imencode(".png", photograph(33, 33))[1].tobytes())
    film = write_film(tmp_path / "film.mp4", [photograph(64, 64)]).rename(f"{'v' * 251}.mp4")
    predict("in", film, "--model", models / FAST, "--output", "out", "--no-flip")
    written = {path.name for path in Path("out").iterdir()}
    assert max(len(os.fsencode(name)) for name in written) <= 255
    stems = {name.rsplit("_", 1)[0] for name in written}
    assert len(written) == 3 * 6 + 1
    assert len(stems) == 6 + 1
    assert set(SHORT) < stems
    assert stems.isdisjoint(LONG)
    told = "too long a name for its results, which are called"
    assert capsys.readouterr().out.count(told) == len(LONG) + 1
    cut = Path("in", f"{LONG[0]}.png")
    predict(cut, "--model", models / FAST, "--output", "again", "--no-flip")
    assert {path.name for path in Path("again").iterdir()} < written, "the same names every time"


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "x" * 300),
        ("predict", "p.png", "--output", "x" * 300),
        ("predict", "p.png", "--model", f"{'x' * 300}.ckpt"),
        ("submission", ".", "--output", f"{'x' * 300}.zip"),
        ("table", "--output", "x" * 300),
        ("compare", "HEAD", "--output", f"{'x' * 300}.png"),
    ],
)
def test_name_that_no_file_can_have_is_told_as_that(tmp_path, capsys, arguments):
    cv2.imwrite("p.png", np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    assert "File name too long. Choose a shorter one." in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"datasets", "p.png"}


def test_folder_without_images_missing_model_and_shared_names_are_refused(models, photograph, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for arguments, message in (
        ((tmp_path / "in",), "holds no image"),
        (
            (tmp_path / "in" / "a.png", "--model", tmp_path / "none.ckpt"),
            "none.ckpt: no such model",
        ),
        ((tmp_path / "in",), "would write the same files; rename one"),
    ):
        with pytest.raises(SystemExit, match="2"):
            predict(*arguments, "--output", tmp_path / "out")
        assert message in capsys.readouterr().err
        for name in ("a.png", "a.jpg") if "none.ckpt" in str(arguments) else ("a.png",):
            cv2.imwrite(str(tmp_path / "in" / name), photograph(40, 40))
