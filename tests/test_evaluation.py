"""Evaluation, export and deployment of one tiny network, end to end on drawn scenes."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pandas as pd
import pytest
from mindspore import Tensor

from adl.network import checkpoint
from adl.dataset.batches import descriptor
from adl.deploy import infer
from adl.evaluation.evaluate import evaluate
from adl.deploy import export
from adl.reporting import figures
from adl import network
from adl import runtime
from adl.artifacts import replacing_folder, write_json
from adl.intake import layout
from adl.dataset.descriptor import (CATEGORIES, CLASS_NAMES)
from adl.errors import AdlError, reported
from adl.parallel.world import ALONE, World
from adl.scoring.confusion import Confusion
from pipeline import evaluate as stage
from tests.data import largest_file, write_record, write_scenes
from tests.test_scoring import official_scores

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture(scope="module")
def folder(once):
    """Drawn scenes in `raw`, and their records: six to train on, four to evaluate."""

    def make(folder: Path) -> None:
        raw = write_scenes(folder / "raw", train=6, val=4)
        for split in ("train", "val"):
            write_record(raw, split, folder)

    return once("six-and-four-images", make)


@pytest.mark.parametrize("part", ["report", "predictions"])
def test_folder_of_somebody_else_is_refused_before_any_work(part, tmp_path, monkeypatch):
    (tmp_path / "out" / part / "thesis").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--output", "out"])
    with pytest.raises(AdlError, match=f"out/{part}: would be replaced as a whole"):
        stage.main()


@pytest.fixture(scope="module")
def raw(folder):
    return folder / "raw"


@pytest.fixture
def net(tiny):
    ms.set_seed(3)
    return network.build(tiny)


@pytest.fixture
def score(net, tiny, folder, tmp_path):
    """Evaluate with the processes that the stage starts, in which the checkpoint is read from its file."""
    checkpoint.save(net, tmp_path / "net.ckpt")

    def run(predictions, *, processes=1, **changes):
        settings = {
            "checkpoint": str(tmp_path / "net.ckpt"),
            "record": str(folder / "cityscapes_val.mindrecord"),
            "device_target": "CPU", "multiscale": False, "flip": True, "limit": None, "batch_size": 1,
        }  # fmt: skip
        job = evaluate.Job(architecture=tiny.to_json(), **(settings | changes))
        return evaluate.evaluate(job, predictions, processes=processes, first_device=0, logs=tmp_path / "logs")

    return run


def test_miou_equals_the_official_script_on_the_files_written(score, tmp_path, monkeypatch, capsys):
    raw = write_scenes(tmp_path / "raw", height=1024, train=1, val=1)
    record = write_record(raw, "val", tmp_path)
    result = score(tmp_path / "predictions", record=str(record))
    frames = layout.frames(raw, "val")
    pairs = []
    for frame in frames:
        found = list((tmp_path / "predictions").rglob(f"{frame.name}*"))
        assert found == [tmp_path / "predictions" / frame.city / f"{frame.name}.png"], "one file an image"
        prediction = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED)
        assert prediction.ndim == 2
        assert set(np.unique(prediction)) <= {label.id for label in descriptor.CLASSES}
        pairs.append((cv2.imread(str(frame.label), cv2.IMREAD_UNCHANGED), prediction))
    theirs = official_scores(pairs, tmp_path, monkeypatch)
    ours = result.confusion("flip")
    for name, value in ours.class_iou().items():
        assert (
            np.isnan(theirs["classScores"][name]) if value is None else abs(value - theirs["classScores"][name]) < 1e-9
        )
    for name, value in ours.category_iou().items():
        assert abs(value - theirs["categoryScores"][name]) < 1e-9
    assert abs(ours.mean_iou() - theirs["averageScoreClasses"]) < 1e-9


@pytest.fixture
def score_here(net, folder, tmp_path, monkeypatch):
    """Evaluate in this process, operation by operation: six scales would be six graphs to compile."""
    runtime.start("CPU", seed=0, graph=False)

    def run(predictions, **changes):
        settings = {"multiscale": False, "flip": True, "limit": None, "batch_size": 1}
        record = str(folder / "cityscapes_val.mindrecord")
        job = evaluate.Job(checkpoint="", architecture={}, record=record, device_target="CPU", **(settings | changes))

        def counted(self, command, group):
            scratch = Path(command[-1]).parent
            evaluate.count(net, job, scratch).save(scratch / "rank_0.npz")
            return 0

        monkeypatch.setattr(evaluate.launcher.Launcher, "run", counted)
        return evaluate.evaluate(job, predictions, processes=1, first_device=0, logs=tmp_path / "logs")

    return run


def test_metrics_hold_what_was_promised(score_here, tmp_path):
    result = score_here(tmp_path / "p", limit=3, multiscale=True)
    result.baselines = {name: Confusion(np.eye(34)) for name in ("constant", "colour")}
    metrics = result.metrics()
    assert metrics["images"] == 3
    assert metrics["mIOU"] == metrics["mIOU_multiscale_flip"]
    assert metrics["mIOU_low"] <= metrics["mIOU"] <= metrics["mIOU_high"]
    assert {"mIOU_single", "mIOU_flip", "mIOU_multiscale", "mIOU_category", "pixel_accuracy"} <= metrics.keys()
    assert {"mean_accuracy", "frequency_weighted_IOU"} <= metrics.keys()
    assert metrics["class_IOU"].keys() == set(CLASS_NAMES)
    assert metrics["category_IOU"].keys() == set(CATEGORIES)
    assert metrics["classes_counted"] == sum(v is not None for v in metrics["class_IOU"].values())
    assert metrics["baseline"] == {"constant": 100.0, "colour": 100.0}
    assert len(list((tmp_path / "p").rglob("*.png"))) == 3
    json.dumps(metrics, allow_nan=False)
    own = result.confusion()
    for name, value in (
        ("mIOU", own.mean_iou()),
        ("mIOU_single", result.confusion("single").mean_iou()),
        ("pixel_accuracy", own.pixel_accuracy()),
        ("mean_accuracy", own.mean_accuracy()),
        ("frequency_weighted_IOU", own.frequency_weighted_iou()),
    ):
        assert metrics[name] == round(100 * value, 4), name
    speed = result.speed()
    assert 0 < speed["network_ms_per_image"] < speed["ms_per_image"]


def test_speed_is_the_usual_image_without_those_that_waited_for_a_compilation():
    counts = evaluate.Counts(list("abcd"), {}, [float("nan"), 0.1, 0.5, 0.3], [float("nan"), 0.02, 0.1, 0.04])
    speed = evaluate.Evaluation("single", counts, "CPU", processes=2).speed()
    assert (speed["ms_per_image"], speed["network_ms_per_image"], speed["processes"]) == (300.0, 40.0, 2)
    alone = evaluate.Counts(["a"], {}, [float("nan")], [float("nan")])
    assert evaluate.Evaluation("single", alone, "CPU").speed()["ms_per_image"] is None


def test_merged_counts_keep_what_belongs_to_an_image_together():
    def of(*names: str) -> evaluate.Counts:
        numbers = [float(ord(name)) for name in names]
        matrices = np.array([np.full((34, 34), number) for number in numbers])
        return evaluate.Counts(list(names), {"single": matrices}, numbers, [number / 2 for number in numbers])

    merged = evaluate.Counts.merged([of("d", "a"), of(), of("c", "b")])
    assert merged.names == ["a", "b", "c", "d"]
    assert merged.seconds == [97, 98, 99, 100]
    assert merged.network_seconds == [48.5, 49, 49.5, 50]
    assert merged.matrices["single"][:, 0, 0].tolist() == [97, 98, 99, 100]


def test_images_that_are_shown_are_the_ten_worst_the_middle_and_the_best():
    of_images = {f"image {i:02d}": (i * 7 % 13) / 13 for i in range(13)}
    ranked = sorted(of_images, key=of_images.get)
    chosen = {pick: name for name, picks in evaluate._chosen(of_images).items() for pick in picks}
    assert chosen == {f"worst_{i + 1:02d}": ranked[i] for i in range(10)} | {"median": ranked[6], "best": ranked[12]}


def test_no_more_processes_than_this_machine_has_devices(score, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate.runtime, "devices", lambda device_target: 1)
    assert score(tmp_path / "p", processes=2).speed()["processes"] == 1


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "c", "c"], ["a", "b", "c", "d", "e"]])
def test_image_that_is_not_counted_exactly_once_stops_the_evaluation(score, tmp_path, monkeypatch, names):
    def counted(self, command, group):
        matrices = {"single": np.ones((len(names), 34, 34), np.int64)}
        evaluate.Counts(names, matrices, [1.0] * len(names), [1.0] * len(names)).save(
            Path(command[-1]).with_name("rank_0.npz")
        )
        return 0

    monkeypatch.setattr(evaluate.launcher.Launcher, "run", counted)
    with pytest.raises(RuntimeError, match="images were evaluated, 4 expected, each once"):
        score(tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_report_has_its_pictures_and_tables(score_here, folder, tmp_path, monkeypatch):
    drawn, draw = [], figures.frequency_against_iou
    monkeypatch.setattr(figures, "frequency_against_iou", lambda *values: drawn.append(values) or draw(*values))
    first = score_here(tmp_path / "p")
    pixels = dict.fromkeys(CLASS_NAMES, 5)
    evaluate.write_report(first, folder / "cityscapes_val.mindrecord", tmp_path / "report", trained_pixels=pixels)
    assert drawn == [(pixels, first.metrics()["class_IOU"])]
    pictures = {p.name for p in (tmp_path / "report").rglob("*.png")}
    assert {"classes.png", "frequency.png", "confusion.png", "worst_01.png", "median.png", "best.png"} <= pictures
    assert all(cv2.imread(str(p)) is not None for p in (tmp_path / "report").rglob("*.png"))
    cells = pd.read_csv(tmp_path / "report/confusion.csv")
    assert len(cells) == 19 * 20
    assert cells["pixels"].sum() == first.confusion().of_classes().sum()
    ranked = pd.read_csv(tmp_path / "report/images.csv")
    assert ranked["mIOU"].is_monotonic_increasing
    assert len(ranked) == 4
    with np.load(tmp_path / "report/images.npz") as stored:
        assert stored["names"].tolist() == first.counts.names
        np.testing.assert_array_equal(stored["matrices"], first.counts.matrices["flip"])


@pytest.mark.parametrize(("multiscale", "flip"), [(True, True), (False, True)])
def test_overlays_show_the_map_that_their_score_is_of_and_the_image_in_its_own_colours(
    folder, raw, tmp_path, monkeypatch, multiscale, flip
):
    record = folder / "cityscapes_val.mindrecord"
    job = evaluate.Job("", {}, str(record), "CPU", multiscale, flip, None, 1)
    modes = {"flip": 0, "multiscale_flip": 1} if multiscale else {"flip": 0}

    def label_maps(passes, images, *, flip):
        return {mode: (images[..., 0] // 16 + shift) % 19 for mode, shift in modes.items()}

    def counted(self, command, group):
        scratch = Path(command[-1]).parent
        evaluate.count(None, job, scratch).save(scratch / "rank_0.npz")
        return 0

    monkeypatch.setattr(evaluate.inference, "passes", lambda network, *, multiscale: {})
    monkeypatch.setattr(evaluate.inference, "label_maps", label_maps)
    monkeypatch.setattr(evaluate.launcher.Launcher, "run", counted)
    result = evaluate.evaluate(job, tmp_path / "p", processes=1, first_device=0, logs=tmp_path / "logs")
    drawn = {}

    def overlay(image, truth, prediction, *, title):
        drawn[title.split(":")[0]] = (image, truth, prediction, title)
        return figures.plt.figure(figsize=(1, 1))

    monkeypatch.setattr(figures, "overlay", overlay)
    evaluate.write_report(result, record, tmp_path / "report", trained_pixels=dict.fromkeys(CLASS_NAMES, 5))
    at_scale_1 = result.counts.matrices["flip"]
    differ = 0
    for place, frame in enumerate(layout.frames(raw, "val")):
        image, truth, shown, title = drawn[frame.name]
        np.testing.assert_array_equal(image, cv2.cvtColor(cv2.imread(str(frame.image)), cv2.COLOR_BGR2RGB))
        of_title, at_1 = Confusion(), Confusion()
        of_title.add(truth, shown)
        np.testing.assert_array_equal(of_title.matrix, result.counts.matrices[result.selected][place])
        assert f"{100 * of_title.mean_iou():.1f} % ({result.selected})" in title
        # What `infer` is compared with stays at scale 1.
        written = cv2.imread(str(descriptor.prediction_path(tmp_path / "p", frame.name)), cv2.IMREAD_UNCHANGED)
        at_1.add(truth, written)
        np.testing.assert_array_equal(at_1.matrix, at_scale_1[place])
        differ += (shown != written).any()
    assert bool(differ) == multiscale
    assert not list(tmp_path.glob(".partial*"))


@pytest.mark.slow
def test_two_and_three_processes_count_what_one_counts_each_image_once(score, tmp_path_factory, folder, tmp_path):
    ten = tmp_path_factory.mktemp("ten")
    record = write_record(write_scenes(ten / "raw", train=1, val=10), "val", ten)
    results = [score(tmp_path / str(n), processes=n, record=str(record)) for n in (1, 2, 3)]
    for result, processes in zip(results, (1, 2, 3), strict=True):
        assert result.metrics() == results[0].metrics()
        assert result.speed()["processes"] == processes
        assert result.counts.names == results[0].counts.names
        assert result.images == 10
        for mode, matrices in result.counts.matrices.items():
            np.testing.assert_array_equal(matrices, results[0].counts.matrices[mode])
    one, *others = (
        sorted(p.relative_to(tmp_path / str(n)) for p in (tmp_path / str(n)).rglob("*.png")) for n in (1, 2, 3)
    )
    assert all(paths == one for paths in others)
    assert all((tmp_path / "3" / p).read_bytes() == (tmp_path / "1" / p).read_bytes() for p in one)


def test_batches_count_what_single_images_count(net, tiny, folder, tmp_path, monkeypatch):
    runtime.start("CPU", seed=0, graph=False)
    shapes, label_maps = [], evaluate.inference.label_maps

    def watched(passes, images, *, flip):
        shapes.append(images.shape)
        return label_maps(passes, images, flip=flip)

    monkeypatch.setattr(evaluate.inference, "label_maps", watched)
    record = str(folder / "cityscapes_val.mindrecord")

    def counted(batch_size: int, world=ALONE) -> evaluate.Counts:
        job = evaluate.Job("", {}, record, "CPU", False, False, None, batch_size)
        return evaluate.count(net, job, tmp_path, world)

    one, three = counted(1), counted(3)  # 4 images: the second batch is filled up
    assert shapes == 4 * [(1, 64, 128, 3)] + 2 * [(3, 64, 128, 3)], "one graph each"
    for counts, first in ((one, 1), (three, 3)):
        # What waited for the compilation has no time.
        assert np.isnan(counts.seconds).tolist() == [place < first for place in range(4)]
        assert np.isnan(counts.network_seconds).tolist() == [place < first for place in range(4)]
    np.testing.assert_array_equal(one.matrices["single"], three.matrices["single"])
    assert one.names == three.names
    assert one.matrices.keys() == {"single"}, "the mirror was not asked for"
    # More processes than images: some find nothing to do.
    parts = [counted(1, World(rank, 5)) for rank in range(5)]
    assert [len(part.names) for part in parts] == [1, 1, 1, 1, 0]
    for number, part in enumerate(parts):
        part.save(tmp_path / f"{number}.npz")
    merged = evaluate.Counts.merged([evaluate.Counts.load(tmp_path / f"{n}.npz") for n in range(5)])
    np.testing.assert_array_equal(merged.matrices["single"], one.matrices["single"])


def test_process_that_fails_fails_the_evaluation_and_keeps_the_earlier_results(score, tmp_path, capfd):
    with replacing_folder(tmp_path / "p") as earlier:
        (earlier / "old.png").touch()
    with pytest.raises(SystemExit, match="2"):
        score(tmp_path / "p", checkpoint=str(tmp_path / "none.ckpt"), processes=2)
    # Of the first rank all is shown, of another one the end of its log.
    assert "none.ckpt" in "".join(capfd.readouterr())
    assert [path.name for path in (tmp_path / "p").glob("*.png")] == ["old.png"]
    assert not list(tmp_path.glob(".partial*"))


@pytest.fixture
def mindir(net, tiny, folder, tmp_path):
    path = tmp_path / "m.mindir"
    proof = export.mindir(net, path, height=64, width=128, record=folder / "cityscapes_val.mindrecord")
    (tmp_path / "m.ckpt").write_bytes(b"weights")
    export.write_sidecar(path, source=tmp_path / "m.ckpt", architecture=tiny, height=64, width=128)
    return path, proof


def test_exported_file_gives_the_checkpoints_results(mindir, score, raw, tmp_path):
    path, proof = mindir
    assert json.loads(path.with_name("m.mindir.json").read_text())["format"] == 1
    assert proof.images == 3
    assert proof.difference <= 1e-4
    assert proof.agreement >= 0.9999
    expected = score(tmp_path / "evaluate")
    result = infer.infer(
        path,
        layout.frames(raw, "val"),
        device_target="CPU",
        flip=True,
        reference=tmp_path / "evaluate",
        predictions=tmp_path / "infer",
    )
    assert result.metrics["agreement"] >= 99.99
    assert result.metrics["mIOU"] == pytest.approx(expected.metrics()["mIOU"], abs=0.01)
    assert len(list((tmp_path / "infer").rglob("*.png"))) == 4


def test_image_of_another_size_is_refused_by_name(mindir, raw, tmp_path):
    path, _ = mindir
    other = write_scenes(tmp_path / "other", height=70, train=1, val=1)
    with pytest.raises(AdlError, match=r"elmstad_000000_000019_leftImg8bit\.png: is 70×140.*takes 64×128"):
        infer.infer(
            path, layout.frames(other, "val"), device_target="CPU", flip=False,
            reference=tmp_path, predictions=tmp_path / "infer",
        )  # fmt: skip
    assert not (tmp_path / "infer").exists()


@pytest.mark.parametrize(
    ("difference", "agreement", "kept"),
    [(1e-4, 0.9999, True), (1.01e-4, 1.0, False), (0.0, 0.99989, False)],
)
def test_file_that_differs_is_not_kept(net, folder, tmp_path, monkeypatch, capsys, difference, agreement, kept):
    proof = export.Proof(3, difference=difference, agreement=agreement)
    monkeypatch.setattr(export, "compare", lambda *_: proof)
    record, path = folder / "cityscapes_val.mindrecord", tmp_path / "m.mindir"
    if kept:
        assert export.mindir(net, path, height=64, width=128, record=record) == proof
    else:
        with pytest.raises(AdlError, match="No file was kept"):
            export.mindir(net, path, height=64, width=128, record=record)
    assert f"exporting to {path} and comparing 3 images with the checkpoint" in capsys.readouterr().out
    assert path.exists() == kept
    assert len(list(tmp_path.glob("*m.mindir*"))) == kept


def test_full_disk_in_export_is_one_message_and_no_file_is_kept(net, folder, tmp_path, capsys):
    path = tmp_path / "m.mindir"
    with largest_file(2000), pytest.raises(SystemExit, match="2"), reported():
        export.mindir(net, path, height=64, width=128, record=folder / "cityscapes_val.mindrecord")
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {path} cannot be written (File too large). Make room."
    assert not list(tmp_path.glob("*m.mindir*"))


def test_comparison_sees_a_difference(rng):
    images = [rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)]
    p = rng.random((1, 3, 4, 5)).astype(np.float32)
    q = p.copy()
    q[0, :, 0, 0] = q[0, ::-1, 0, 0]
    proof = export.compare(lambda b: Tensor(p), lambda b: Tensor(q), images)
    assert proof.difference == pytest.approx(np.abs(p - q).max())
    assert proof.agreement == pytest.approx((p.argmax(1) == q.argmax(1)).mean())


@pytest.mark.parametrize("what", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["file", "checkpoint", "both"])
def test_output_that_is_no_number_is_no_agreement(net, folder, tmp_path, monkeypatch, what, side):
    sound = np.full((1, 19, 64, 128), 1 / 19, np.float32)
    faulty = sound.copy()
    faulty[0, 3, 5, 7] = what

    def gives(wrong: bool):
        # The first image alone: those that follow must not make good for it.
        outputs = iter([Tensor(faulty if wrong else sound), Tensor(sound), Tensor(sound)])
        return lambda _: next(outputs)

    compare = export.compare
    file, reference = gives(side != "checkpoint"), gives(side != "file")
    monkeypatch.setattr(export, "compare", lambda _, __, images: compare(file, reference, images))
    monkeypatch.setattr(export, "exported", lambda path: None)
    monkeypatch.setattr(export.ms, "export", lambda *_, file_name, **__: Path(file_name).touch())
    with pytest.raises(AdlError, match="No file was kept"):
        export.mindir(net, tmp_path / "m.mindir", height=64, width=128, record=folder / "cityscapes_val.mindrecord")
    assert not list(tmp_path.glob("*m.mindir*"))


def test_one_image_alone_has_no_usual_time(mindir_sidecar, raw, tmp_path, monkeypatch):
    blank = np.zeros((1, 64, 128), np.uint8)
    monkeypatch.setattr(infer.inference, "exported", lambda path: None)
    monkeypatch.setattr(infer.inference, "label_maps", lambda *_, flip: {"single": blank})
    monkeypatch.setattr(infer, "_reference", lambda *_: blank[0])
    ticks, started = itertools.count(), []
    start = runtime.start
    monkeypatch.setattr(
        runtime, "start", lambda *device, **settings: (started.append(device), start(*device, **settings))
    )
    monkeypatch.setattr(infer.time, "perf_counter", lambda: next(ticks) ** 2 / 100)
    speeds = [
        infer.infer(
            mindir_sidecar, layout.frames(raw, "val")[:images], device_target="CPU", flip=False,
            reference=tmp_path, predictions=tmp_path / "infer",
        ).speed["ms_per_image"]
        for images in (1, 3)
    ]  # fmt: skip
    # The clock's squares from 2² on: the images took 5, 9 and 13 hundredths of a second, the first one not counted.
    assert speeds == [None, 110.0]
    assert started == [("CPU",), ("CPU",)]


@pytest.fixture
def mindir_sidecar(tmp_path):
    write_json(tmp_path / "m.mindir.json", {"input": {"height": 64, "width": 128}})
    return tmp_path / "m.mindir"


def test_damaged_mindir_is_named(tmp_path):
    (tmp_path / "m.mindir").write_bytes(b"x")
    from adl.inference import exported

    with pytest.raises(AdlError, match=r"m\.mindir"):
        exported(tmp_path / "m.mindir")
