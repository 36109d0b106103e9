"""The report: the seed's tables, quoted and measured apart, missing metrics named; the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from adl import params as schema
from adl.architecture import Architecture
from adl.artifacts import digest
from adl.dataset.descriptor import CITYSCAPES
from adl.errors import AdlError
from adl.params import load
from adl.reporting import exported, figures, page, report
from adl.reporting.columns import NOTHING
from adl.reporting.page import Picture
from adl.reporting.results import STAGES, Results
from tests.browsing import OVERLAPS, requested, resize
from tests.conftest import ROOT

SPEED = {
    "device": "CPU", "processor": "A Processor", "cores": 2, "mindspore": "2.10.0", "ms_per_step": 412.5,
    "samples_per_second": 14.5, "total_seconds": 754.0, "compile_seconds": 21.0, "peak_memory_mb": 1234, "devices": 1,
    "ms_per_image": 98.7, "openvino": {"onnx": 5.5}, "network_ms_per_image": 87.6, "processes": 1,
}  # fmt: skip

RUN = {"epochs": 15, "bn_momentum": 0.995}


@pytest.fixture
def files(tmp_path, rng):
    """Metrics, speeds and a sidecar as the stages write them."""
    iou = {
        name: round(float(v), 4)
        for name, v in zip(CITYSCAPES.class_names, rng.uniform(5, 90, 19), strict=True)
    } | {"train": None}
    metrics = {
        "mindrecord_train": {"images": 480}, "mindrecord_val": {"images": 60},
        "train": {"steps": 1200, "images": 480, "parameters": 2412432},
        "evaluate": {
            "mIOU": 47.8576, "mIOU_single": 46.22, "frequency_weighted_IOU": 61.5,
            "mIOU_low": 45.1, "mIOU_high": 50.2, "images": 60, "checkpoint_epoch": 15,
            "class_IOU": iou,
            "category_IOU": dict.fromkeys(CITYSCAPES.categories, 50.0), "baseline": {"constant": 1.0, "colour": 19.2},
        },
        "export": {
            "mindir": {"images": 3, "largest_difference": 1e-7, "agreement": 100.0},
            "onnx": {"images": 3, "largest_difference": 2e-6, "agreement": 99.9998},
            "onnx-labels": {"images": 3, "agreement": 100.0},
            "onnx-int8": {
                "images": 60, "mIOU": 46.6, "mIOU_checkpoint": 47.7, "points_lost": 1.1, "points_lost_low": 0.6,
                "points_lost_high": 1.625, "agreement": 94.5, "kept": False, "points_lost_with": {"AVX2": 1.1},
            },
        },
        "infer": {
            "mIOU": 47.86, "agreement": 99.9999, "images": 60,
            "openvino": {"onnx": {"mIOU": 47.85, "agreement": 99.99, "images": 60}},
        },
    }  # fmt: skip
    params = load(ROOT / "params.yaml", **RUN).model_dump()
    (tmp_path / "models").mkdir()
    (tmp_path / "models/m.ckpt").write_bytes(b"0" * 12_340_000)
    sidecar = {
        "architecture": Architecture().to_json(), "data": {"digest": "d" * 64},
        "digest": digest(tmp_path / "models/m.ckpt"),
        "params": {name: params[name] for name in schema.of_stage("train")},
    }  # fmt: skip
    for folder in ("metrics", "reports/speed", "data"):
        (tmp_path / folder).mkdir(parents=True)
    for stage, content in metrics.items():
        (tmp_path / f"metrics/{stage}.json").write_text(json.dumps(content))
    for stage in ("train", "evaluate", "infer"):
        (tmp_path / f"reports/speed/{stage}.json").write_text(json.dumps(SPEED))
    (tmp_path / "models/m.ckpt.json").write_text(json.dumps(sidecar))
    (tmp_path / "data/val.json").write_text(json.dumps({"digest": "e" * 64}))
    return tmp_path


def results(files, **changes) -> Results:
    params = load(ROOT / "params.yaml", **RUN).model_dump() | {
        "data_path": changes.pop("data_path", "data/synthetic")
    }
    settings = {"params": params, "over_seeds": "47.10 ± 0.66 (n = 3)"} | changes
    places = {
        "metrics": files / "metrics", "speed": files / "reports/speed", "checkpoint": files / "models/m.ckpt",
        "val_manifest": files / "data/val.json",
    }  # fmt: skip
    return Results.read(CITYSCAPES, **places, **settings)


def text(files, **changes) -> str:
    return page.markdown(report.blocks(results(files, **changes), files / "reports"))


def section(whole: str, title: str) -> str:
    return whole.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(whole: str, title: str) -> list[list[str]]:
    """The cells of a section's tables, row by row, the headers of each first."""
    lines = [
        line
        for line in section(whole, title).splitlines()
        if line.startswith("|") and "--" not in line
    ]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_accuracy_has_the_quoted_runs_marked_and_this_one_measured(files):
    rows = table(text(files), "Accuracy")
    quoted = [
        ("0.5M", "1300", "0.995", "76.16 (quoted)", "75.20 (quoted)"),
        ("1.0M", "2700", "0.9", "77.30 (quoted)", "77.09 (quoted)"),
        ("1.5M", "4000", "0.99", "78.13 (quoted)", "78.00 (quoted)"),
        ("1.5M, drop path", "–", "–", "–", "79.74 (quoted)"),
    ]
    for row, (*run, miou, paper) in zip(rows[1:5], quoted, strict=True):
        assert row[:7] == [*run, "Cityscapes val", miou, paper, "not measured"]
    assert [row[9] for row in rows[1:4]] == ["42 h (quoted)", "82 h (quoted)", "125 h (quoted)"]
    assert next(row for row in rows if row[0] == "1,200 steps") == [
        "1,200 steps", "15", "0.995", "synthetic scenes, val, `flip`", "", "", "**47.86**", "45.10 to 50.20",
        "47.10 ± 0.66 (n = 3)", "12 min 34 s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("criterion", "words"),
    [("ce", "cross entropy"), ("ohemce", "cross entropy with online hard example mining")],
)
def test_loss_is_said_in_words(files, criterion, words):
    path = files / "models/m.ckpt.json"
    sidecar = json.loads(path.read_text())
    sidecar["params"] |= {"criterion": criterion}
    path.write_text(json.dumps(sidecar))
    [row] = [row for row in table(text(files), "Training performance") if row[0] == "Loss"]
    assert row[2] == words


def test_other_scores_of_the_same_counts_are_listed(files):
    accuracy = section(text(files), "Accuracy")
    assert re.search(r"\| mIOU, mode `single` +\| 46\.22 +\|", accuracy)
    assert re.search(r"\| frequency-weighted IoU +\| 61\.50 +\|", accuracy)
    assert "multiscale" not in accuracy, "not measured in this mode"


def test_published_recipe_fills_its_own_row(files):
    path = files / "models/m.ckpt.json"
    sidecar = json.loads(path.read_text())
    sidecar["params"] |= {"epochs": 2700, "bn_momentum": 0.9}
    path.write_text(json.dumps(sidecar))
    whole = text(files, data_path="/data/cs", recipe="cityscapes-1.0M")
    assert [row for row in table(whole, "Accuracy") if row[0] == "1.0M"] == [
        ["1.0M", "2700", "0.9", "Cityscapes val", "77.30 (quoted)", "77.09 (quoted)", "**47.86**", "45.10 to 50.20",
         "47.10 ± 0.66 (n = 3)", "82 h (quoted), 12 min 34 s (measured)"],
    ]  # fmt: skip
    assert section(whole, "Accuracy").count("**47.86**") == 1


def test_performance_tables_have_quoted_and_measured_apart(files):
    training, inference = (
        section(text(files), f"{kind} performance") for kind in ("Training", "Inference")
    )
    assert re.search(
        r"\| Speed +\| 589\.757 ms/step \(8 devices\) +\| 412\.5 ms/step, 14\.5 images/s +\|",
        training,
    )
    assert re.search(r"\| Checkpoint +\| 85\.37 MB +\| 12\.34 MB +\|", training)
    assert re.search(
        r"\| Total time +\| \(42, 82, 125\) hours \(8 devices\) +\| 12 min 34 s", training
    )
    assert re.search(
        r"\| Speed +\| 1677\.48 ms/image +\| 98\.7 ms/image with its mirror image", inference
    )
    assert "98.7 ms/image, 87.6 in the network, 1 process" in inference
    assert "2021 (quoted)" in training
    assert "this run (measured)" in training


def test_machine_and_its_devices_are_stated(files):
    path = files / "reports/speed/train.json"
    path.write_text(json.dumps(SPEED | {"devices": 2}))
    rows = {
        kind: {row[0]: row[2] for row in table(text(files), f"{kind} performance")}
        for kind in ("Training", "Inference")
    }
    assert rows["Training"]["Resource"] == "CPU × 2: A Processor, 2 cores"
    assert rows["Inference"]["Resource"] == "CPU: A Processor, 2 cores"
    assert rows["Training"]["MindSpore"] == rows["Inference"]["MindSpore"] == "2.10.0"


def test_exported_files_are_compared_with_the_checkpoint(files):
    equal = "equal labels {} % (3 images), largest difference of a probability {}"
    lost = (
        "1.10 points of mIOU lost (60 images, 95 % between 0.60 and 1.62), equal labels 94.50 %; with AVX2, not proved "
        "on other processors, not kept"
    )
    assert table(text(files), "The exported files") == [
        list(exported.HEADERS),
        ["mindir", equal.format("100.0000", "1e-07"), "mindspore", "47.86", "99.9999 %", "98.7"],
        ["onnx", equal.format("99.9998", "2e-06"), "openvino", "47.85", "99.9900 %", "5.5"],
        ["onnx-labels", "equal labels 100.0000 % (3 images)", "–", "–", "–", "–"],
        ["onnx-int8", lost, "–", "–", "–", "–"],
    ]


def test_8_bits_of_which_nothing_was_scored_are_not_said_to_lose_anything(files):
    path = files / "metrics/export.json"
    proofs = json.loads(path.read_text())
    nothing = dict.fromkeys(("mIOU", "mIOU_checkpoint", "points_lost", "points_lost_low"))
    proofs["onnx-int8"] |= nothing | {"points_lost_with": {"AVX2": None}}
    path.write_text(json.dumps(proofs))
    [row] = [row for row in table(text(files), "The exported files") if row[0] == "onnx-int8"]
    assert row[1] == "nothing is scored (60 images), not proved, not kept"


def test_sidecar_of_another_checkpoint_is_not_reported(files):
    (files / "models/m.ckpt").write_bytes(b"another")
    with pytest.raises(AdlError, match=r"m\.ckpt\.json: describes another file than m\.ckpt"):
        results(files)


def test_files_that_were_not_exported_are_not_measured_yet(files):
    for stage in ("export", "infer"):
        (files / f"metrics/{stage}.json").unlink()
    assert table(text(files), "The exported files")[1][0] == "not measured yet"


@pytest.mark.parametrize("lost", ["metrics/train.json", "models/m.ckpt.json"])
def test_parameters_stand_where_metrics_or_sidecar_are_lost(files, lost):
    (files / lost).unlink()
    assert ["`bn_momentum`", "`0.995`"] in table(text(files), "Parameters")


def test_time_that_nobody_could_measure_is_no_number(files):
    """Where each process saw one image, or the training took one step, all was compilation."""
    unknown = {
        "evaluate": ("ms_per_image", "network_ms_per_image"), "train": ("compile_seconds",), "infer": ("ms_per_image",),
    }  # fmt: skip
    for stage, names in unknown.items():
        path = files / f"reports/speed/{stage}.json"
        path.write_text(json.dumps(SPEED | dict.fromkeys(names)))
    training, inference = (
        section(text(files), f"{kind} performance") for kind in ("Training", "Inference")
    )
    assert re.search(r"\| Speed +\| 1677\.48 ms/image +\| –, for there was one image", inference)
    assert "–, 1 process: every image waited for a compilation" in inference
    assert re.search(r"\| Compilation +\| +\| –, for there was one step", training)
    assert "None" not in training + inference


def test_classes_are_sorted_and_an_absent_one_is_last(files):
    rows = re.findall(
        r"^\| ([a-z ]+?) +\| ([\d.]+|–) +\|$", section(text(files), "Classes"), re.MULTILINE
    )[:19]
    values = [float(value) for _, value in rows if value != "–"]
    assert values == sorted(values, reverse=True)
    assert rows[-1] == ("train", "–")
    assert {name for name, _ in rows} == set(CITYSCAPES.class_names)


def test_parameters_architecture_and_digests_are_stated(files):
    whole = text(files)
    assert "2,412,432 trainable parameters" in whole
    assert all(
        f"`{name}`" in section(whole, "Parameters")
        for name in (*schema.of_stage("train"), "ms_infer", "eval_flip")
    )
    for shown in ("d" * 64, "e" * 64, digest(files / "models/m.ckpt")):
        assert f"`{shown[:16]}`" in whole
    assert "the last checkpoint (epoch 15 of 15), not chosen by its score on val" in whole


def test_partial_evaluations_say_so(files):
    assert "Partial" not in text(files)
    score = json.loads((files / "metrics/evaluate.json").read_text())
    (files / "metrics/evaluate.json").write_text(
        json.dumps(score | {"images": 20, "checkpoint_epoch": 10})
    )
    assert "**Partial: 20 of 60 val images were evaluated.**" in text(files)
    assert "an intermediate checkpoint (epoch 10 of 15)" in text(files)
    (files / "metrics/evaluate.json").write_text(json.dumps(score))
    assert "**Partial: the val record holds 60 images, Cityscapes has 500.**" in text(
        files, data_path="/data/cs"
    )
    assert "embedded synthetic" not in text(files, data_path="/data/cs")


MEASURED = {
    "train": ("1,200 steps", "2,412,432 trainable parameters", "412.5 ms/step", "12 min 34 s"),
    "evaluate": (
        "**47.86**",
        "45.10 to 50.20",
        "| 61.50 |",
        "87.6 in the network",
        "colour look-up",
    ),
    "export": ("1e-07",),
    "infer": ("98.7 ms/image with its mirror image", "99.9999 %"),
}
"""What the report says of a stage, and of no other."""


@pytest.mark.parametrize("stage", [*STAGES, "nothing"])
def test_missing_metric_is_named_and_the_rest_stands(files, stage):
    if stage == "nothing":
        for folder in ("metrics", "reports/speed", "models"):
            shutil.rmtree(files / folder)
        whole = text(files)
        assert "**Nothing has been evaluated yet**: run `dvc repro`." in whole
    else:
        (files / f"metrics/{stage}.json").unlink()
        (files / f"reports/speed/{stage}.json").unlink(missing_ok=True)
        whole = text(files)
    for other, words in MEASURED.items():
        stands = other != stage and stage != "nothing"
        assert [word for word in words if (word in whole) != stands] == [], other
    if stage in ("train", "evaluate", "nothing"):
        assert NOTHING in whole
    assert "not drawn yet" in page.web_page(report.blocks(results(files), files / "reports"))


@pytest.fixture
def web_page(files, rng):
    """A page with every kind of picture, as the stages draw them."""
    metrics = json.loads((files / "metrics/evaluate.json").read_text())
    counts = rng.integers(0, 10_000, (19, 20)) + 200_000 * np.eye(19, 20, dtype=int)
    folder = files / "reports/evaluate"
    figures.save(
        figures.class_bars(metrics["class_IOU"], metrics["baseline"]), folder / "classes.png"
    )
    pixels = {
        name: int(n)
        for name, n in zip(CITYSCAPES.class_names, rng.integers(1e3, 1e7, 19), strict=True)
    }
    figures.save(
        figures.frequency_against_iou(pixels, metrics["class_IOU"]), folder / "frequency.png"
    )
    figures.save(figures.confusion_matrix(counts, CITYSCAPES.class_names), folder / "confusion.png")
    history = [{"epoch": i + 1, "loss": 3 / (i + 1), "learning_rate": 0.01} for i in range(10)]
    history[4]["val_mIOU"] = history[9]["val_mIOU"] = 30.0
    figures.save(figures.learning_curves(history), files / "reports/train/curves.png")
    image = rng.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    truth = rng.integers(0, 19, (64, 128), dtype=np.uint8)
    overlay = figures.overlay(
        image, truth=truth, prediction=truth[::-1], dataset=CITYSCAPES, title="x"
    )
    figures.save(overlay, folder / "overlays/worst_01.png")
    path = files / "index.html"
    path.write_text(page.web_page(report.blocks(results(files), files / "reports")))
    return path


def test_page_has_its_pictures_inside(web_page):
    text = web_page.read_text()
    assert text.count('src="data:image/png;base64,') == 5
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert "not drawn yet" not in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    assert (
        page.web_page([Picture(web_page.parent / "none.png", "a < b")]).count(
            "a &lt; b: not drawn yet"
        )
        == 1
    )


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("width", [1400, 400])
def test_page_opens_from_disk_without_errors_requests_or_overlaps(browser, web_page, width):
    requested(browser)
    resize(browser, width)
    browser.get(web_page.as_uri())
    assert browser.get_log("browser") == []
    assert requested(browser) == [web_page.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(
        "return [...document.images].every(i => i.complete && i.naturalWidth > 100)"
    )
    assert browser.execute_script(OVERLAPS) == []
