"""The report: quoted and measured apart, missing metrics named, no time but on a page of its own; in a real browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from adl.architecture import Architecture
from adl.config import params as schema
from adl.config.params import load
from adl.errors import AdlError
from adl.files import digest
from adl.report import figures, page, performance, quoted, report
from adl.report.page import NOT_MEASURED, Picture
from adl.report.results import STAGES, Results
from tests.browsing import OVERLAPS, requested, resize
from tests.conftest import ROOT
from tests.data import CITYSCAPES

SPEED = {
    "device": "CPU", "processor": "A Processor", "cores": 2, "mindspore": "2.10.0", "ms_per_step": 412.5,
    "samples_per_second": 14.5, "total_seconds": 754.0, "compile_seconds": 21.0, "peak_memory_mb": 1234, "devices": 1,
    "ms_per_image": 98.7, "openvino": {"onnx": 5.5}, "network_ms_per_image": 87.6, "processes": 1,
}  # fmt: skip

RUN = {"epochs": 15, "bn_momentum": 0.995}


@pytest.fixture
def files(tmp_path, rng, monkeypatch):
    """The current folder: metrics, speeds and a sidecar as the stages write them, of which DVC knows nothing."""
    monkeypatch.chdir(tmp_path)
    iou = {name: round(float(v), 4) for name, v in zip(CITYSCAPES.class_names, rng.uniform(5, 90, 19), strict=True)} | {
        "train": None
    }
    metrics = {
        "mindrecord_train": {"images": 480, "pixels": {"road": 300, "sky": 100}}, "mindrecord_val": {"images": 60},
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
    (tmp_path / "models/autodeeplab.ckpt").write_bytes(b"0" * 230_000)
    sidecar = {
        "architecture": Architecture().to_json(), "data": {"digest": "d" * 64},
        "digest": digest(tmp_path / "models/autodeeplab.ckpt"),
        "params": {name: params[name] for name in schema.of_stage("train")},
    }  # fmt: skip
    for folder in ("metrics", "reports/speed", "data/mindrecord"):
        (tmp_path / folder).mkdir(parents=True)
    for stage, content in metrics.items():
        (tmp_path / f"metrics/{stage}.json").write_text(json.dumps(content))
    for stage in ("train", "evaluate", "infer"):
        write_speed(tmp_path, stage)
    (tmp_path / "models/autodeeplab.ckpt.json").write_text(json.dumps(sidecar))
    (tmp_path / "data/mindrecord/val.json").write_text(json.dumps({"digest": "e" * 64}))
    return tmp_path


def write_speed(files, stage, **changes) -> None:
    content = SPEED | {"checkpoint_digest": digest(files / "models/autodeeplab.ckpt")} | changes
    (files / f"reports/speed/{stage}.json").write_text(json.dumps(content))


def results(published: dict[str, str] | None = None, **changes) -> Results:
    """As if DVC knew the run, and with it all its parameters."""
    p = load(ROOT / "params.yaml")
    found = Results.read(p.descriptor, p.model_dump())
    params = load(ROOT / "params.yaml", **RUN).model_dump() | {"data_path": "data/synthetic"}
    params |= found.sidecar.get("params", {}) | changes
    return dataclasses.replace(found, params=params, published=published or {})


def text(**changes) -> str:
    return page.markdown(report.blocks(results(**changes)))


def times() -> str:
    """The page of performance."""
    return page.markdown(performance.blocks(results()))


def section(whole: str, title: str) -> str:
    return whole.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(whole: str, title: str) -> list[list[str]]:
    """The cells of a section's tables, row by row, the headers of each first."""
    lines = [line for line in section(whole, title).splitlines() if line.startswith("|") and "--" not in line]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_accuracy_has_this_run_measured_and_the_quoted_runs_apart(files):
    assert table(text(), "Accuracy")[:2] == [
        ["Itr", "mIOU of this project", "95 % interval", "epochs", "bn_momentum", "data"],
        ["1,200 steps", "**47.86**", "45.10 to 50.20", "15", "0.995", "synthetic scenes, val, `flip`"],
    ]  # fmt: skip
    assert table(text(), "Published figures") == [
        ["Itr", "mIOU 2021", "mIOU in paper", "epochs", "bn_momentum", "data"],
        ["0.5M", "76.16 (quoted)", "75.20 (quoted)", "1300", "0.995", "Cityscapes val"],
        ["1.0M", "77.30 (quoted)", "77.09 (quoted)", "2700", "0.9", "Cityscapes val"],
        ["1.5M", "78.13 (quoted)", "78.00 (quoted)", "4000", "0.99", "Cityscapes val"],
        ["1.5M, drop path", "–", "79.74 (quoted)", "–", "–", "Cityscapes val"],
    ]


def test_result_is_the_first_word_and_drawn_scenes_the_second(files):
    result, drawn, *_ = text().split("\n\n")
    assert result == "# mIOU 47.86 %"
    assert drawn.startswith("**Trained on drawn scenes: means nothing on photographs.**")
    assert "means nothing on photographs" in times()
    of_own_data = text(data_path="/data/cs")
    assert "photographs" not in of_own_data
    assert "Trained on 480 images of /data/cs." in of_own_data


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ("ce", "cross entropy"),
        ("ohemce", "cross entropy with online hard example mining"),
        ("ce+dice", "cross entropy plus soft Dice"),
    ],
)
def test_loss_is_said_in_words(files, criterion, words):
    path = files / "models/autodeeplab.ckpt.json"
    sidecar = json.loads(path.read_text())
    sidecar["params"] |= {"criterion": criterion}
    path.write_text(json.dumps(sidecar))
    [row] = [row for row in table(times(), "Training performance") if row[0] == "Loss"]
    assert row[1] == words


def test_other_scores_of_the_same_counts_are_listed(files):
    accuracy = section(text(), "Accuracy")
    assert re.search(r"\| mIOU, mode `single` +\| 46\.22 +\|", accuracy)
    assert re.search(r"\| frequency-weighted IoU +\| 61\.50 +\|", accuracy)
    assert "multiscale" not in accuracy, "not measured in this mode"


def test_run_of_a_published_recipe_stands_beside_its_figures(files):
    path = files / "models/autodeeplab.ckpt.json"
    sidecar = json.loads(path.read_text())
    sidecar["params"] |= {"epochs": 2700, "bn_momentum": 0.9}
    path.write_text(json.dumps(sidecar))
    whole = text(data_path="/data/cs", published=quoted.RUNS["cityscapes"]["cityscapes-1.0M"])
    headers, row = table(whole, "Accuracy")[:2]
    assert dict(zip(headers, row, strict=True)) == {
        "Itr": "1.0M", "mIOU of this project": "**47.86**", "95 % interval": "45.10 to 50.20",
        "mIOU 2021": "77.30 (quoted)", "mIOU in paper": "77.09 (quoted)", "epochs": "2700", "bn_momentum": "0.9",
        "data": "/data/cs, val, `flip`",
    }  # fmt: skip
    assert [row[0] for row in table(whole, "Published figures")[1:]] == [
        "0.5M",
        "1.5M",
        "1.5M, drop path",
    ]


def rows(kind: str) -> dict[str, list[str]]:
    """Name → measured and quoted, of a table of performance."""
    return {name: cells for name, *cells in table(times(), f"{kind} performance")}


def test_performance_tables_have_quoted_and_measured_apart(files):
    training, inference = rows("Training"), rows("Inference")
    assert training[""] == inference[""] == ["this run (measured)", "2021 (quoted)"]
    assert training["Speed"] == ["412.5 ms/step, 14.5 images/s", "589.757 ms/step (8 devices)"]
    assert training["Checkpoint"] == ["0.23 MB", "85.37 MB"]
    assert training["Total time"] == ["12 min 34 s", "(42, 82, 125) hours (8 devices)"]
    assert training["Compilation"][0] == "21 s"
    assert training["Peak memory"][0] == "1,234 MB"
    assert training["Learning rate"][0].startswith("polynomial decay after ")
    assert inference["Speed"] == [
        "98.7 ms/image with its mirror image, exported file",
        "1677.48 ms/image",
    ]
    assert inference["Speed of `evaluate`"][0] == "98.7 ms/image, 87.6 in the network, 1 process"
    assert table(times(), "The exported files")[1:] == [
        ["mindir", "mindspore", "98.7", digest(files / "models/autodeeplab.ckpt")[:16]],
        ["onnx", "openvino", "5.5", digest(files / "models/autodeeplab.ckpt")[:16]],
    ]


def test_machine_its_devices_and_the_model_are_stated(files):
    write_speed(files, "train", devices=2)
    training, inference = rows("Training"), rows("Inference")
    assert training["Resource"][0] == "CPU × 2: A Processor, 2 cores"
    assert inference["Resource"][0] == "CPU: A Processor, 2 cores"
    for measured in (training, inference):
        assert measured["MindSpore"][0] == "2.10.0"
        assert measured["Model"][0] == digest(files / "models/autodeeplab.ckpt")[:16]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("train", ("412.5 ms/step", "12 min 34 s", "1,234 MB")),
        ("evaluate", ("87.6 in the network",)),
        ("infer", ("98.7 ms/image with its mirror image", "| openvino ")),
    ],
)
def test_times_of_another_model_are_left_out_and_the_command_is_named(files, stage, words):
    assert "Left out" not in times()
    write_speed(files, stage, checkpoint_digest="0" * 64)
    whole = times()
    assert f"**Left out: `{stage}`**, measured for another model; run `python -m pipeline.{stage}`" in whole
    assert [word for word in words if word in whole] == []
    assert whole.count("Left out") == 1
    (files / f"reports/speed/{stage}.json").unlink()
    assert f"**Left out: `{stage}`**, not measured yet; run `python -m pipeline.{stage}`" in times()


def test_times_without_their_model_are_nobodys(files):
    (files / "models/autodeeplab.ckpt").unlink()
    (files / "reports/speed/train.json").write_text(json.dumps(SPEED))
    whole = times()
    assert "**There is no model here yet**: run `dvc repro`." in whole
    assert "measured)" not in whole
    assert "2021 (quoted)" in whole


def test_training_that_took_no_step_has_no_times(files):
    (files / "reports/speed/train.json").write_text(
        json.dumps({"checkpoint_digest": digest(files / "models/autodeeplab.ckpt")})
    )
    assert rows("Training")[""] == ["2021 (quoted)"]


CLOCK = re.compile(r"\b(ms|seconds?|min|hours?|h|MB|cores?|CPU:|images/s|mindspore 2)\b|A Processor|2\.10\.0")


def test_report_has_no_time_and_is_the_same_whatever_was_measured(files):
    before = text()
    assert CLOCK.findall(before.replace("“–”", "")) == []
    for stage in ("train", "evaluate", "infer"):
        (files / f"reports/speed/{stage}.json").unlink()
    assert text() == before


def test_exported_files_are_compared_with_the_checkpoint(files):
    equal = "equal labels {} % (3 images), largest difference of a probability {}"
    lost = (
        "1.10 points of mIOU lost (60 images, 95 % between 0.60 and 1.62), equal labels 94.50 %; with AVX2, not proved "
        "on other processors, not kept"
    )
    assert table(text(), "The exported files") == [
        [
            "file",
            "compared with the checkpoint",
            "run by",
            "mIOU on raw images",
            "labels as in `evaluate`",
        ],
        ["mindir", equal.format("100.0000", "1e-07"), "mindspore", "47.86", "99.9999 %"],
        ["onnx", equal.format("99.9998", "2e-06"), "openvino", "47.85", "99.9900 %"],
        ["onnx-labels", "equal labels 100.0000 % (3 images)", "–", "–", "–"],
        ["onnx-int8", lost, "–", "–", "–"],
    ]


def test_8_bits_of_which_nothing_was_scored_are_not_said_to_lose_anything(files):
    path = files / "metrics/export.json"
    proofs = json.loads(path.read_text())
    nothing = dict.fromkeys(("mIOU", "mIOU_checkpoint", "points_lost", "points_lost_low"))
    proofs["onnx-int8"] |= nothing | {"points_lost_with": {"AVX2": None}}
    path.write_text(json.dumps(proofs))
    [row] = [row for row in table(text(), "The exported files") if row[0] == "onnx-int8"]
    assert row[1] == "nothing is scored (60 images), not proved, not kept"


def test_sidecar_of_another_checkpoint_is_not_reported(files):
    (files / "models/autodeeplab.ckpt").write_bytes(b"another")
    with pytest.raises(AdlError, match=r"\.ckpt\.json: describes another file than autodeeplab\.ckpt"):
        results()


def test_files_that_were_not_exported_are_not_measured_yet(files):
    for stage in ("export", "infer"):
        (files / f"metrics/{stage}.json").unlink()
    assert section(text(), "The exported files").strip() == "not measured yet"


@pytest.mark.parametrize("lost", ["metrics/train.json", "models/autodeeplab.ckpt.json"])
def test_parameters_stand_where_metrics_or_sidecar_are_lost(files, lost):
    (files / lost).unlink()
    assert ["`bn_momentum`", "`0.995`"] in table(text(), "Parameters")


def test_time_that_nobody_could_measure_is_no_number(files):
    """Where each process saw one image, or the training took one step, all was compilation."""
    write_speed(files, "evaluate", ms_per_image=None, network_ms_per_image=None)
    write_speed(files, "train", compile_seconds=None)
    write_speed(files, "infer", ms_per_image=None)
    inference = rows("Inference")
    assert inference["Speed"][0] == "–, for there was one image"
    assert inference["Speed of `evaluate`"][0] == "–, 1 process: every image waited for a compilation"
    assert rows("Training")["Compilation"][0] == "–, for there was one step"
    assert table(times(), "The exported files")[1][:3] == ["mindir", "mindspore", "–"]
    assert "None" not in times()


def test_classes_are_sorted_with_their_share_and_an_absent_one_is_last(files):
    metrics = json.loads((files / "metrics/evaluate.json").read_text())
    metrics["class_IOU"] |= {"wall": 0.0}
    (files / "metrics/evaluate.json").write_text(json.dumps(metrics))
    headers, *found = table(text(), "Classes")[:20]
    assert headers == ["class", "IoU %", "% of the training pixels"]
    values = [float(row[1]) for row in found if row[1] != "–"]
    assert values == sorted(values, reverse=True)
    assert [row[:2] for row in found[-2:]] == [["wall", "0.00"], ["train", "–"]]
    assert {row[0] for row in found} == set(CITYSCAPES.class_names)
    assert {row[0]: row[2] for row in found if row[2] != "–"} == {"road": "75.00", "sky": "25.00"}
    assert table(text(), "Classes")[20] == ["category", "IoU %"]


def test_column_with_nothing_in_it_is_left_out(files):
    (files / "metrics/mindrecord_train.json").unlink()
    (files / "metrics/infer.json").unlink()
    assert table(text(), "Classes")[0] == ["class", "IoU %"]
    assert table(text(), "The exported files")[0] == ["file", "compared with the checkpoint"]


def test_parameters_architecture_and_digests_are_stated(files):
    whole = text()
    assert "2,412,432 trainable parameters" in whole
    assert all(
        f"`{name}`" in section(whole, "Parameters") for name in (*schema.of_stage("train"), "ms_infer", "eval_flip")
    )
    for shown in ("d" * 64, "e" * 64, digest(files / "models/autodeeplab.ckpt")):
        assert f"`{shown[:16]}`" in whole
    assert "the last checkpoint (epoch 15 of 15), not chosen by its score on val" in whole


def test_partial_evaluations_say_so(files):
    assert "Partial" not in text()
    score = json.loads((files / "metrics/evaluate.json").read_text())
    (files / "metrics/evaluate.json").write_text(json.dumps(score | {"images": 20, "checkpoint_epoch": 10}))
    assert "**Partial: 20 of 60 val images were evaluated.**" in text()
    assert "an intermediate checkpoint (epoch 10 of 15)" in text()
    (files / "metrics/evaluate.json").write_text(json.dumps(score))
    assert "**Partial: the val record holds 60 images, Cityscapes has 500.**" in text(data_path="/data/cs")
    assert "embedded synthetic" not in text(data_path="/data/cs")


MEASURED = {
    "train": ("1,200 steps", "2,412,432 trainable parameters"),
    "evaluate": (
        "**47.86**",
        "45.10 to 50.20",
        "| 61.50 |",
        "colour look-up",
    ),
    "export": ("1e-07",),
    "infer": ("99.9999 %",),
}
"""What the report says of a stage, and of no other."""


@pytest.mark.parametrize("stage", [*STAGES, "nothing"])
def test_missing_metric_is_named_and_the_rest_stands(files, stage):
    if stage == "nothing":
        for folder in ("metrics", "reports/speed", "models"):
            shutil.rmtree(files / folder)
        whole = text()
        assert "**Nothing has been evaluated yet**: run `dvc repro`." in whole
    else:
        (files / f"metrics/{stage}.json").unlink()
        whole = text()
    for other, words in MEASURED.items():
        stands = other != stage and stage != "nothing"
        assert [word for word in words if (word in whole) != stands] == [], other
    if stage in ("train", "evaluate", "nothing"):
        assert NOT_MEASURED in whole
    assert "not drawn yet" in web()


def web() -> str:
    return page.web_page(report.blocks(results()), {"Performance": "performance.html"})


@pytest.fixture
def web_page(files, once):
    """A page with every kind of picture, as the stages draw them."""
    shutil.copytree(once("pictures-of-the-report", draw), files / "reports", dirs_exist_ok=True)
    path = files / "index.html"
    path.write_text(web())
    return path


def draw(reports) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 10_000, (19, 20)) + 200_000 * np.eye(19, 20, dtype=int)
    folder = reports / "evaluate"
    figures.save(figures.confusion_matrix(counts, CITYSCAPES.class_names), folder / "confusion.png")
    history = [{"epoch": i + 1, "loss": 3 / (i + 1), "learning_rate": 0.01} for i in range(10)]
    history[4]["val_mIOU"] = history[9]["val_mIOU"] = 30.0
    figures.save(figures.learning_curves(history), reports / "train/curves.png")
    image = rng.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    truth = rng.integers(0, 19, (64, 128), dtype=np.uint8)
    overlay = figures.overlay(image, truth=truth, prediction=truth[::-1], dataset=CITYSCAPES, title="x")
    figures.save(overlay, folder / "overlays/median.png")
    for name in ("worst_01", "worst_02", "best"):
        shutil.copy(folder / "overlays/median.png", folder / f"overlays/{name}.png")


def test_page_has_its_pictures_inside(web_page):
    text = web_page.read_text()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert [caption.split(":")[0] for caption in captions] == [
        "The image with the median mIOU",
        "Where the pixels of each class went, in percent of the class",
        "Loss, validation mIOU and learning rate over the epochs",
        "The best",
        "Rank 1 from the bottom",
        "Rank 2 from the bottom",
    ]
    assert text.count('src="data:image/png;base64,') == len(captions)
    assert re.findall(r'(?:src|href)="(?!data:|#)(.*?)"', text) == ["performance.html"]
    assert text.index("47.86 %") < text.index("<figure>") < text.index("<table>")
    assert "not drawn yet" not in text
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text
    empty = page.web_page([Picture(web_page.parent / "none.png", "a < b")], {})
    assert empty.count("a &lt; b: not drawn yet") == 1


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("width", [1400, 400])
def test_page_opens_from_disk_without_errors_requests_or_overlaps(browser, web_page, width):
    requested(browser)
    resize(browser, width)
    browser.get(web_page.as_uri())
    assert browser.get_log("browser") == []
    assert requested(browser) == [web_page.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert browser.execute_script(OVERLAPS) == []
    assert browser.execute_script(VISIBLE, "h1")
    assert "47.86 %" in browser.execute_script("return document.querySelector('h1').textContent")
    [in_table] = browser.execute_script(
        "return [...document.querySelectorAll('td')].filter(c => c.textContent === '47.86').slice(0, 1)"
    )
    assert in_table.rect["x"] + in_table.rect["width"] <= width, "without scrolling sideways"


VISIBLE = """
const box = document.querySelector(arguments[0]).getBoundingClientRect();
return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
"""


@pytest.mark.xdist_group("browser")
def test_page_is_dark_where_the_reader_wants_it_dark(browser, web_page):
    def brightness(scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(web_page.as_uri())
        return [
            browser.execute_script(f"return getComputedStyle(document.querySelector('{name}')).{what}")
            for name, what in (
                ("body", "backgroundColor"),
                ("body", "color"),
                ("th", "backgroundColor"),
            )
        ]

    light, dark = brightness("light"), brightness("dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def grey(colour):
        return sum(int(value) for value in re.findall(r"\d+", colour)[:3]) / 3

    assert [grey(colour) > 128 for colour in light] == [True, False, True]
    assert [grey(colour) > 128 for colour in dark] == [False, True, False]
