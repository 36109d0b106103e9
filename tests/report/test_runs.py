"""`adl table` and `adl compare` over real DVC experiments of a small repository whose stages take no time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dvc import cli as dvc_cli
from ruamel.yaml import YAML

from adl import commands
from adl.commands import compare
from adl.commands import table as table_command
from adl.commands.table import table_of
from adl.config import params as schema
from adl.config import recipes
from adl.dataset import descriptor
from adl.files import digest, read_png, write_json, write_png
from adl.report import history
from pipeline import report
from tests.conftest import ROOT
from tests.data import CITYSCAPES
from tests.test_readme import lines as commands_of_the_pages
from tests.workspace import adl, git, run, set_params, succeeds

pytestmark = pytest.mark.xdist_group("repository of experiments")

# Writes what the stages of the project write, with scores that follow from the parameters.
STAGE = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from ruamel.yaml import YAML
p = YAML(typ="safe").load(Path("params.yaml"))
def write(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(content))
if sys.argv[1] == "train":
    write("models/autodeeplab.ckpt", p)
    write("metrics/train.json", {{"steps": 80 * p["epochs"], "images": 480, "parameters": 9}})
else:
    import numpy as np
    from adl.metrics.confusion import Confusion
    from tests.data import CITYSCAPES
    share = 0.4 + p["bn_momentum"] / 10 + p["epochs"] / 1000 + p["seed"] / 100
    rng = np.random.default_rng(0)
    counts = np.zeros((20, 19, 20), np.int64)
    for i in range(20):
        for label in range(19):
            right = round(1000 * share + 50 * rng.normal())
            counts[i, label, label], counts[i, label, 19] = right, 1000 - right
    Path("reports/evaluate").mkdir(parents=True, exist_ok=True)
    np.savez_compressed("reports/evaluate/images.npz", names=[str(i) for i in range(20)], counts=counts)
    whole = Confusion(CITYSCAPES, counts.sum(axis=0))
    percent = lambda values: {{name: round(100 * v, 4) for name, v in values.items()}}
    write("metrics/evaluate.json", {{
        "mIOU": round(100 * whole.mean_iou(), 4), "mIOU_low": 1.0, "mIOU_high": 99.0, "images": 20,
        "class_IOU": percent(whole.class_iou()), "category_IOU": percent(whole.category_iou()),
    }})
"""


@pytest.fixture(scope="module")
def repository(once, tmp_path_factory):
    """A first run, two experiments, two more seeds, and a commit of one of them."""
    folder = tmp_path_factory.mktemp("runs") / "repository"
    return shutil.copytree(once("repository", make_repository), folder, symlinks=True)


def make_repository(folder):
    for name in ("pipeline/recipes", "architectures", ".dvc/config", "params.yaml", "datasets"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, folder / name)
    set_params(folder, epochs=15, bn_momentum=0.995, seed=0)
    (folder / "stage.py").write_text(STAGE)
    (folder / "data.txt").write_text("data")
    for split in ("train", "val"):
        (folder / f"data/synthetic/leftImg8bit/{split}").mkdir(parents=True)
        (folder / f"data/synthetic/leftImg8bit/{split}/scene.txt").write_text(split)
    drawn = {"stages": {"synthesize": {"params": {"params.yaml": {"synthetic_train_images": 480}}}}}
    (folder / "pipeline/synthetic").mkdir()
    (folder / "pipeline/synthetic/dvc.lock").write_text(json.dumps(drawn))
    (folder / "metrics").mkdir()
    for split, images in (("train", 480), ("val", 20)):
        (folder / f"metrics/mindrecord_{split}.json").write_text(json.dumps({"images": images}))
    stages = {
        "train": {
            "cmd": f"{sys.executable} stage.py train", "deps": ["data.txt"], "params": list(schema.of_stage("train")),
            "outs": ["models/autodeeplab.ckpt"], "metrics": [{"metrics/train.json": {"cache": False}}],
        },
        "files": {"cmd": "true", "deps": ["${data_path}"], "params": ["dataset", "data_path"]},
        "evaluate": {
            "cmd": f"{sys.executable} stage.py evaluate", "deps": ["models/autodeeplab.ckpt"],
            "params": ["ms_infer", "eval_flip", "eval_images"],
            "outs": ["reports/evaluate"], "metrics": [{"metrics/evaluate.json": {"cache": False}}],
        },
    }  # fmt: skip
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    (folder / ".gitignore").write_text("/models\n/reports\n")
    git(folder, "init", "-q", "-b", "main")
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        git(folder, "config", name, value)
    dvc(folder, "repro")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first run")
    experiment(folder, "momentum", "bn_momentum=0.9")
    experiment(folder, "longer", "bn_momentum=0.995", "epochs=40")
    experiment(folder, "seed-1", "epochs=15", "seed=1")
    experiment(folder, "seed-2", "seed=2")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "seed 2")


def experiment(folder, name: str, *values: str) -> None:
    dvc(folder, "exp", "run", "-n", name, *(f"--set-param={value}" for value in values))


def dvc(folder, *arguments: str) -> None:
    """A command of DVC in this process, which has imported it already."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert dvc_cli.main(list(arguments)) == 0
    finally:
        os.chdir(before)


def table(folder, *arguments: str) -> pd.DataFrame:
    text = adl(folder, "table", "--format", "csv", *arguments)
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).set_index("run")


def test_every_experiment_and_commit_is_a_row_with_its_own_values(repository):
    found = table(repository)
    first = commit(repository, "HEAD~1")
    assert list(found.index) == ["momentum", first, "seed-1", "seed-2", "longer"], "by steps, then by mIOU"
    assert found["epochs"].to_dict() | {} == {
        "momentum": "15", "longer": "40", "seed-1": "15", "seed-2": "15", commit(repository, "HEAD~1"): "15",
    }  # fmt: skip
    assert found.loc["momentum", "bn_momentum"] == "0.9"
    assert found.loc["longer", "Itr"] == "3,200"
    assert found.loc["seed-2", "seed"] == "2"
    assert "batch_size" not in found, "equal in all runs"
    # 0.4 + momentum / 10 + epochs / 1000 + seed / 100, in percent, up to the noise that all runs share
    assert float(found.loc["momentum", "mIOU"]) == pytest.approx(50.5, abs=1)
    gain = float(found.loc["longer", "mIOU"]) - float(found.loc["momentum", "mIOU"])
    assert gain == pytest.approx(2.5 + 0.95, abs=0.02)


def test_line_of_the_pages_leaves_the_everyday_columns_of_experiments(repository):
    [line] = [line for line in commands_of_the_pages() if line.startswith("dvc exp show ")]
    shown = run(repository, *shlex.split(line), "--all-commits", "--csv").stdout
    assert shown.splitlines()[0].split(",")[3:] == [
        "Created", "steps", "mIOU", "bn_momentum", "epochs", "seed",
    ]  # fmt: skip


def commit(folder, revision: str) -> str:
    return run(folder, "git", "rev-parse", revision).stdout[:7]


def test_runs_that_differ_only_in_the_seed_share_mean_and_deviation(repository):
    found = table(repository)
    first = commit(repository, "HEAD~1")
    group = [float(found.loc[name, "mIOU"]) for name in (first, "seed-1", "seed-2")]
    expected = f"{np.mean(group):.2f} ± {np.std(group, ddof=1):.2f} (n = 3)"
    assert [found.loc[name, "over seeds"] for name in (first, "seed-1", "seed-2")] == [expected] * 3
    assert found.loc["momentum", "over seeds"] == "n = 1"


def test_clone_that_only_has_the_commits_shows_their_rows(repository, tmp_path):
    git(tmp_path, "clone", "-q", str(repository), "clone")
    assert list(table(tmp_path / "clone").index) == ["main"], "the committed run, not the history"
    found = table(tmp_path / "clone", "--all-commits")
    assert set(found.index) == {"main", commit(repository, "HEAD~1")}
    assert found.loc["main", "seed"] == "2"
    shown = adl(tmp_path / "clone", "compare", "HEAD~1", "main", "--output", "c.png")
    assert "no interval for the difference" in shown
    assert "`dvc pull` or `dvc repro`" in shown
    assert "Traceback" not in shown


def test_run_of_a_branch_that_was_merged_away_is_found(repository, tmp_path):
    git(tmp_path, "clone", "-q", str(repository), "clone")
    clone = tmp_path / "clone"
    for name, value in (("user.name", "t"), ("user.email", "t@example.org")):
        git(clone, "config", name, value)
    git(clone, "checkout", "-q", "-b", "side")
    set_params(clone, epochs=33)
    dvc(clone, "repro")
    git(clone, "commit", "-q", "-a", "-m", "a run on the side")
    side = commit(clone, "HEAD")
    git(clone, "checkout", "-q", "main")
    git(clone, "merge", "-q", "-s", "ours", "side")
    git(clone, "branch", "-q", "-D", "side")
    found = table(clone)
    assert set(found.index) == {side, "main"}, "what this clone made, and what it came with"
    assert found.loc[side, "epochs"] == "33"
    assert "(n = 2)" in table(clone, "main", "--all-commits").loc["main", "over seeds"]
    assert table(clone, side, "--all-commits").loc[side, "over seeds"] == "n = 1"

    first = commit(clone, "main^1~1")
    note = succeeds(clone, "git", "commit-tree", f"{first}^{{tree}}", "-p", first, "-m", "a note")
    git(clone, "checkout", "-q", note.strip())
    git(clone, "checkout", "-q", "main")
    assert set(table(clone).index) == {side, "main", first}, "its lock is from an earlier commit"


def test_tag_and_the_committed_run_are_listed_whatever_the_workspace_holds(here, tmp_path, capsys):
    git(tmp_path, "clone", "-q", str(here), "clone")
    clone = tmp_path / "clone"
    os.chdir(clone)
    git(clone, "checkout", "-q", "--detach")
    git(clone, "branch", "-q", "-D", "main")
    git(clone, "checkout", "HEAD~1", "--", ".")  # the first run's files, as an experiment would leave them

    def seeds_and_dates():
        commands.main(["table", "--format", "csv"])
        found = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype=str, keep_default_na=False)
        return {run: (seed, date) for run, seed, date in zip(found["run"], found["seed"], found["date"], strict=True)}

    first, last = (run(clone, "git", "log", "-1", "--format=%cs", name).stdout.strip() for name in ("HEAD~1", "HEAD"))
    committed = {commit(clone, "HEAD"): ("2", last)}
    assert seeds_and_dates() == committed | {"workspace": ("0", "")}
    git(clone, "tag", "published", "HEAD~1")
    assert seeds_and_dates() == committed | {"published": ("0", first)}


@pytest.fixture
def here(repository, tmp_path, monkeypatch):
    """A copy of the repository, as the current folder, where the workspace holds seed 2."""
    shutil.copytree(repository, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(sys, "argv", ["report"])
    return tmp_path / "copy"


def reported(folder) -> list[bytes]:
    report.main()
    return [(folder / "reports" / name).read_bytes() for name in ("miou.md", "index.html")]


def test_report_has_the_parameters_that_the_run_had_not_those_of_today(here):
    before = reported(here)
    assert b"| 1,200 steps" in before[0]
    assert b"mode `flip`" in before[0]
    assert re.search(rb"\| `epochs` +\| `15` ", before[0]), "the last section of the Markdown"
    assert re.search(rb"<code>epochs</code></td>\s*<td[^>]*><code>15</code>", before[1]), "of the page"
    set_params(here, epochs=99, seed=7, eval_flip=False, ms_infer=True, data_path="/data/other")
    assert reported(here) == before


def test_run_of_an_earlier_version_is_of_cityscapes_in_the_folder_that_was_converted(here):
    before = history.load("workspace")
    assert (before.dataset.name, before.params["data_path"]) == ("synthetic", "data/synthetic")
    lock = YAML(typ="safe").load(here / "dvc.lock")
    del lock["stages"]["files"]
    deps = [{"path": f"/data/cs/{kind}/val", "md5": "0"} for kind in ("leftImg8bit", "gtFine")]
    lock["stages"]["mindrecord@val"] = {"cmd": "true", "deps": deps}
    (here / "dvc.lock").write_text(json.dumps(lock))
    found = history.load("workspace")
    assert (found.dataset, found.params["data_path"]) == (descriptor.shipped("cityscapes"), "/data/cs")


def test_runs_of_one_group_may_name_their_data_set_in_other_words():
    inputs = {"data/mindrecord/train.mindrecord": "1"}

    def run_of(**params):
        score = {"mIOU": 1.0, "images": 9}
        return history.Run("x", "x", "", CITYSCAPES, {"epochs": 1} | params, inputs, score, 10, 9, 9)

    old = run_of(seed=0, num_classes=19, block_multiplier=5)
    assert old.group == run_of(seed=1, dataset="datasets/cityscapes.yaml", num_classes=None).group
    assert old.group != run_of(epochs=2).group


def test_report_follows_from_its_run_whatever_else_this_clone_has(here, tmp_path):
    """Two clones of one commit, one with experiments, end `dvc repro` with the same digests in dvc.lock."""
    before = reported(here)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{here}", "clone")
    os.chdir(tmp_path / "clone")
    assert reported(tmp_path / "clone") == before


def test_times_are_shown_at_any_time_beside_their_own_model_and_git_stays_clean(here, capsys):
    shutil.copy(ROOT / ".gitignore", here)
    git(here, "add", "-A")
    git(here, "commit", "-q", "-m", "ignored")
    speed = {
        "device": "CPU", "processor": "P", "cores": 2, "mindspore": "2", "processes": 1,
        "ms_per_image": 31.5, "network_ms_per_image": 30.5,
    }  # fmt: skip
    write_json(
        here / "reports/speed/evaluate.json",
        speed | {"checkpoint_digest": digest(here / "models/autodeeplab.ckpt")},
    )
    commands.main(["report"])
    assert "reports/performance.html" in capsys.readouterr().out
    for name in ("performance.md", "performance.html"):
        assert "31.5 ms/image, 30.5 in the network" in (here / "reports" / name).read_text()
    assert not (here / "reports/preview.png").exists(), "README's picture is made on request"
    assert succeeds(here, "git", "status", "--porcelain") == ""
    # Another model, as after an experiment whose results came from DVC's cache.
    (here / "models/autodeeplab.ckpt").write_text("another")
    commands.main(["report"])
    text = (here / "reports/performance.md").read_text()
    assert "31.5" not in text
    assert "`evaluate`**, measured for another model; run `python -m pipeline.evaluate`" in text


def test_stage_report_writes_the_times_too_and_links_to_them(here):
    _, page = reported(here)
    assert b'href="performance.html"' in page
    assert b'href="index.html"' in (here / "reports/performance.html").read_bytes()


def test_picture_of_readme_is_made_on_request(here, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(["report", "--preview"])
    assert "reports/evaluate/overlays/median.png: is missing; `dvc repro` draws it" in (capsys.readouterr().err)
    picture = np.full((60, 120, 3), (10, 200, 30), np.uint8)
    write_png(here / "reports/evaluate/overlays/median.png", picture)
    commands.main(["report", "--preview"])
    assert "\nreports/preview.png: " in capsys.readouterr().out
    np.testing.assert_array_equal(read_png(here / "reports/preview.png")[..., ::-1], picture)


def test_other_data_and_other_code_are_told_apart_and_absent_parameters_are_no_difference():
    def run_of(name, params, inputs):
        return history.Run(
            name,
            name,
            "",
            CITYSCAPES,
            {"seed": 0} | params,
            inputs,
            {"mIOU": 1.0, "images": 9},
            10,
            9,
            9,
        )

    inputs = {"data/mindrecord/a": "1", "adl/training": "1"}
    one = run_of("one", {"epochs": 1, "bn_momentum": 0.9}, inputs)
    other_data = run_of("data", {"epochs": 1, "bn_momentum": 0.9, "newer": 3}, inputs | {"data/mindrecord/a": "2"})
    other_code = run_of("code", {"epochs": 1, "bn_momentum": 0.9}, inputs | {"adl/training": "2"})
    columns = table_of([one, other_data], [one, other_data]).set_index("run")
    assert "code" not in columns
    assert "newer" not in columns
    assert columns.loc["one", "data"] != columns.loc["data", "data"]
    columns = table_of([one, other_code], [one, other_code]).set_index("run")
    assert "data" not in columns
    assert columns["code"].nunique() == 2
    assert columns["over seeds"].tolist() == ["n = 1", "n = 1"]


@pytest.mark.parametrize(
    ("options", "headers", "word"),
    [
        ([], "| run ", "| momentum"),
        (["--format", "latex"], " run ", r"\toprule"),
        (["--format", "html"], "<th>run", "<table>"),
    ],
)
def test_other_formats(repository, options, headers, word):
    shown = adl(repository, "table", "momentum", *options)
    assert headers in shown
    assert word in shown


def test_table_of_some_runs_goes_into_a_file(repository, tmp_path):
    options = ("--format", "markdown", "--output", str(tmp_path / "t"))
    told = adl(repository, "table", "momentum", "longer", *options)
    assert told == f"{tmp_path / 't'}: 2 runs\n"
    assert "| longer" in (tmp_path / "t").read_text()


def test_numbers_of_the_table_keep_their_digits(monkeypatch, capsys):
    monkeypatch.setattr(history, "collect", lambda *_, **__: ["a run"])
    cells = pd.DataFrame({"run": ["a"], "mIOU %": ["47.80"], "base_lr": ["1e-05"]})
    monkeypatch.setattr(table_command, "table_of", lambda *_: cells)
    commands.main(["table"])
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "|",
        "a",
        "|",
        "47.80",
        "|",
        "1e-05",
        "|",
    ]


def test_comparison_has_each_class_its_difference_and_a_paired_interval(repository, tmp_path):
    picture = tmp_path / "c.png"
    shown = adl(repository, "compare", "momentum", "longer", "--output", str(picture))
    one, other = (
        json.loads(run(repository, "git", "show", f"{exp}:metrics/evaluate.json").stdout) for exp in refs(repository)
    )
    for name in CITYSCAPES.class_names:
        row = next(line for line in shown.splitlines() if line.startswith(f"| {name} "))
        values = one["class_IOU"][name], other["class_IOU"][name]
        cells = [cell.strip() for cell in row.split("|")[2:5]]
        assert cells == [f"{values[0]:.2f}", f"{values[1]:.2f}", f"{values[1] - values[0]:+.2f}"]
    headers = [line for line in shown.splitlines() if line.startswith(("| class ", "| category "))]
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in headers] == [
        [kind, "momentum", "longer", "difference"] for kind in ("class", "category")
    ]
    (mean,) = [line for line in shown.splitlines() if line.startswith("| mIOU ")]
    assert f"{one['mIOU']:.2f}" in mean
    assert shown.index("| class ") < shown.index("| mIOU ") < shown.index("| category "), "the mean of the classes"
    assert "longer − momentum: +3.4" in shown
    assert "95 % interval +3.4" in shown, "the same noise in both: the pairs differ by the same on every image"
    assert "larger than the choice of images can explain" in shown
    assert picture.stat().st_size > 10_000
    assert f"{picture}: the classes side by side" in shown


def test_comparison_is_of_the_classes_that_were_scored(here, capsys):
    # The file of the data set was edited, or has gone, since the run.
    file = here / "datasets/synthetic.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "name: train" not in line))
    assert len(descriptor.load(file).classes) == 18
    assert "95 % interval" in adl(here, "compare", "HEAD")

    scored, lock = here / "metrics/evaluate.json", here / "dvc.lock"
    before = digest_of(scored)
    scored.write_text(scored.read_text().replace('"sky"', '"heaven"'))
    lock.write_text(lock.read_text().replace(before, digest_of(scored)))
    with pytest.raises(SystemExit, match="2"):
        adl(here, "compare", "HEAD")
    assert "error: HEAD and workspace were scored on other classes" in capsys.readouterr().err


def digest_of(file) -> str:
    """As dvc.lock has it."""
    return hashlib.md5(file.read_bytes()).hexdigest()


def refs(folder) -> list[str]:
    listed = run(folder, "git", "for-each-ref", "refs/exps", "--format", "%(refname)").stdout.split()
    return [next(ref for ref in listed if ref.endswith(f"/{name}")) for name in ("momentum", "longer")]


def test_unknown_revisions_and_metrics_of_another_run_are_refused(repository, tmp_path, capsys):
    def refusal(folder, *arguments) -> str:
        with pytest.raises(SystemExit, match="2"):
            adl(folder, *arguments)
        return capsys.readouterr().err

    assert "nowhere: no such branch, tag, commit or experiment" in refusal(repository, "table", "nowhere")
    git(tmp_path, "clone", "-q", str(repository), "clone")
    (tmp_path / "clone/metrics/evaluate.json").write_text('{"mIOU": 99.0}')
    assert "workspace: its metrics do not match its dvc.lock" in refusal(tmp_path / "clone", "table", "workspace")
    # A parameter that was changed and not run does not change what the run is said to be.
    git(tmp_path / "clone", "restore", ".")
    set_params(tmp_path / "clone", epochs=99)
    assert table(tmp_path / "clone", "workspace").loc["workspace", "epochs"] == "15"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty, "table") == ("error: this folder is no DVC workspace: run this in the project's folder.\n")


def test_run_of_a_published_recipe_has_the_papers_column(monkeypatch):
    monkeypatch.chdir(ROOT)
    p = recipes.load("cityscapes-1.0M", {}).model_dump()

    def run_of(values, *, images=2975, scored=500):
        return history.Run(
            "x",
            "x",
            "",
            descriptor.shipped("cityscapes"),
            values,
            {},
            {"mIOU": 77.0, "images": scored},
            502_200,
            images,
            500,
        )

    one = run_of(p | {"seed": 3})
    assert one.published["Itr"] == "1.0M"
    assert run_of(p | {"epochs": 5}).published == {}
    assert run_of(p, images=480).published == {}, "not the whole of Cityscapes"
    assert run_of(p, scored=20).published == {}, "partial"
    assert table_of([one], [one])["mIOU in paper (quoted)"].tolist() == ["77.09"]
    assert table_of([one], [one])["images"].tolist() == ["500"]
    for other in ({"ms_infer": True}, {"eval_flip": False}):
        scored = run_of(p | other)
        assert scored.published == {}, "the published figure is at scale 1, with mirror"
        assert table_of([scored], [scored])["mIOU in paper (quoted)"].tolist() == [""]
    partial = run_of(p, scored=20)
    assert table_of([partial], [partial])["images"].tolist() == ["20 of 500 (partial)"]


@pytest.mark.parametrize("what", ["names", "truth"])
def test_runs_on_other_images_have_no_interval(monkeypatch, what):
    counts = np.zeros((2, 19, 20), np.int64)
    counts[:, 0, 0], counts[:, 1, 0] = 30, 10
    others = counts.copy()
    if what == "truth":
        others[1, 1, 0] = 11
    of_run = {
        "one": (["a", "b"], counts),
        "other": (["a", "c" if what == "names" else "b"], others),
    }
    monkeypatch.setattr(history, "counts", lambda run: of_run[run.name])
    one, other = (types.SimpleNamespace(name=name, score={"mIOU": 5.0}) for name in of_run)
    assert compare.interval_of_difference(one, other) == (
        "other − one: no interval for the difference: they were scored on different images."
    )
    assert "they were scored" not in compare.interval_of_difference(one, one)


@pytest.mark.parametrize(
    ("right", "other_right", "interval", "verdict"),
    [
        (
            (500, 500),
            (505, 505),
            "+0.50, 95 % interval +0.50 to +0.50",
            "larger than the choice of images can explain",
        ),
        (
            (505, 505),
            (500, 500),
            "-0.50, 95 % interval -0.50 to -0.50",
            "larger than the choice of images can explain",
        ),
        (
            (500, 500),
            (500, 500),
            "+0.00, 95 % interval +0.00 to +0.00",
            "these images cannot tell the two runs apart",
        ),
        (
            (500, 500),
            (600, 400),
            "+0.00, 95 % interval -10.00 to +10.00",
            "these images cannot tell the two runs apart",
        ),
    ],
)
def test_verdict_follows_from_the_interval(monkeypatch, right, other_right, interval, verdict):
    """Of two images with a thousand pixels of road each, so many are found."""

    def counted(right):
        counts = np.zeros((2, 19, 20), np.int64)
        counts[:, 0, 0], counts[:, 0, 19] = right, 1000 - np.array(right)
        return ["a", "b"], counts

    of_run = {"one": counted(right), "other": counted(other_right)}
    monkeypatch.setattr(history, "counts", lambda run: of_run[run.name])
    one, other = (
        types.SimpleNamespace(name=name, score={"mIOU": sum(found) / 20})
        for name, found in {"one": right, "other": other_right}.items()
    )
    expected = (
        f"other − one: {interval} over 1000 resamplings of 2 images: {verdict}. "
        "It does not include the variation between seeds."
    )
    assert compare.interval_of_difference(one, other) == expected


def test_differences_are_those_from_the_first():
    iou = [{"road": 10.0, "sky": None}, {"road": None, "sky": 1.0}, {"road": 12.5, "sky": 2.0}]
    _, _, *rows = compare.table("class", ["a", "b", "c"], iou).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert cells == [
        ["road", "10.00", "–", "–", "12.50", "+2.50"],
        ["sky", "–", "1.00", "–", "2.00", "–"],
    ]
