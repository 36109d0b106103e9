"""Each stage as its command, in this process, operation by operation: what it leaves where, with known answers."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from adl import device, synthetic
from adl.dataset import records
from adl.dataset.descriptor import SplitFiles
from adl.evaluation import baselines
from adl.files import digest, remove, write_json, write_text
from adl.launch import foreground, launcher
from adl.launch.launcher import Launcher
from adl.metrics import Confusion
from adl.report import figures
from adl.training import runs
from adl.training.state import State
from adl.workspace import sidecar
from tests.conftest import ROOT
from tests.data import CITYSCAPES, write_dataset, write_scenes
from tests.workspace import TINY, files, set_params

pytestmark = pytest.mark.filterwarnings("ignore:.* found in sys.modules:RuntimeWarning")

LABELS = "data/synthetic/gtFine/{}/**/*_labelIds.png"


@pytest.fixture
def place(tmp_path, evaluation_data) -> Path:
    """The present folder as a workspace: drawn scenes, their records and parameters for a tiny run."""
    for name in ("adl", "pipeline", "dvc.yaml"):
        Path(name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "params.yaml", ".")
    values = {"net_arch": "net.npy", "cell_arch": "cell.npy", "export_formats": ["onnx"]}
    set_params(tmp_path, **TINY | values | {"synthetic_train_images": 6, "synthetic_val_images": 4})
    np.save("net.npy", np.array([0, 1, 1]))
    np.save("cell.npy", np.array([[0, 6], [1, 4]]))
    for name in ("data", "models/exported", "pretrained"):
        Path(name).mkdir(parents=True)
    Path("data/synthetic").symlink_to(evaluation_data / "raw")
    Path("data/mindrecord").symlink_to(evaluation_data)
    return tmp_path


@pytest.fixture
def stage(place, monkeypatch):
    """stage("evaluate", "--split", "val"): run it in that place, without processes of its own."""
    start = device.start
    monkeypatch.setattr(device, "start", lambda *given, **named: start(*given, **named | {"graph": False}))

    def as_rank_0(self: Launcher, command: list[str], nodes: object) -> int:
        execute(*command[2:])
        return 0

    monkeypatch.setattr(Launcher, "run", as_rank_0)
    for module in (synthetic, baselines):
        monkeypatch.setattr(module, "process_pool", ThreadPoolExecutor)

    # Drawing takes a second a picture; tests/evaluation looks at them.
    monkeypatch.setattr(figures, "save", lambda figure, path: write_text(path, "a picture"))

    def execute(module: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    def run(name: str, *arguments: str) -> None:
        execute(f"pipeline.{name}", *arguments)

    before = {number: signal.getsignal(number) for number in (launcher.STOP, signal.SIGTERM)}
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def declared(stage: str, *kinds: str) -> list[str]:
    """The data that dvc.yaml names under these of a stage's keys: deps, outs, metrics."""
    name, _, item = stage.partition("@")
    yaml = YAML(typ="safe")
    values = yaml.load(Path("params.yaml")) | {"item": item}
    folder = ROOT / ("pipeline/synthetic" if name == "synthesize" else ".")
    found = yaml.load(folder / "dvc.yaml")["stages"][name]
    entries = [entry for kind in kinds for entry in found.get("do", found).get(kind, [])]
    paths = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    paths = [re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], path) for path in paths]
    return [path for path in paths if not path.startswith(("adl/", "pipeline/"))]


@pytest.fixture
def repro(place, stage, monkeypatch):
    """repro("mindrecord@val"): run a stage where it finds the data that dvc.yaml declares and nothing else.

    What it leaves must be declared, and what is declared must be there: that alone is kept.
    """
    monkeypatch.setenv("ADL_STATE_DIR", str(place / ".adl/state"))

    def run(name: str) -> None:
        alone = place / "alone"
        inputs, outputs = declared(name, "deps"), declared(name, "outs", "metrics")
        # A list stands for the files that it lists, and every stage knows its data set.
        raw = ["data/synthetic"] if any(path.startswith("data/files/") for path in inputs) else []
        of_all = {"adl", "datasets", "pipeline", "dvc.yaml", "params.yaml"}
        for path in {*of_all, *raw, *inputs} - {"datasets/synthetic.yaml"}:
            (alone / path).parent.mkdir(parents=True, exist_ok=True)
            (alone / path).symlink_to(place / path)
        monkeypatch.chdir(alone)
        module, _, split = name.partition("@")
        stage(module, *(("--split", split) if split else ()))
        monkeypatch.chdir(place)
        for path in outputs:
            remove(place / path)
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (alone / path).rename(place / path)
        Path("reports/speed").mkdir(parents=True, exist_ok=True)
        for path in (alone / "reports/speed").glob("*.json"):  # times: no output of DVC's
            if not path.is_symlink():
                path.rename(place / "reports/speed" / path.name)
        left = [path for folder in ("data", "models", "metrics") for path in (alone / folder).rglob("[!.]*")]
        assert [path for path in left if path.is_file() and not path.is_symlink()] == []
        shutil.rmtree(alone)

    return run


@pytest.fixture
def refusal(stage, capsys):
    """refusal("evaluate", "--split", "val"): the one message with which a stage ends, before it wrote anything."""

    def told(name: str, *arguments: str) -> str:
        before = files(Path())
        with pytest.raises(SystemExit) as ended:
            stage(name, *arguments)
        assert ended.value.code == 2
        assert files(Path()) == before
        return capsys.readouterr().err

    return told


def read(name: str | Path) -> dict:
    return json.loads(Path(name).read_text())


def truths(split: str) -> dict[str, np.ndarray]:
    """Frame → train ids, as the raw files have them."""
    return {
        path.name.removesuffix("_gtFine_labelIds.png"): CITYSCAPES.train_ids[
            cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        ]
        for path in sorted(Path().glob(LABELS.format(split)))
    }


def miou(predictions: str | Path) -> float:
    """Of a folder of label maps, against the raw labels of val."""
    confusion = Confusion(CITYSCAPES)
    for name, truth in truths("val").items():
        written = cv2.imread(str(CITYSCAPES.prediction_path(Path(predictions), name)), cv2.IMREAD_UNCHANGED)
        confusion.add(truth, CITYSCAPES.train_ids[written])
    return round(100 * confusion.mean_iou(), 4)


@pytest.fixture
def described(place, models):
    """A model of seven epochs with its files, and in pretrained/ another of four."""
    for name, epoch in {"models/autodeeplab.ckpt": 7, "pretrained/other.ckpt": 4}.items():
        path = Path(shutil.copy(models / "m.ckpt", name))
        about = {"data": {"digest": "d"}, "digest": digest(path), "epoch": epoch}
        write_json(sidecar(path), read(models / "m.ckpt.json") | about)
    for kind, folder in {".mindir": "models", ".onnx": "models/exported"}.items():
        for end in (kind, f"{kind}.json"):
            shutil.copy(models / f"m{end}", Path(folder) / f"autodeeplab{end}")


def test_conversion_counts_what_the_raw_labels_hold(place, repro, refusal):
    Path("data/mindrecord").unlink()
    expecting = write_dataset(place / "own.yaml", expect={"train": 6, "val": 5})
    repro("files")
    repro("mindrecord@train")
    set_params(place, dataset=expecting)
    assert "the val split has 4 images, that of Cityscapes has 5" in refusal("mindrecord", "--split", "val")
    assert "--split" in refusal("mindrecord")
    labels = np.stack(list(truths("train").values()))
    assert labels.shape == (6, 64, 128)
    assert read("metrics/mindrecord_train.json") == {
        "images": 6,
        "classes": 19,
        "pixels_ignored": (labels == 255).sum(),
        "pixels": {name: (labels == train_id).sum() for train_id, name in enumerate(CITYSCAPES.class_names)},
    }
    assert records.read_manifest(Path("data/mindrecord/train.mindrecord"), CITYSCAPES)
    assert not list(Path("data/mindrecord").glob("*val*"))


def test_conversion_into_a_folder_has_the_names_that_were_asked_for(place, stage):
    before = read("data/mindrecord/val.json")
    stage("mindrecord", "--split", "val", "--output", "o", "--name", "cityscapes_val")
    ends = ("mindrecord", "mindrecord.db", "json")
    assert {path.name for path in Path("o").iterdir()} == {
        *(f"cityscapes_val.{end}" for end in ends),
    }
    assert read("o/cityscapes_val.json")["digest"] == before["digest"]
    assert not Path("metrics").exists()


def test_any_labelled_split_is_converted_and_scored_with_its_results(described, place, stage, monkeypatch):
    """Two of the val images stand for a third split, of which no stage knows."""
    shutil.copytree("data/synthetic", "raw")
    for kind in ("leftImg8bit", "gtFine"):
        shutil.copytree(f"raw/{kind}/val", f"raw/{kind}/night")
    splits = {name: SplitFiles(folder=name) for name in ("train", "val", "night")}
    own = write_dataset(place / "own.yaml", splits=splits)
    set_params(place, dataset=own, data_path="raw", eval_images=1, eval_flip=False)

    def convert(command, environment):
        stage(command[2].removeprefix("pipeline."), *command[3:])
        monkeypatch.setattr(sys, "argv", ["evaluate"])
        return 0

    monkeypatch.setattr(foreground, "run", convert)
    stage("evaluate", "--split", "night", "--output", "o", "--checkpoint", "pretrained/other.ckpt")
    assert read("o/night.json")["images"] == 4
    scored = read("o/evaluate.json")
    assert scored["images"] == 1
    assert not scored.get("baseline")
    assert not Path("metrics").exists()


def test_scenes_are_drawn_as_the_parameters_say(place, stage, repro):
    Path("data/synthetic").unlink()
    few = {"synthetic_train_images": 2, "synthetic_val_images": 1, "synthetic_height": 64}
    stage("check")
    drawn = []
    for seed in (0, 1):
        set_params(place, **few, synthetic_seed=seed)
        repro("synthesize")
        drawn.append(truths("train"))
        assert len(truths("val")) == 1
    for of_seed in drawn:
        assert [label.shape for label in of_seed.values()] == 2 * [(64, 128)]
    assert any((a != b).any() for a, b in zip(*(one.values() for one in drawn), strict=True))


def test_training_puts_its_result_in_place_again_and_drops_that_of_another_run(place, stage, repro, capsys):
    set_params(place, batch_size=6, warmup_iters=0)
    stage("check")
    repro("train")
    for name in declared("check", "outs"):
        assert Path(name).read_text().strip(), name
    assert "parallel: no effect on one device" in capsys.readouterr().out
    (own,) = Path(".adl/state").iterdir()
    content = State(own).about["key"]
    others = {}
    for seed in (5, 6):
        content["params"]["seed"] = seed
        others[seed] = runs.state_of(own.parent, content)
        write_json(others[seed].folder / "about.json", {"key": content, "code": "c"})
    others[5].result.mkdir()
    for name in ("models", "metrics", "reports"):
        shutil.rmtree(name)
    repro("train")
    for name in ("autodeeplab.ckpt", "autodeeplab.ckpt.json"):
        assert (Path("models") / name).read_bytes() == (own / "result" / name).read_bytes()
    assert read("metrics/train.json") == read(own / "result/metrics.json")
    curve = pd.read_csv("reports/train/plots/metrics/loss.tsv", sep="\t")
    about = read("models/autodeeplab.ckpt.json")
    assert read("reports/speed/train.json")["checkpoint_digest"] == about["digest"]
    assert about["params"].keys() == set(declared("train", "params"))
    losses = [row["loss"] for row in read(own / "result/history.json")]
    assert curve["loss"].tolist() == pytest.approx(losses)
    assert read("metrics/train.json")["loss"] == round(losses[-1], 6)
    assert Path("reports/train/curves.png").exists()
    assert not others[5].folder.exists(), "finished"
    assert others[6].folder.exists(), "it may go on"
    assert State(own).finished


def test_dry_run_names_the_folder_of_the_run_or_a_stand_in_while_there_is_no_data(stage, capsys):
    told = []
    for _ in range(2):
        stage("train", "--dry-run")
        told.append(capsys.readouterr().out.strip())
        stage("check")
        capsys.readouterr()
    assert told[0].startswith("rank 0: ")
    assert told[0].endswith("-m adl.training.run.worker .adl/state/KEY/job.json")
    assert re.search(r"-m adl\.training\.run\.worker \.adl/state/[0-9a-f]{16}/job\.json$", told[1])
    assert not Path(".adl").exists()


def test_constant_baseline_is_the_most_frequent_class_of_train(repro):
    repro("baselines")
    train, val = (np.stack(list(truths(split).values())) for split in ("train", "val"))
    most = np.bincount(train[train < 255]).argmax()
    occurring = np.bincount(val[val < 255], minlength=19)
    expected = 100 * occurring[most] / occurring.sum() / (occurring > 0).sum()
    scores = read("metrics/baselines.json")
    assert scores["images"] == 4
    assert scores["mIOU"]["constant"] == round(expected, 4)
    assert scores["mIOU"].keys() == {"constant", "colour", "position"}


def test_evaluation_scores_the_maps_that_it_leaves_and_inference_gives_them_too(described, place, stage, repro, capsys):
    repro("baselines")
    repro("evaluate")
    found = read("metrics/evaluate.json")
    assert found["mIOU"] == found["mIOU_flip"] == miou("data/predictions/evaluate") > 0
    assert (found["images"], found["checkpoint_epoch"]) == (4, 7)
    assert found["baseline"] == read("metrics/baselines.json")["mIOU"]
    assert f"mIOU {found['mIOU']:.2f} (flip, 4 images)" in capsys.readouterr().out
    assert Path("reports/evaluate/classes.png").exists()

    repro("infer")
    inferred = read("metrics/infer.json")
    assert inferred["mIOU"] == miou("data/predictions/infer")
    for one in (inferred, inferred["openvino"]["onnx"]):
        assert one["images"] == 4
        assert one["agreement"] > 99.9
        assert one["mIOU"] == pytest.approx(found["mIOU"], abs=0.05)

    for speed in (read("reports/speed/evaluate.json"), times := read("reports/speed/infer.json")):
        assert speed["checkpoint_digest"] == digest(Path("models/autodeeplab.ckpt"))
        assert speed["ms_per_image"] > 0
    assert times["openvino"]["onnx"] > 0

    set_params(place, eval_images=2)
    file = ("--model", "models/exported/autodeeplab.onnx")
    stage("infer", *file, "--output", "o", "--data-path", "data/synthetic")
    assert len(list(Path("o/predictions").rglob("*.png"))) == 2
    assert read("o/infer.json")["images"] == 2
    assert read("metrics/infer.json") == inferred


def test_other_checkpoints_splits_and_files_are_scored_beside_the_pipelines_results(described, place, stage):
    set_params(place, eval_flip=False, eval_images=3)
    stage("evaluate", "--checkpoint", "pretrained/other.ckpt", "--output", "o", "--split", "train")
    found = read("o/evaluate.json")
    assert (found["checkpoint_epoch"], found["images"], found["baseline"]) == (4, 3, {})
    assert len(list(Path("o/predictions").rglob("*.png"))) == 3
    assert Path("o/report/classes.png").exists()
    assert not Path("metrics/evaluate.json").exists()
    assert not Path("data/predictions").exists()


def test_report_is_made_of_what_dvc_knows_as_its_inputs(described, stage, repro):
    shutil.copytree(ROOT / "metrics", "metrics")
    formats = read("metrics/export.json").items()
    exported = {kind: proof for kind, proof in formats if "int8" not in kind}
    write_json(Path("metrics/export.json"), exported)
    write_json(Path("metrics/mindrecord_val.json"), read("metrics/mindrecord_val.json") | {"images": 70})
    for name in (
        "train/curves",
        "evaluate/classes",
        "evaluate/overlays/worst_01",
        "evaluate/overlays/median",
    ):
        write_text(Path(f"reports/{name}.png"), name)
    stage("report")
    outputs = [Path(path) for path in declared("report", "outs")]
    of_all = [path.read_bytes() for path in outputs]
    repro("report")
    assert [path.read_bytes() for path in outputs] == of_all
    assert f"{read('metrics/evaluate.json')['mIOU']:.2f}" in Path("reports/miou.md").read_text()
    # No output: its times are of this machine.
    assert Path("reports/performance.html").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bn_momentum": 2}, "bn_momentum: 2 is not accepted"),
        ({"net_arch": "architectures/none.npy"}, "architectures/none.npy: no such file"),
        ({"warmup_iters": 100}, "warmup_iters is 100, but the whole run has 3 steps"),
        (
            {"export_width": 64},
            "export_width × export_height is 64×64 pixels, but the val images in data/synthetic are 128×64",
        ),
        ({"data_path": "nowhere"}, "nowhere: does not exist"),
        (
            {"dataset": "datasets/cityscapes.yaml"},
            "data/synthetic has 6 train images (not 2975) and 4 val images (not 500). Set data_path to",
        ),
        ({"modelArts": True}, "modelArts: true. DVC copies nothing from object storage"),
        (
            {"ckpt_name": "lost.ckpt"},
            "lost.ckpt: unknown checkpoint in pretrained/ (ckpt_name); available: none",
        ),
    ],
)
def test_check_refuses_what_cannot_work(place, refusal, values, message):
    set_params(place, **values)
    assert message in refusal("check")


def test_conversion_refuses_a_damaged_file_by_name(place, refusal):
    for name in ("synthetic", "mindrecord"):
        Path("data", name).unlink()
    write_scenes(place / "data/synthetic", val=1)
    image = next(Path("data/synthetic/leftImg8bit/val").rglob("*.png"))
    image.write_bytes(image.read_bytes()[:1000])
    assert f"{image}: the file is truncated" in refusal("mindrecord", "--split", "val")


@pytest.mark.parametrize(("name", "arguments"), [("mindrecord", ()), ("evaluate", ("--output", "o"))])
def test_asking_for_the_test_split_explains_that_its_labels_are_withheld(place, refusal, name, arguments):
    set_params(place, dataset="datasets/cityscapes.yaml")
    message = refusal(name, "--split", "test", *arguments)
    assert "the labels of the test split are withheld by Cityscapes" in message
    assert "adl submission" in message


MODEL, OUTPUT = ("--model", "m.onnx"), ("--output", "o")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ("--device-id", "1"), "--device-id needs device_target Ascend"),
        ("train", ("--nodes", "2"), "device_num: 1 devices cannot be divided"),
        ("train", ("--node-rank", "1"), "--node-rank: 1 is not one of the nodes 0 to 0"),
        ("train", ("--master", "here"), "--master: device_num is 1"),
        ("train", ("--rank-table-file", "t.json"), "--rank-table-file needs device_target Ascend"),
        ("evaluate", MODEL, "--model needs --output"),
        ("evaluate", ("--checkpoint", "x.ckpt"), "--checkpoint needs --output"),
        ("evaluate", (*MODEL, *OUTPUT, "--checkpoint", "x.ckpt"), "instead of --checkpoint"),
        ("evaluate", (*MODEL, *OUTPUT, "--eval-batch-size", "2"), "takes one image at a time"),
        ("evaluate", ("--eval-batch-size", "0"), "--eval-batch-size: at least 1"),
        ("evaluate", ("--split", "train"), "--split needs --output"),
        ("evaluate", ("--split", "validation", *OUTPUT), "validation: unknown split of Drawn street scenes"),
        ("infer", MODEL, "--model needs --output"),
        ("infer", ("--data-path", "d", *OUTPUT), "--data-path, --output needs --model"),
        ("infer", ("--device-id", "1"), "--device-id needs --model"),
        ("infer", ("--backend", "openvino"), "--backend needs --model"),
        ("mindrecord", ("--split", "validation"), "validation: unknown split of Drawn street scenes"),
        ("mindrecord", ("--split", "val", "--name", "x"), "--name needs --output"),
        ("check", ("--fast",), "unrecognized arguments: --fast"),
        ("baselines", ("--split", "val"), "unrecognized arguments: --split"),
        ("synthesize", ("--seed", "1"), "unrecognized arguments: --seed"),
        ("export", ("--checkpoint", "x.ckpt"), "--checkpoint needs --output"),
    ],
)
def test_options_that_do_not_go_together_are_refused(refusal, name, arguments, message):
    told = refusal(name, *arguments)
    assert message in told
    if told.startswith("usage:"):
        assert told.startswith(f"usage: python -m pipeline.{name} ")


@pytest.mark.parametrize("name", ["evaluate", "export", "infer"])
def test_results_are_written_into_no_file(refusal, name):
    Path("o").touch()
    more = {"infer": MODEL}.get(name, ())
    assert re.search(r"\bo\b.*folder", refusal(name, *more, *OUTPUT))
