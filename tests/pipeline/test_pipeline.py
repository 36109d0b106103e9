"""The stages as processes, in a workspace of their own, with real DVC."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import mindspore as ms
import psutil
import pytest

from adl import synthetic
from adl.export import provenance
from adl.files import digest, write_png
from adl.network import names_2021
from adl.workspace import CHECKPOINT, DRAWN
from tests import damage
from tests.data import CITYSCAPES, write_dataset
from tests.workspace import adl, alive, files, git, ran, run, set_params, succeeds, wait_for

EVERY_STAGE = {
    "synthesize",
    "check",
    "files",
    "mindrecord@train",
    "mindrecord@val",
    "baselines",
    "train",
    "evaluate",
    "export",
    "infer",
    "report",
}


def test_check_says_how_to_get_a_complete_environment(workspace):
    before = files(workspace)
    # -S: an interpreter without any installed package.
    result = run(workspace, sys.executable, "-S", "-m", "pipeline.check")
    assert result.returncode == 2, result.stdout + result.stderr
    assert "source .venv/bin/activate" in result.stderr
    assert "Traceback" not in result.stderr
    assert files(workspace) == before, "nothing written"


def test_killed_synthesis_leaves_no_process_and_no_half_written_data(workspace):
    set_params(workspace, synthetic_train_images=2000)
    process = subprocess.Popen([sys.executable, "-m", "pipeline.synthesize"], cwd=workspace, stdout=subprocess.DEVNULL)
    wait_for(lambda: list(workspace.rglob("*_leftImg8bit.png")))
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.wait()
    wait_for(lambda: not alive(workers))
    assert not (workspace / "data/synthetic").exists()
    set_params(workspace, synthetic_train_images=4)
    succeeds(workspace, "python", "-m", "pipeline.synthesize")
    assert len(list((workspace / "data").rglob("*_leftImg8bit.png"))) == 7, "what the killed run left is gone"


@pytest.mark.slow
def test_repro_from_nothing_makes_everything_once_and_a_faulty_value_removes_nothing(finished, monkeypatch):
    assert ran((finished.parent / "repro.log").read_text()) == EVERY_STAGE
    for stage in (
        "mindrecord_train",
        "mindrecord_val",
        "baselines",
        "train",
        "evaluate",
        "export",
        "infer",
    ):
        assert json.loads((finished / f"metrics/{stage}.json").read_text())
    assert "Trained on drawn scenes: means nothing on photographs" in (finished / "reports/miou.md").read_text()
    assert (finished / "reports/train/plots/metrics/loss.tsv").exists()

    monkeypatch.chdir(finished)
    assert provenance.fastest() == Path("models/exported/autodeeplab.onnx")
    for model, whose in ((CHECKPOINT, ""), (provenance.fastest(), "its checkpoint scored ")):
        assert re.fullmatch(
            f"{DRAWN}; {whose}mIOU \\d+\\.\\d\\d % on 3 val images",
            provenance.summary(model),
        )

    assert ran(succeeds(finished, "dvc", "repro")) == {"check"}

    output = run(finished, "dvc", "exp", "run", "-S", "bn_momentum=2")
    assert output.returncode != 0
    assert "bn_momentum: 2 is not accepted" in output.stdout + output.stderr
    assert (finished / "models/autodeeplab.ckpt").exists(), "nothing was deleted"
    assert (finished / "data/checked.txt").exists()


@pytest.mark.slow
def test_experiment_is_compared_undone_and_comes_back_from_the_cache(finished):
    first = json.loads((finished / "metrics/evaluate.json").read_text())
    model = digest(finished / "models/autodeeplab.ckpt")
    own_lock = (finished / "dvc.lock").read_text()

    output = succeeds(finished, "dvc", "exp", "run", "-S", "bn_momentum=0.5")
    assert ran(output) == {"check", "train", "evaluate", "export", "infer", "report"}
    assert "first step, with compilation" in output
    assert "resuming" not in output, "no experiment gets another one's state"
    assert digest(finished / "models/autodeeplab.ckpt") != model
    assert "mIOU" in succeeds(finished, "dvc", "metrics", "diff")
    compared = adl(finished, "compare", "HEAD")
    assert re.search(
        r"workspace − HEAD: [+-]\d\.\d\d, 95 % interval .* over 1000 resamplings of 3 images",
        compared,
    )
    plots = json.loads(run(finished, "dvc", "plots", "show", "--json").stdout)["data"]
    values = {
        name: plot[0]["content"]["data"]["values"] for name, plot in plots.items() if plot and plot[0]["type"] == "vega"
    }
    assert values.keys() >= {"learning curve", "learning rate", "class IoU", "confusion"}
    assert float(values["learning curve"][0]["loss"]) > 0
    assert len(values["confusion"]) == 19 * 20
    scores = json.loads((finished / "metrics/evaluate.json").read_text())["class_IOU"]
    assert {row["class"]: row["IoU"] for row in values["class IoU"]} == {
        n: v for n, v in scores.items() if v is not None
    }
    assert "pixels" in json.dumps(plots["confusion"][0]["content"]["spec"]), "the weights of the cells"
    table = adl(finished, "table")
    assert f"{first['mIOU']:.2f}" in table
    assert "| 0.5 " in table

    # `make restore` brings the committed parameters' results back and leaves code alone, here with a lock that was
    # committed on another kind of processor: this cache has the run, but not the outputs that the lock names.
    lock = finished / "dvc.lock"
    lock.write_text(re.sub(r"(?<=md5: )[0-9a-f]{8}", "00000000", own_lock))
    git(finished, "commit", "-q", "-m", "from another processor", "dvc.lock")
    git(finished, "add", "params.yaml")  # as DVC advises for its lock: what is staged is undone too
    (finished / ".venv").symlink_to(sys.prefix)
    with (finished / "adl/figures.py").open("a") as file:
        file.write("# edited\n")
    succeeds(finished, "make", "restore")
    assert json.loads((finished / "metrics/evaluate.json").read_text()) == first
    assert digest(finished / "models/autodeeplab.ckpt") == model
    assert (finished / "adl/figures.py").read_text().endswith("# edited\n")
    assert lock.read_text() == own_lock
    assert ran(succeeds(finished, "dvc", "repro")) == {"check"}

    # There again and back by parameters alone: DVC's run cache has both models, nothing is trained.
    set_params(finished, bn_momentum=0.5)
    assert "train" not in ran(succeeds(finished, "dvc", "repro"))
    set_params(finished, bn_momentum=0.995)
    output = succeeds(finished, "dvc", "repro")
    assert "train" not in ran(output)
    assert json.loads((finished / "metrics/evaluate.json").read_text()) == first
    assert succeeds(finished, "dvc", "metrics", "diff").strip() == ""


@pytest.mark.slow
def test_another_clone_with_an_empty_cache_ends_with_the_same_lock(finished, tmp_path):
    second = tmp_path / "elsewhere/second"
    git(finished, "clone", "-q", str(finished), str(second))
    assert ran(succeeds(second, "dvc", "repro")) == EVERY_STAGE
    assert (second / "dvc.lock").read_text() == (finished / "dvc.lock").read_text()
    assert run(second, "git", "status", "--short").stdout == ""


@pytest.mark.slow
def test_other_files_and_splits_are_scored_outside_dvc(finished):
    first = json.loads((finished / "metrics/evaluate.json").read_text())
    assert first["baseline"] == json.loads((finished / "metrics/baselines.json").read_text())["mIOU"]
    # A file with the names of 2021 and no sidecar takes its architecture from the parameters, and gives the same.
    stored = ms.load_checkpoint(str(finished / "models/autodeeplab.ckpt"))
    old = [{"name": names_2021.in_2021(name, use_abn=True), "data": value} for name, value in stored.items()]
    ms.save_checkpoint(old, str(finished / "pretrained/old.ckpt"))
    command = (
        "python",
        "-m",
        "pipeline.evaluate",
        "--checkpoint",
        "pretrained/old.ckpt",
        "--output",
        "old",
    )
    assert "2021 names" in succeeds(finished, *command)
    assert json.loads((finished / "old/evaluate.json").read_text()) == first | {"checkpoint_epoch": None}
    assert json.loads((finished / "metrics/evaluate.json").read_text()) == first

    options = ("--split", "train", "--eval-batch-size", "3", "--output", "on-train")
    succeeds(finished, "python", "-m", "pipeline.evaluate", *options)
    on_train = json.loads((finished / "on-train/evaluate.json").read_text())
    assert on_train["images"] == 4
    assert on_train["baseline"] == {}, "they were fitted on these images"


def draw(root: Path, frames: list[tuple[str, str]], *, height: int) -> None:
    """Scenes as frames of given splits and names, in the layout of Cityscapes."""
    for number, (split, name) in enumerate(frames):
        image, labels = synthetic.scene(CITYSCAPES, split, number, height=height, seed=0)
        write_png(CITYSCAPES.images.path(root, split, name[0], name), image)
        write_png(CITYSCAPES.labels.path(root, split, name[0], name), labels)


@pytest.mark.slow
def test_layout_faults_stop_dvc_repro_before_it_removes_anything(finished):
    root, sound = finished / "raw/cityscapes", finished / "sound"
    frames = [("train", name) for name in (damage.A, damage.B, damage.C)]
    draw(sound, [*frames, ("val", "c_000004_000019")], height=64)
    shutil.copytree(sound, root)
    # The records are of this tree, the model is still of the other: `dvc repro` would begin by removing it.
    write_dataset(finished / "own.yaml")
    set_params(finished, data_path="raw/cityscapes", dataset="own.yaml")
    succeeds(finished, "dvc", "repro", "mindrecord")
    results = {p: p.read_bytes() for folder in ("data", "models", "metrics") for p in files(finished / folder)}
    parameters = (finished / "params.yaml").read_text()
    # What the stages depend on is then in another place, or nowhere, or it is other than it was.
    for break_layout in (
        damage.one_level_too_deep,
        damage.zip_as_path,
        damage.only_the_images,
        damage.without_cities,
    ):
        advice = dict(damage.LAYOUT_FAULTS)[break_layout]
        shutil.rmtree(finished / "raw")
        shutil.copytree(sound, root)
        (finished / "params.yaml").write_text(parameters)
        path = break_layout(root).relative_to(finished)
        if path != root.relative_to(finished):
            set_params(finished, data_path=str(path))
        done = run(finished, "dvc", "repro")
        assert done.returncode != 0, break_layout.__name__
        assert "Traceback" not in done.stdout + done.stderr, break_layout.__name__
        # What lies inside or above is named with its whole path, the rest as data_path does.
        told = done.stderr.replace(str(finished) + "/", "")
        assert advice.format(root=root.relative_to(finished)) in told, (
            break_layout.__name__,
            done.stderr,
        )
        after = {p: p.read_bytes() for folder in ("data", "models", "metrics") for p in files(finished / folder)}
        assert after == results, break_layout.__name__


@pytest.mark.slow
@pytest.mark.longest
def test_full_size_tree_goes_through_the_recipe_for_a_cpu_with_the_published_network(workspace):
    """Up to its score. Small images show the same of the later stages, which compare what they make with that."""
    set_params(workspace, synthetic_height=1024, synthetic_train_images=2, synthetic_val_images=1)
    succeeds(workspace, "python", "-m", "pipeline.synthesize")
    (workspace / "data/synthetic").rename(workspace / "raw")
    adl(workspace, "recipe", "cityscapes-cpu", "--data-path", "raw")
    # Of one step; and an image is computed once, not twice: on one core that takes minutes.
    write_dataset(workspace / "own.yaml")
    set_params(workspace, warmup_iters=0, eval_flip=False, dataset="own.yaml")
    output = succeeds(workspace, "dvc", "repro", "evaluate", timeout=900)
    assert ran(output) == EVERY_STAGE - {"synthesize", "export", "infer", "report"}
    assert "10,395,808" in output
    metrics = {p.stem: json.loads(p.read_text()) for p in (workspace / "metrics").glob("*.json")}
    assert (metrics["train"]["steps"], metrics["train"]["parameters"]) == (1, 10_395_808)
    assert 0 < metrics["train"]["loss"] < 10
    assert metrics["evaluate"]["images"] == 1
    (labels,) = (workspace / "data/predictions/evaluate").rglob("*.png")
    assert cv2.imread(str(labels), cv2.IMREAD_UNCHANGED).shape == (1024, 2048)


@pytest.mark.slow
def test_better_message_or_picture_reruns_at_most_the_report(finished):
    def changed() -> set[str]:
        return set(json.loads(run(finished, "dvc", "status", "--json").stdout))

    def edit(name: str) -> None:
        with (finished / name).open("a") as file:
            file.write("# edited\n")

    assert changed() == {"check"}, "which always runs"
    for name in (
        "console/progress.py",
        "console/reporter.py",
        "launch/launcher.py",
        "commands/predict.py",
    ):
        edit(f"adl/{name}")
    assert changed() == {"check"}
    edit("adl/report/figures.py")
    assert changed() == {"check", "report"}
    edit("adl/training/losses.py")
    assert "train" in changed()
