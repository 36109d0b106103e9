"""The baselines on whole records: counts that no number of processes changes."""

from __future__ import annotations

import numpy as np
import pytest

from adl import workspace
from adl.dataset import records
from adl.evaluation import baselines
from adl.metrics.baselines import Baselines, Scores, Tally
from adl.metrics.confusion import Confusion, count_image
from tests.data import CITYSCAPES, write_frame, write_record, write_scenes

LONELY = "zwolf_000000_000019"
"""A val image of a size that no train image has."""


@pytest.fixture(scope="module")
def folder(once):
    """Records of drawn scenes: five images of two sizes to fit, four to score."""

    def make(folder):
        raw = write_scenes(folder / "raw", train=4, val=3)
        write_frame(raw, "train", "zwolf", LONELY, shape=(40, 80))
        write_frame(raw, "val", "zwolf", LONELY, shape=(48, 96))
        for split in ("train", "val"):
            write_record(raw, split, folder)

    return once("records-for-baselines", make)


@pytest.fixture(scope="module")
def expected(folder) -> dict[str, dict[str, np.ndarray]]:
    """Image → baseline → counts, one image after the other."""
    tally = Tally(19)
    for _, image, label in records.read(workspace.record("train", folder)):
        tally.add(image, label)
    fitted = Baselines(tally)
    return {
        name: {kind: count_image(CITYSCAPES, label, predicted) for kind, predicted in fitted.predict(image).items()}
        for name, image, label in records.read(workspace.record("val", folder))
    }


def score(folder, processes: int) -> Scores:
    train, val = (workspace.record(split, folder) for split in ("train", "val"))
    return baselines.score(train, val, CITYSCAPES, processes=processes)


def equal(scores: Scores, expected: dict[str, dict[str, np.ndarray]]) -> None:
    assert scores.names == sorted(expected)
    assert scores.counts.keys() == {"constant", "colour", "position"}
    for kind, matrices in scores.counts.items():
        assert matrices.dtype == np.uint32
        for name, matrix in zip(scores.names, matrices, strict=True):
            np.testing.assert_array_equal(matrix, expected[name].get(kind, np.zeros((19, 20))), f"{kind} {name}")


class InThisProcess:
    """In place of a pool of processes."""

    def __init__(self, *_) -> None:
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_counts_do_not_depend_on_how_the_images_are_shared_out(folder, expected, monkeypatch, processes):
    monkeypatch.setattr(baselines, "process_pool", InThisProcess)
    equal(score(folder, processes), expected)


def test_processes_count_what_one_after_the_other_counts(folder, expected):
    equal(score(folder, 2), expected)


def test_scores_of_some_images_are_read_from_a_file(folder, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(baselines, "process_pool", InThisProcess)
    score(folder, 1).save(tmp_path / "baselines.npz")
    scores = Scores.load(tmp_path / "baselines.npz")
    equal(scores, expected)
    chosen = scores.names[:2]
    for kind, miou in scores.mean_ious(CITYSCAPES, chosen).items():
        counts = sum(expected[name][kind].astype(np.int64) for name in chosen)
        assert miou == round(100 * Confusion(CITYSCAPES, counts).mean_iou(), 4)
    assert scores.mean_ious(CITYSCAPES, [LONELY]).keys() == {"constant", "colour"}, "no train image has its size"
    metrics = scores.metrics(CITYSCAPES)
    assert metrics["images"] == 4
    assert metrics["mIOU"]["colour"] == round(
        100 * Confusion(CITYSCAPES, scores.counts["colour"].sum(axis=0)).mean_iou(), 4
    )
    assert metrics["mIOU"].keys() == {"constant", "colour", "position"}


@pytest.mark.parametrize(("part", "told"), [(0, [(3, "fitting the baselines")]), (1, [])])
def test_only_the_first_process_tells_how_far_it_is(folder, monkeypatch, part, told):
    heard = []
    monkeypatch.setattr(baselines, "track", lambda rows, total, what: heard.append((total, what)) or rows)
    train = workspace.record("train", folder)
    baselines._tally(train, CITYSCAPES, 2, part)
    assert heard == told
