"""Predictors without a network: majorities with known answers; counts that no number of processes changes."""

from __future__ import annotations

import numpy as np
import pytest

from adl.scoring.confusion import baselines
from adl.dataset.batches import records
from adl.scoring.baselines import Baselines, Scores, Tally
from adl.errors import AdlError
from adl.parallel.world import World
from adl.scoring.confusion import Confusion, count_image
from tests.data import write_frame, write_record, write_scenes

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
    tally = Tally()
    for _, image, label in records.read(records.record_path(folder, "train")):
        tally.add(image, label)
    fitted = Baselines(tally)
    return {
        name: {kind: count_image(label, predicted) for kind, predicted in fitted.predict(image).items()}
        for name, image, label in records.read(records.record_path(folder, "val"))
    }


def score(folder, processes: int) -> Scores:
    train, val = (records.record_path(folder, split) for split in ("train", "val"))
    return baselines.score(train, val, processes=processes)


def equal(scores: Scores, expected: dict[str, dict[str, np.ndarray]]) -> None:
    assert scores.names == sorted(expected)
    assert scores.matrices.keys() == {"constant", "colour", "position"}
    for kind, matrices in scores.matrices.items():
        assert matrices.dtype == np.uint32
        for name, matrix in zip(scores.names, matrices, strict=True):
            np.testing.assert_array_equal(matrix, expected[name].get(kind, np.zeros((34, 34))), f"{kind} {name}")


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
    monkeypatch.setattr(baselines.concurrent.futures, "ProcessPoolExecutor", InThisProcess)
    equal(score(folder, processes), expected)


def test_processes_count_what_one_after_the_other_counts(folder, expected):
    equal(score(folder, 2), expected)


def test_scores_of_some_images_are_read_from_a_file(folder, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(baselines.concurrent.futures, "ProcessPoolExecutor", InThisProcess)
    score(folder, 1).save(tmp_path / "baselines.npz")
    scores = Scores.load(tmp_path / "baselines.npz")
    equal(scores, expected)
    chosen = scores.names[:2]
    for kind, confusion in scores.of(chosen).items():
        np.testing.assert_array_equal(confusion.matrix, sum(expected[name][kind].astype(np.int64) for name in chosen))
    assert scores.of([LONELY]).keys() == {"constant", "colour"}, "no train image has its size"
    metrics = scores.metrics()
    assert metrics["images"] == 4
    assert metrics["mIOU"]["colour"] == round(100 * Confusion(scores.matrices["colour"].sum(axis=0)).mean_iou(), 4)
    assert metrics["mIOU"].keys() == {"constant", "colour", "position"}


def test_scores_of_other_data_and_damaged_ones_are_refused(tmp_path):
    with pytest.raises(AdlError, match=r"not scored on b: they are of other data\. `dvc repro baselines`"):
        Scores(["a"], {"constant": np.ones((1, 34, 34), np.uint32)}).of(["a", "b"])
    with pytest.raises(AdlError, match=r"none\.npz: cannot be read .*`dvc repro baselines` makes it"):
        Scores.load(tmp_path / "none.npz")
    for content in (b"", b"PK\x03\x04 no more than the beginning", b"text"):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(AdlError, match=r"damaged\.npz: cannot be read"):
            Scores.load(tmp_path / "damaged.npz")


def tally_of(*samples: tuple[np.ndarray, list[list[int]]]) -> Tally:
    tally = Tally()
    for image, label in samples:
        tally.add(image, np.array(label, np.uint8))
    return tally


def test_majority_is_predicted():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 250
    tally = tally_of((image, [[1, 1], [2, 255]]))
    tally.merge(tally_of((image, [[1, 3], [2, 2]]), (np.zeros((1, 1, 3), np.uint8), [[255]])))
    predicted = Baselines(tally).predict(image)
    assert (predicted["constant"] == 1).all()
    np.testing.assert_array_equal(predicted["colour"], [[1, 1], [2, 2]])
    np.testing.assert_array_equal(predicted["position"], [[1, 1], [2, 2]])
    assert Baselines(tally).predict(np.zeros((1, 1, 3), np.uint8))["position"] == 1, "nothing was counted there"
    assert "position" not in Baselines(tally).predict(np.zeros((3, 3, 3), np.uint8))


def test_colours_are_told_apart_by_the_first_five_bits_of_each_channel():
    colours = np.array([[[0, 0, 0], [8, 0, 0], [0, 8, 0], [0, 0, 8], [255, 255, 255]]], np.uint8)
    fitted = Baselines(tally_of((colours, [[0, 1, 2, 3, 4]])))
    np.testing.assert_array_equal(fitted.predict(colours)["colour"], [[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(fitted.predict(colours | 7)["colour"], [[0, 1, 2, 3, 4]])


def test_more_than_65535_images_are_counted():
    tally = tally_of((np.zeros((1, 2, 3), np.uint8), [[3, 255]]))
    tally.by_position[1, 2][3] = 65_535
    tally.add(np.zeros((1, 2, 3), np.uint8), np.array([[3, 3]], np.uint8))
    assert tally.by_position[1, 2][3].tolist() == [[65_536, 65_536]]
    assert not tally.by_position[1, 2][[0, 18]].any()


@pytest.mark.parametrize(("rank", "rows", "told"), [(0, 3, [(3, "fitting")]), (1, 2, [])])
def test_only_the_first_process_tells_how_far_it_is(folder, monkeypatch, rank, rows, told):
    heard = []
    monkeypatch.setattr(baselines, "track", lambda rows, total, what: heard.append((total, what)) or rows)
    assert len(list(baselines._rows(records.record_path(folder, "train"), World(rank, 2), "fitting"))) == rows
    assert heard == told
