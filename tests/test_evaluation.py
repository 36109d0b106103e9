"""Evaluation, export and deployment of one tiny network, end to end on drawn scenes."""

from __future__ import annotations

import json

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from adl import baselines, cityscapes, deployment, evaluation, export, network, records
from adl.cityscapes import CATEGORIES, CLASS_NAMES, layout
from adl.errors import AdlError
from tests.data import write_record, write_scenes
from tests.test_scoring import official_scores

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("raw") / "raw", train=6, val=4)


@pytest.fixture(scope="module")
def folder(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    for split in ("train", "val"):
        write_record(raw, split, folder)
    return folder


@pytest.fixture
def net(tiny):
    ms.set_seed(3)
    return network.build(tiny)


def score(net, folder, predictions, **changes):
    settings = {"multiscale": False, "flip": True, "limit": None, "baselines": None} | changes
    return evaluation.evaluate(net, folder / "cityscapes_val.mindrecord", predictions=predictions, **settings)


def test_miou_equals_the_official_script_on_the_files_written(net, raw, folder, tmp_path, monkeypatch, capsys):
    result = score(net, folder, tmp_path / "predictions")
    frames = layout.frames(raw, "val")
    pairs = []
    for frame in frames:
        found = list((tmp_path / "predictions").rglob(f"{frame.name}*"))
        assert found == [tmp_path / "predictions" / frame.city / f"{frame.name}.png"], "one file an image"
        prediction = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED)
        assert prediction.ndim == 2
        assert set(np.unique(prediction)) <= {label.id for label in cityscapes.CLASSES}
        pairs.append((cv2.imread(str(frame.label), cv2.IMREAD_UNCHANGED), prediction))
    theirs = official_scores(pairs, tmp_path, monkeypatch)
    ours = result.confusions["flip"]
    for name, value in ours.class_iou().items():
        assert (
            np.isnan(theirs["classScores"][name]) if value is None else abs(value - theirs["classScores"][name]) < 1e-9
        )
    for name, value in ours.category_iou().items():
        assert abs(value - theirs["categoryScores"][name]) < 1e-9
    assert abs(ours.mean_iou() - theirs["averageScoreClasses"]) < 1e-9


def test_metrics_hold_what_was_promised(net, folder, tmp_path):
    train = baselines.Baselines(records.read(folder / "cityscapes_train.mindrecord"))
    result = score(net, folder, tmp_path / "p", limit=3, multiscale=True, baselines=train)
    metrics = result.metrics()
    assert metrics["images"] == 3
    assert metrics["mIOU"] == metrics["mIOU_multiscale_flip"]
    assert {"mIOU_single", "mIOU_flip", "mIOU_multiscale", "mIOU_category", "pixel_accuracy"} <= metrics.keys()
    assert metrics["class_IOU"].keys() == set(CLASS_NAMES)
    assert metrics["category_IOU"].keys() == set(CATEGORIES)
    assert metrics["classes_counted"] == sum(v is not None for v in metrics["class_IOU"].values())
    assert metrics["baseline"].keys() == {"constant", "colour", "position"}
    assert len(list((tmp_path / "p").rglob("*.png"))) == 3
    json.dumps(metrics, allow_nan=False)


def test_evaluating_twice_gives_equal_metrics_and_the_report_has_its_pictures(net, folder, tmp_path):
    first = score(net, folder, tmp_path / "p")
    assert score(net, folder, tmp_path / "p").metrics() == first.metrics()
    evaluation.write_report(first, folder / "cityscapes_val.mindrecord", tmp_path / "p", tmp_path / "report")
    pictures = {p.name for p in (tmp_path / "report").rglob("*.png")}
    assert {"classes.png", "confusion.png", "worst_1.png", "median_1.png", "best_1.png"} <= pictures
    assert all(cv2.imread(str(p)) is not None for p in (tmp_path / "report").rglob("*.png"))
    confusion = (tmp_path / "report/confusion.csv").read_text().splitlines()
    assert len(confusion) == 20


def test_baselines_predict_the_majority():
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = 250
    samples = [("a", image, np.array([[1, 1], [2, 255]], np.uint8)), ("b", image, np.array([[1, 3], [2, 2]], np.uint8))]
    fitted = baselines.Baselines(samples)
    predicted = fitted.predict(image)
    assert (predicted["constant"] == 1).all()
    np.testing.assert_array_equal(predicted["colour"], [[1, 1], [2, 2]])
    np.testing.assert_array_equal(predicted["position"], [[1, 1], [2, 2]])
    assert "position" not in fitted.predict(np.zeros((3, 3, 3), np.uint8))


@pytest.fixture
def mindir(net, tiny, folder, tmp_path):
    path = tmp_path / "m.mindir"
    proof = export.mindir(net, path, height=64, width=128, record=folder / "cityscapes_val.mindrecord")
    (tmp_path / "m.ckpt").write_bytes(b"weights")
    export.write_sidecar(path, source=tmp_path / "m.ckpt", architecture=tiny, height=64, width=128)
    return path, proof


def test_exported_file_gives_the_checkpoints_results(mindir, net, raw, folder, tmp_path):
    path, proof = mindir
    assert proof.images == 3
    assert proof.difference <= 1e-4
    assert proof.agreement >= 0.9999
    expected = score(net, folder, tmp_path / "evaluate")
    result = deployment.infer(
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
        deployment.infer(
            path, layout.frames(other, "val"), device_target="CPU", flip=False,
            reference=tmp_path, predictions=tmp_path / "infer",
        )  # fmt: skip
    assert not (tmp_path / "infer").exists()


def test_file_that_differs_is_not_kept(net, folder, tmp_path, monkeypatch):
    def differs(file, reference, images):
        return export.Proof(len(images), difference=2e-4, agreement=1.0)

    monkeypatch.setattr(export, "compare", differs)
    with pytest.raises(AdlError, match="No file was kept"):
        export.mindir(net, tmp_path / "m.mindir", height=64, width=128, record=folder / "cityscapes_val.mindrecord")
    assert not list(tmp_path.glob("*m.mindir*"))


def test_comparison_sees_a_difference(rng):
    images = [rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)]
    p = rng.random((1, 3, 4, 5)).astype(np.float32)
    q = p.copy()
    q[0, :, 0, 0] = q[0, ::-1, 0, 0]
    proof = export.compare(lambda b: Tensor(p), lambda b: Tensor(q), images)
    assert proof.difference == pytest.approx(np.abs(p - q).max())
    assert proof.agreement == pytest.approx((p.argmax(1) == q.argmax(1)).mean())


def test_damaged_mindir_is_named(tmp_path):
    (tmp_path / "m.mindir").write_bytes(b"x")
    from adl.inference import exported

    with pytest.raises(AdlError, match=r"m\.mindir"):
        exported(tmp_path / "m.mindir")
