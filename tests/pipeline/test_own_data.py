"""A data set of one's own, from its file alone: the real `dvc repro`, and every command on what it made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from adl import commands
from adl.dataset import descriptor, records
from adl.workspace import record
from tests import own_data
from tests.own_data import COLOURS, SPLITS, VALUES, VOID
from tests.serving import served
from tests.workspace import adl, git, make_workspace, ran, run, set_params, succeeds

pytestmark = pytest.mark.slow
CLASSES = [*own_data.CLASSES]


@pytest.fixture
def garden(once, tmp_path) -> Path:
    """A workspace in which `dvc repro` ran on the data set, committed; what it printed is in repro.log."""

    def make(folder: Path) -> None:
        make_workspace(folder)
        own_data.write(folder)
        set_params(
            folder, dataset="garden.yaml", data_path="garden", num_classes=None, block_multiplier=None,
            eval_window=[64, 96], export_height=64, export_width=96, infer_backends=["openvino"],
        )  # fmt: skip
        (folder / ".gitignore").write_text((folder / ".gitignore").read_text() + "/garden\n/repro.log\n")
        (folder / "repro.log").write_text(succeeds(folder, "dvc", "repro"))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "garden")

    return shutil.copytree(once("garden", make), tmp_path / "garden-workspace", symlinks=True)


def changed(folder: Path) -> set[str]:
    """The stages that would run anew, but for `check`, which always does."""
    found = json.loads(run(folder, "dvc", "status", "--json").stdout)
    return {name for name in found if ":" not in name} - {"check"}


def values_in(folder: Path) -> set[int]:
    maps = [path for path in folder.rglob("*.png") if "_" not in path.name or path.stem.endswith("_labelIds")]
    assert maps
    return {int(value) for path in maps for value in np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))}


def metrics(folder: Path, name: str) -> dict:
    return json.loads((folder / f"metrics/{name}.json").read_text())


def test_every_stage_runs_and_knows_the_classes(garden, tmp_path):
    every_stage = {
        "check", "files", "mindrecord@train", "mindrecord@val", "baselines", "train", "evaluate", "export", "infer",
        "report",
    }  # fmt: skip
    assert ran((garden / "repro.log").read_text()) == every_stage
    drawn = own_data.write(tmp_path / "again")
    for split in ("train", "val"):
        rows = list(records.read(record(split, garden / "data/mindrecord")))
        assert [row.name for row in rows] == list(drawn[split])
        for row in rows:
            np.testing.assert_array_equal(row.label, drawn[split][row.name])
            assert row.image.shape[:2] == row.label.shape

    score = metrics(garden, "evaluate")
    assert list(score["class_IOU"]) == CLASSES
    assert not {"mIOU_category", "category_IOU"} & score.keys()
    for page in ("miou.md", "index.html"):
        text = (garden / "reports" / page).read_text()
        assert all(name in text for name in CLASSES)
        assert "categor" not in text
        assert "quoted)" not in text, "nothing is published about it"
    for stage in ("evaluate", "infer"):
        assert values_in(garden / "data/predictions" / stage) <= {*VALUES.tolist(), VOID}
    inferred = metrics(garden, "infer")
    assert inferred["mIOU"] == pytest.approx(score["mIOU"], abs=0.01)
    assert inferred["agreement"] > 99.9
    assert metrics(garden, "export").keys() == {"mindir", "onnx", "onnx-int8"}

    dataset = descriptor.load(garden / "garden.yaml")
    for model in ("autodeeplab.ckpt", "autodeeplab.mindir", "exported/autodeeplab.onnx"):
        sidecar = garden / f"models/{model}.json"
        assert descriptor.of_sidecar(json.loads(sidecar.read_text()), sidecar) == dataset


def test_only_what_changes_the_data_converts_and_trains_anew(garden):
    assert changed(garden) == set()
    file = garden / "garden.yaml"
    text = file.read_text()
    before = (garden / "metrics/evaluate.json").read_bytes()

    file.write_text(text.replace("title: Garden", "title: The garden").replace(str([*COLOURS[0]]), "[1, 2, 3]"))
    assert ran(succeeds(garden, "dvc", "repro")) == {"check", "files"}
    assert (garden / "metrics/evaluate.json").read_bytes() == before
    adl(garden, "predict", "garden/images/test0.jpg", "--output", "predicted")
    coloured = cv2.imread(str(garden / "predicted/test0_color.png"))[..., ::-1]
    assert set(map(tuple, coloured.reshape(-1, 3))) <= set(map(tuple, COLOURS)), "as when it was trained"

    image = garden / "garden/images/train0.jpg"
    pixels = cv2.imread(str(image))
    cv2.imwrite(str(image), 255 - pixels)
    assert ran(succeeds(garden, "dvc", "repro", "mindrecord")) == {"check", "files", "mindrecord@train"}
    assert {"train", "baselines"} <= changed(garden)

    # Two classes change their values, and so their places in every label.
    file.write_text(text.replace("[10]", "[x]").replace("[20]", "[10]").replace("[x]", "[20]"))
    assert ran(succeeds(garden, "dvc", "repro", "mindrecord@val")) == {"check", "files", "mindrecord@val"}
    assert "mindrecord@train" in changed(garden)
    rows = records.read(record("val", garden / "data/mindrecord"))
    drawn = own_data.write(garden / "again")["val"]
    swapped = np.array([1, 0, *range(2, 256)])
    for row in rows:
        np.testing.assert_array_equal(row.label, swapped[drawn[row.name]])


def test_another_split_is_scored_outside_dvc_as_the_model_was_trained(garden):
    file = garden / "garden.yaml"
    file.write_text(file.read_text().replace("title: Garden", "title: Plot").replace(str([*COLOURS[0]]), "[1, 2, 3]"))
    succeeds(garden, "python", "-m", "pipeline.evaluate", "--split", "test", "--output", "third")
    score = json.loads((garden / "third/evaluate.json").read_text())
    assert score["images"] == SPLITS["test"]
    assert list(score["class_IOU"]) == CLASSES
    assert values_in(garden / "third/predictions") <= {*VALUES.tolist(), VOID}
    assert not (garden / "data/mindrecord/test.mindrecord").exists()


def test_every_command_takes_it(garden, capfd, monkeypatch):
    monkeypatch.chdir(garden)
    told = {
        "doctor": "garden: 5 train images and 4 val images and 4 test images",
        "dataset check": "the pixels of 13 labels",
        "dataset show": "Garden, val: 4 of 4 images",
        "dataset init garden --name guessed": "labels.format: palette",
        "check-data --json": '"stone"',
        "recipe": "cityscapes-cpu",
        "recipe --update --dry-run": "no change",
        "estimate": "7,700 parameters",
        "explain dataset": "garden.yaml",
        "predict garden/images --output predicted": "9 of 9 images and videos labelled",
        "table": f"{metrics(garden, 'evaluate')['mIOU']:.2f}",
        "compare HEAD": "| stone ",
        "report": "reports/performance.html",
        "state list": "finished",
        "restore": "150×110",
    }
    for command, part in told.items():
        commands.main(command.split())
        printed = capfd.readouterr().out
        assert part in printed, command
        assert "categor" not in printed.replace("category ", ""), command
    assert values_in(garden / "predicted") <= {*VALUES.tolist(), VOID}
    assert run(garden, "git", "diff", "--stat").stdout == "", "what the pipeline made is as it was"

    refused = {
        "submission garden": "was trained on Garden, whose classes are not those of Cityscapes",
        "stop": "no training run is active",
    }
    for command, part in refused.items():
        with pytest.raises(SystemExit, match="2"):
            commands.main(command.split())
        assert part in capfd.readouterr().err
    tried = {command.split()[0] for command in (*told, *refused)}
    assert tried == {*commands.COMMANDS} - {"serve"}


def test_page_answers_with_the_values_of_the_masks(garden):
    with served(Path("models/exported/autodeeplab.onnx"), cwd=garden) as server:
        assert server.get("/api/images") == [f"val{number}" for number in range(SPLITS["val"])]
        status, answer = server.predict((garden / "garden/images/test0.jpg").read_bytes())
    assert status == 200
    known = {name: (value, "#" + bytes(colour).hex()) for name, (value, colour) in own_data.CLASSES.items()}
    assert answer["classes"]
    for found in answer["classes"]:
        assert (found["label_id"], found["colour"]) == known[found["name"]]
