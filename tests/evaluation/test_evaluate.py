"""Evaluation of one tiny network, end to end on drawn scenes."""

from __future__ import annotations

import itertools
import json
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from adl import device
from adl.dataset.label_maps import LabelMaps
from adl.evaluation import inference, tables, worker
from adl.evaluation.counts import EvaluationJob, ImageResult
from adl.evaluation.evaluate import Evaluation, evaluate
from adl.evaluation.inference import Mode
from adl.files import replacing_folder, write_png
from adl.metrics import Confusion
from adl.parallel.world import ALONE, World
from adl.report import figures
from tests.data import CITYSCAPES, frames_of, write_record, write_scenes
from tests.fixtures import evaluated
from tests.official import official_scores

pytestmark = pytest.mark.usefixtures("graph")


def test_miou_equals_the_official_script_on_the_files_written(score, tmp_path, monkeypatch, capsys):
    scenes = write_scenes(tmp_path / "raw", height=256, train=1, val=1)
    record = write_record(scenes, "val", tmp_path)
    result = score(tmp_path / "predictions", processes=0, record=record)
    frames = frames_of(scenes, "val")
    pairs = []
    for frame in frames:
        found = list((tmp_path / "predictions").rglob(f"{frame.name}*"))
        assert found == [tmp_path / "predictions" / frame.image.parent.name / f"{frame.name}.png"], "one file per image"
        prediction = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED)
        assert prediction.ndim == 2
        assert set(np.unique(prediction)) <= set(CITYSCAPES.label_ids[:19])
        pairs.append((cv2.imread(str(frame.label), cv2.IMREAD_UNCHANGED), prediction))
    maps = LabelMaps.of(tmp_path / "predictions", model=tmp_path / "net.ckpt", record=record, dataset=CITYSCAPES)
    assert maps.mode == "flip"
    np.testing.assert_array_equal(maps.read(frames[0].name), CITYSCAPES.train_ids[pairs[0][1]])
    theirs = official_scores(pairs, tmp_path, monkeypatch)
    ours = result.confusion("flip")
    for name, value in ours.class_iou().items():
        assert (
            np.isnan(theirs["classScores"][name]) if value is None else abs(value - theirs["classScores"][name]) < 1e-9
        )
    for name, value in ours.category_iou().items():
        assert abs(value - theirs["categoryScores"][name]) < 1e-9
    assert abs(ours.mean_iou() - theirs["averageScoreClasses"]) < 1e-9


def predictor(net, mode):
    """What a process of an evaluation predicts with, of a network that is built already."""
    passes = inference.passes(net, CITYSCAPES, mode)
    return lambda images: inference.label_maps(passes, images, mode)


def save(results, folder, rank=0):
    """Leave results as a process does."""
    (folder / f"rank_{rank}.pickle").write_bytes(pickle.dumps(results))


def in_this_process(net, job):
    """Launch by counting with this network."""

    def launch(command):
        scratch = Path(command[-1]).parent
        save(worker.count(predictor(net, job.mode), job, scratch), scratch)
        return 0

    return launch


@pytest.fixture
def score_here(net, evaluation_data):
    """Evaluate in this process, operation by operation: six scales would be six graphs to compile."""
    device.start("CPU", seed=0, graph=False)

    def run(predictions, **changes):
        settings = {"mode": Mode(mirror=True), "limit": None, "batch_size": 1}
        record = evaluation_data / "val.mindrecord"
        job = EvaluationJob(
            model=Path(os.devnull),
            architecture=None,
            dataset=CITYSCAPES,
            record=record,
            device_target="CPU",
            **(settings | changes),
        )
        return evaluate(job, predictions, launch=in_this_process(net, job))

    return run


def test_metrics_hold_what_was_promised(score_here, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "MULTISCALE", (0.5, 1.0))  # fewer shapes to get ready for
    result = score_here(tmp_path / "p", limit=2, mode=Mode(multiscale=True, mirror=True))
    metrics = result.metrics({"constant": 12.5, "colour": 25.0})
    assert metrics["images"] == 2
    assert metrics["mIOU"] == metrics["mIOU_multiscale_flip"]
    assert metrics["mIOU_low"] <= metrics["mIOU"] <= metrics["mIOU_high"]
    assert {
        "mIOU_single",
        "mIOU_flip",
        "mIOU_multiscale",
        "mIOU_category",
        "pixel_accuracy",
    } <= metrics.keys()
    assert {"mean_accuracy", "frequency_weighted_IOU"} <= metrics.keys()
    assert metrics["class_IOU"].keys() == set(CITYSCAPES.class_names)
    assert metrics["category_IOU"].keys() == set(CITYSCAPES.categories)
    assert metrics["classes_counted"] == sum(v is not None for v in metrics["class_IOU"].values())
    assert metrics["baseline"] == {"constant": 12.5, "colour": 25.0}
    assert len(list((tmp_path / "p").rglob("*.png"))) == 2
    json.dumps(metrics, allow_nan=False)
    own = result.confusion()
    for name, value in (
        ("mIOU", own.mean_iou()),
        ("mIOU_single", result.confusion("single").mean_iou()),
        *own.accuracies().items(),
    ):
        assert metrics[name] == round(100 * value, 4), name
    speed = result.speed()
    assert 0 < speed["network_ms_per_image"] < speed["ms_per_image"]


def test_speed_is_the_usual_image_without_those_that_waited_for_a_compilation():
    results = [
        ImageResult("a", {}),
        ImageResult("b", {}, 0.1, 0.02),
        ImageResult("c", {}, 0.5, 0.1),
        ImageResult("d", {}, 0.3, 0.04),
    ]
    speed = Evaluation(CITYSCAPES, "single", results, "CPU", processes=2).speed()
    assert (speed["ms_per_image"], speed["network_ms_per_image"], speed["processes"]) == (
        300.0,
        40.0,
        2,
    )
    alone = Evaluation(CITYSCAPES, "single", results[:1], "CPU")
    assert alone.speed()["ms_per_image"] is None


def test_time_of_a_batch_is_shared_among_its_images(evaluation_data, tmp_path, monkeypatch):
    """By a clock that only prediction and writing move: 6 seconds a batch, 1 second a label map."""
    clock = [0.0]

    def predict(images):
        clock[0] += 6
        return {"single": np.zeros(images.shape[:3], np.uint8)}

    def write(path, values):
        clock[0] += 1

    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(worker, "write_png", write)
    record = evaluation_data / "val.mindrecord"
    job = EvaluationJob(Path(), None, CITYSCAPES, record, "CPU", Mode(), limit=None, batch_size=2)
    results = worker.count(predict, job, tmp_path)
    speed = Evaluation(CITYSCAPES, "single", results, "CPU").speed()
    assert (speed["ms_per_image"], speed["network_ms_per_image"]) == (4000.0, 3000.0)


def test_images_that_are_shown_are_the_ten_worst_the_middle_and_the_best():
    counts = np.zeros((13, 19, 20), np.int64)
    counts[:, 0, 0] = [i * 7 % 13 for i in range(13)]
    counts[:, 0, 1] = 13
    names = [f"image {i:02d}" for i in range(13)]
    results = [ImageResult(name, {"single": counts[i]}) for i, name in enumerate(names)]
    ranked = sorted(names, key=lambda name: counts[names.index(name), 0, 0])
    evaluation = Evaluation(CITYSCAPES, "single", results, "CPU")
    assert evaluation.overlays() == {f"worst_{i + 1:02d}": ranked[i] for i in range(10)} | {
        "median": ranked[6],
        "best": ranked[12],
    }


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "b", "c", "c"], ["a", "b", "c", "d", "e"]])
def test_image_that_is_not_counted_exactly_once_stops_the_evaluation(evaluation_data, tmp_path, names):
    def launch(command):
        counts = {"single": np.ones((19, 20), np.int64)}
        save([ImageResult(name, counts) for name in names], Path(command[-1]).parent)
        return 0

    record = evaluation_data / "val.mindrecord"
    job = EvaluationJob(Path(os.devnull), None, CITYSCAPES, record, "CPU", Mode(mirror=True), limit=None, batch_size=1)
    with pytest.raises(RuntimeError, match="images were evaluated, 4 expected, each once"):
        evaluate(job, tmp_path / "p", launch=launch)
    assert not (tmp_path / "p").exists()


def test_report_has_its_pictures_and_tables(score_here, evaluation_data, tmp_path, monkeypatch):
    drawn, draw = [], figures.frequency_against_iou
    monkeypatch.setattr(figures, "frequency_against_iou", lambda *values: drawn.append(values) or draw(*values))
    first = score_here(tmp_path / "p", limit=2)
    pixels = dict.fromkeys(CITYSCAPES.class_names, 5)
    tables.write_report(
        first,
        first.metrics(),
        evaluation_data / "val.mindrecord",
        tmp_path / "report",
        trained_pixels=pixels,
    )
    assert drawn == [(pixels, first.metrics()["class_IOU"])]
    pictures = {p.name for p in (tmp_path / "report").rglob("*.png")}
    assert {
        "classes.png",
        "frequency.png",
        "confusion.png",
        "worst_01.png",
        "median.png",
        "best.png",
    } <= pictures
    assert all(cv2.imread(str(p)) is not None for p in (tmp_path / "report").rglob("*.png"))
    cells = pd.read_csv(tmp_path / "report/confusion.csv")
    assert len(cells) == 19 * 20
    assert cells["pixels"].sum() == first.confusion().counts.sum()
    ranked = pd.read_csv(tmp_path / "report/images.csv")
    assert ranked["mIOU"].is_monotonic_increasing
    assert len(ranked) == 2
    with np.load(tmp_path / "report/images.npz") as stored:
        assert stored["names"].tolist() == first.names
        np.testing.assert_array_equal(stored["counts"], first.counts("flip"))


@pytest.mark.parametrize(("multiscale", "flip"), [(True, True), (False, True)])
def test_overlays_show_the_map_that_their_score_is_of_and_the_image_in_its_own_colours(
    evaluation_data, evaluation_scenes, tmp_path, monkeypatch, multiscale, flip
):
    record = evaluation_data / "val.mindrecord"
    job = EvaluationJob(Path(os.devnull), None, CITYSCAPES, record, "CPU", Mode(multiscale, flip), None, 1)
    modes = {"flip": 0, "multiscale_flip": 1} if multiscale else {"flip": 0}

    def label_maps(passes, images, chosen):
        return {name: (images[..., 0] // 16 + shift) % 19 for name, shift in modes.items()}

    monkeypatch.setattr(inference, "passes", lambda *_: {})
    monkeypatch.setattr(inference, "label_maps", label_maps)
    result = evaluate(job, tmp_path / "p", launch=in_this_process(None, job))
    drawn = {}

    def overlay(image, *, truth, prediction, dataset, title):
        drawn[title.split(":")[0]] = (image, truth, prediction, title)
        return Figure(figsize=(1, 1))

    monkeypatch.setattr(figures, "overlay", overlay)
    monkeypatch.setattr(figures, "save", lambda figure, path: None)
    tables.write_report(
        result,
        result.metrics(),
        record,
        tmp_path / "report",
        trained_pixels=dict.fromkeys(CITYSCAPES.class_names, 5),
    )
    at_scale_1 = result.counts("flip")
    differ = 0
    for place, frame in enumerate(frames_of(evaluation_scenes, "val")):
        image, truth, shown, title = drawn[frame.name]
        np.testing.assert_array_equal(image, cv2.cvtColor(cv2.imread(str(frame.image)), cv2.COLOR_BGR2RGB))
        of_title, at_1 = Confusion(CITYSCAPES), Confusion(CITYSCAPES)
        of_title.add(truth, shown)
        np.testing.assert_array_equal(of_title.counts, result.counts()[place])
        assert f"{100 * of_title.mean_iou():.1f} % ({result.selected})" in title
        # What `infer` is compared with stays at scale 1.
        written = cv2.imread(str(CITYSCAPES.prediction_path(tmp_path / "p", frame.name)), cv2.IMREAD_UNCHANGED)
        at_1.add(truth, CITYSCAPES.train_ids[written])
        np.testing.assert_array_equal(at_1.counts, at_scale_1[place])
        differ += (shown != CITYSCAPES.train_ids[written]).any()
    assert bool(differ) == multiscale
    assert not list(tmp_path.glob(".partial*"))


@pytest.mark.slow
def test_three_processes_count_what_one_counts_each_image_once(score, tmp_path_factory, evaluation_data, tmp_path):
    ten = tmp_path_factory.mktemp("ten")
    record = write_record(write_scenes(ten / "raw", train=1, val=10), "val", ten)
    one, three = (score(tmp_path / str(n), processes=n, record=record) for n in (1, 3))
    assert three.metrics() == one.metrics()
    assert (one.speed()["processes"], three.speed()["processes"]) == (1, 3)
    assert three.names == one.names
    assert len(one.names) == 10
    for mode in ("single", "flip"):
        np.testing.assert_array_equal(three.counts(mode), one.counts(mode))
    of_one, of_three = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.png")} for n in ("1", "3")
    )
    assert len(of_one) == 10
    assert of_three == of_one


def test_batches_count_what_single_images_count(net, tiny, evaluation_data, tmp_path, monkeypatch):
    device.start("CPU", seed=0, graph=False)
    shapes, label_maps = [], inference.label_maps

    def watched(passes, images, chosen):
        shapes.append(images.shape)
        return label_maps(passes, images, chosen)

    monkeypatch.setattr(inference, "label_maps", watched)
    record = evaluation_data / "val.mindrecord"

    def counted(batch_size: int, world=ALONE) -> list[ImageResult]:
        job = EvaluationJob(Path(), None, CITYSCAPES, record, "CPU", Mode(), None, batch_size)
        return worker.count(predictor(net, job.mode), job, tmp_path, world)

    one, three = (counted(size) for size in (1, 3))  # 4 images: the second batch is filled up
    assert shapes == 4 * [(1, 64, 128, 3)] + 2 * [(3, 64, 128, 3)], "one graph each"
    for results, first in ((one, 1), (three, 3)):
        # What waited for the compilation has no time.
        expected = [place < first for place in range(4)]
        assert [result.seconds is None for result in results] == expected
        assert [result.network_seconds is None for result in results] == expected
    np.testing.assert_equal(counts_of(one), counts_of(three))
    assert one[0].counts.keys() == {"single"}, "the mirror was not asked for"
    # More processes than images: some find nothing to do.
    parts = [counted(1, World(rank, 5)) for rank in range(5)]
    assert [len(part) for part in parts] == [1, 1, 1, 1, 0]
    np.testing.assert_equal(counts_of(itertools.chain.from_iterable(parts)), counts_of(one))


def counts_of(results) -> dict[str, np.ndarray]:
    return {result.name: result.counts["single"] for result in results}


def test_counts_and_times_of_several_processes_stay_with_their_images(evaluation_data, tmp_path):
    def launch(command):
        folder = Path(command[-1]).parent
        for rank, names in enumerate(("da", "", "cb")):
            results = []
            for name in names:
                number = ord(name)
                counts = {"single": np.full((19, 20), number)}
                results.append(ImageResult(name, counts, number, number / 2))
                path = CITYSCAPES.prediction_path(folder / "single", name)
                write_png(path, np.zeros((8, 8), np.uint8))
            save(results, folder, rank)
        return 0

    record = evaluation_data / "val.mindrecord"
    job = EvaluationJob(Path(os.devnull), None, CITYSCAPES, record, "CPU", Mode(), limit=None, batch_size=1)
    evaluation = evaluate(job, tmp_path / "p", launch=launch)
    assert evaluation.processes == 3
    assert evaluation.names == ["a", "b", "c", "d"]
    assert [result.seconds for result in evaluation.results] == [97, 98, 99, 100]
    assert [result.network_seconds for result in evaluation.results] == [48.5, 49, 49.5, 50]
    assert evaluation.counts("single")[:, 0, 0].tolist() == [97, 98, 99, 100]


def test_process_that_fails_fails_the_evaluation_and_keeps_the_earlier_results(evaluation_data, tmp_path, capfd):
    with replacing_folder(tmp_path / "p") as earlier:
        (earlier / "old.png").touch()
    with pytest.raises(SystemExit, match="2"):
        evaluated(evaluation_data, tmp_path / "none.ckpt", tmp_path / "p")
    assert "none.ckpt" in "".join(capfd.readouterr())
    assert [path.name for path in (tmp_path / "p").glob("*.png")] == ["old.png"]
    assert not list(tmp_path.glob(".partial*"))
