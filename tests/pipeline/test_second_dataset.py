"""Every room is handed its data set: one with other classes, ids, files, sizes and statistics goes through them all.

The stages' own command lines, which name Cityscapes, are not run here.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import device, workspace
from adl.architecture import Architecture
from adl.config import params
from adl.dataset import records
from adl.dataset.descriptor import DatasetClass, DatasetDescriptor, Images, Labels, Normalisation
from adl.errors import AdlError
from adl.evaluation import baselines, tables, worker
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.evaluate import Evaluation, evaluate
from adl.evaluation.inference import Mode
from adl.export import infer
from adl.export.exported import Exported
from adl.export.writers import Exporter
from adl.network import checkpoint
from adl.parallel.world import ALONE
from adl.predict import overlays
from adl.predict.predictor import Predictor
from adl.prepare.check import check_dataset
from adl.report import page, report
from adl.report.results import Results
from adl.training import train
from adl.training.plan import Stop
from adl.training.state import State, TrainingJob
from tests.conftest import ROOT
from tests.data import CITYSCAPES, frames_of, write_record
from tests.fixtures import export_model

HEIGHT, WIDTH = 56, 72
NAMES = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "cyclist",
]
VILLAGE = DatasetDescriptor(
    name="village",
    title="the village",
    classes=tuple(
        # Train id n has the label id 20 + 3 n; pedestrians are children, too.
        DatasetClass(
            name=name,
            colour=(20 * n, 255 - 20 * n, 7 * n),
            category="nature" if name in ("sky", "tree") else "town",
            values=(20 + 3 * n, 200) if name == "pedestrian" else (20 + 3 * n,),
        )
        for n, name in enumerate(NAMES)
    ),
    ignored=(DatasetClass(name="void", values=(3,)),),
    source="village.tar",
    splits={"train": "train", "val": "val"},
    expect={"train": 5, "val": 3},
    images=Images(pattern="frames/{split}/{name}.png"),
    labels=Labels(pattern="masks/{split}/{name}_L.png", format="ids"),
    normalise=Normalisation(mean=(0.4, 0.41, 0.42), std=(0.2, 0.21, 0.22)),
)


def write_village(root: Path) -> Path:
    """Bands of all classes, in their colours; one pixel in each corner is void."""
    rng = np.random.default_rng(0)
    for split, images in VILLAGE.expect.items():
        for number in range(images):
            bands = np.sort(rng.integers(0, len(NAMES), HEIGHT))
            train_ids = np.repeat(bands[:, None], WIDTH, axis=1).astype(np.uint8)
            image = VILLAGE.palette[train_ids] + rng.integers(0, 9, (HEIGHT, WIDTH, 3)).astype(np.uint8)
            label = VILLAGE.label_ids[train_ids]
            label[label == VILLAGE.label_ids[NAMES.index("pedestrian")]] = 200
            label[0, 0] = 3
            for kind, picture in ((VILLAGE.images, image), (VILLAGE.labels, label)):
                path = kind.path(root, split, "", f"{split}{number:03d}")
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
    return root


@pytest.fixture(scope="module")
def village(once):
    """The raw files in `raw`, their records, and the file that describes them."""

    def make(folder: Path) -> None:
        raw = write_village(folder / "raw")
        for split in VILLAGE.expect:
            write_record(raw, split, folder, VILLAGE)
        (folder / "village.yaml").write_text(json.dumps(VILLAGE.to_json()))

    return once("village", make)


@pytest.fixture
def place(village, tiny, tmp_path, monkeypatch) -> Path:
    """A folder with the architecture's files, in which what is run works operation by operation."""
    start = device.start
    monkeypatch.setattr(device, "start", lambda *given, **named: start(*given, **named | {"graph": False}))
    np.save(tmp_path / "net.npy", np.array(tiny.net))
    np.save(tmp_path / "cell.npy", np.array(tiny.cell))
    return tmp_path


def test_second_data_set_goes_through_the_whole_pipeline(village, place, monkeypatch):
    record, val_record = (workspace.record(split, village) for split in ("train", "val"))
    p = params.load(
        ROOT / "params.yaml", net_arch=str(place / "net.npy"), cell_arch=str(place / "cell.npy"),
        filter_multiplier=2, initial_fm=4, head_channels=8, epochs=1, batch_size=5, crop_size=48,
        warmup_iters=0, eval_epochs=1, data_path=str(village / "raw"), dataset=str(village / "village.yaml"),
    )  # fmt: skip
    state = State(place / "state")
    job = TrainingJob(
        params=p, record=record, val_record=val_record, key={}, state=state.folder, pretrained=place,
        curves=place / "curves",
    )  # fmt: skip
    train.train(job, log_epochs=lambda rows: None, stop=Stop())
    history = json.loads((state.result / "history.json").read_text())
    assert json.loads((state.result / "metrics.json").read_text())["steps"] == 1
    model = state.result / "autodeeplab.ckpt"
    architecture = Architecture.from_sidecar(workspace.sidecar(model))
    assert architecture.num_classes == 11

    result = evaluated(model, architecture, val_record, place / "predictions")
    assert result.metrics()["mIOU_single"] == history[-1]["val_mIOU"]
    assert list(result.metrics()["class_IOU"]) == NAMES
    assert set(result.metrics()["category_IOU"]) == {"nature", "town"}
    maps = sorted((place / "predictions").glob("*.png"))
    assert [path.name for path in maps] == [f"val{number:03d}.png" for number in range(3)]
    written = {int(value) for path in maps for value in np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))}
    assert written <= {label.values[0] for label in VILLAGE.classes}
    pixels = records.read_manifest(record, VILLAGE)["pixels"]
    tables.write_report(result, result.metrics(), val_record, place / "reports/evaluate", trained_pixels=pixels)

    network = checkpoint.restore(model, architecture, device_target="CPU")
    source = shutil.copy(model, place / "m.ckpt")
    exporter = Exporter(network, VILLAGE, size=(HEIGHT, WIDTH), record=val_record, training_record=record)
    frames = frames_of(village / "raw", "val", VILLAGE)
    file = Exported.load(export_model(exporter, "onnx", source))
    inferred = infer.infer(
        file, frames, VILLAGE, Mode(mirror=True),
        reference=place / "predictions", predictions=place / "inferred",
    )  # fmt: skip
    metrics = inferred.metrics
    assert metrics["agreement"] >= 99.99
    assert metrics["mIOU"] == pytest.approx(result.metrics()["mIOU"], abs=0.01)

    monkeypatch.chdir(place)
    text = reported(result, model, val_record, p)
    assert f"**{result.metrics()['mIOU']:.2f}**" in text
    assert "11 classes" in text
    assert "pedestrian" in text
    assert "quoted)" not in text.split("## Training performance")[0], "nothing is published about it"


def evaluated(model: Path, architecture: Architecture, record: Path, predictions: Path) -> Evaluation:
    job = EvaluationJob(
        model=model, architecture=architecture, dataset=VILLAGE, record=record, device_target="CPU",
        mode=Mode(mirror=True), limit=None, batch_size=1,
    )  # fmt: skip

    def in_this_process(command):
        folder = Path(command[-1]).parent
        predict = worker.of_checkpoint(job, ALONE)
        results = worker.count(predict, job, folder)
        (folder / "rank_0.pickle").write_bytes(pickle.dumps(results))
        return 0

    return evaluate(job, predictions, launch=in_this_process)


def reported(result: Evaluation, model: Path, val_record: Path, p: params.Params) -> str:
    """The report, as Markdown, of what is put into the current folder."""
    folder_record = workspace.record("val")
    for source, target in (
        (model, workspace.CHECKPOINT),
        (workspace.sidecar(model), workspace.sidecar(workspace.CHECKPOINT)),
        (workspace.manifest(val_record), workspace.manifest(folder_record)),
        (model.parent / "metrics.json", workspace.METRICS / "train.json"),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    scored = result.metrics() | {"checkpoint_epoch": 1}
    (workspace.METRICS / "evaluate.json").write_text(json.dumps(scored))
    return page.markdown(report.blocks(Results.read(p.descriptor, p.model_dump())))


def test_record_says_of_which_data_set_it_is(village):
    record = workspace.record("train", village)
    manifest = records.read_manifest(record, VILLAGE)
    assert (manifest["dataset"], manifest["images"]) == ("village", 5)
    assert manifest["classes"] == NAMES
    assert manifest["sizes"] == [f"{WIDTH}x{HEIGHT}"]
    assert manifest["pixels_ignored"] == 5
    with pytest.raises(AdlError, match="its classes are not those of Cityscapes"):
        records.read_manifest(record, CITYSCAPES)
    pedestrian = NAMES.index("pedestrian")
    labels = np.stack([row.label for row in records.read(record)])
    assert manifest["pixels"]["pedestrian"] == (labels == pedestrian).sum() > 0


def test_faults_of_its_files_are_named_in_its_words(village, tmp_path):
    raw = write_village(tmp_path / "raw")
    found = check_dataset(raw, VILLAGE).passed()
    assert {name: len(split.images) for name, split in found.splits.items()} == VILLAGE.expect
    label = VILLAGE.labels.path(raw, "train", "", "train001")
    cv2.imwrite(str(label), np.full((HEIGHT, WIDTH), 21, np.uint8))
    VILLAGE.images.path(raw, "val", "", "val002").unlink()
    faults = [str(fault) for fault in check_dataset(raw, VILLAGE).problems]
    assert any("train001_L.png: label ids [21] do not exist; *_L.png holds 3, 20, 23" in fault for fault in faults)
    assert any("val002_L.png: this label has no image" in fault and "village.tar" in fault for fault in faults)
    (raw / "frames").rename(raw / "frame")
    [fault] = check_dataset(raw, VILLAGE).problems
    assert fault.remedy == f"Rename {raw / 'frame'} to {raw / 'frames'}."


def test_baselines_are_those_of_its_classes(village, monkeypatch):
    monkeypatch.setattr(baselines, "process_pool", ThreadPoolExecutor)
    train_record, val_record = (workspace.record(split, village) for split in ("train", "val"))
    metrics = baselines.score(train_record, val_record, VILLAGE, processes=1).metrics(VILLAGE)
    assert metrics["images"] == 3
    assert metrics["mIOU"]["colour"] > metrics["mIOU"]["constant"], "its colours tell the classes"


@pytest.mark.usefixtures("pynative")
def test_photographs_get_its_colours(tiny, tmp_path, rng):
    from adl import network

    net = network.build(dataclasses.replace(tiny, num_classes=11))
    checkpoint.save(checkpoint.native(net), tmp_path / "m.ckpt")
    about = {"architecture": dataclasses.replace(tiny, num_classes=11).to_json(), "dataset": VILLAGE.to_json()}
    workspace.sidecar(tmp_path / "m.ckpt").write_text(json.dumps(about))
    predictor = Predictor.load(tmp_path / "m.ckpt", device_target="CPU", flip=False)
    assert predictor.dataset == VILLAGE
    labels = predictor(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    assert labels.shape == (40, 50)
    assert labels.max() < 11
    assert set(overlays.shares(labels, VILLAGE)) <= set(NAMES)
