"""Recipes: each is a whole valid parameter file, comments and machine keys kept."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.serialize import modify_yaml

from adl import commands, preflight
from adl.architecture import Architecture
from adl.config import params, recipes
from adl.errors import AdlError
from tests.conftest import ROOT
from tests.data import CITYSCAPES, write_frame
from tests.workspace import WITHOUT_ROOT_RIGHTS

NAMES = (
    "cityscapes-0.5M", "cityscapes-1.0M", "cityscapes-1.5M", "cityscapes-1.5M-drop-path", "cityscapes-cpu", "synthetic",
)  # fmt: skip


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "pipeline/recipes", tmp_path / "pipeline/recipes")
    shutil.copytree(ROOT / "architectures", tmp_path / "architectures")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe(*arguments: str) -> params.Params:
    commands.main(["recipe", *arguments])
    return params.load()


def comments(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):.*?# (.*)$", text, re.MULTILINE))


OLD = """# My run, of which I think a lot.

# Data
data_path: DATA  # folder that holds leftImg8bit/ and gtFine/
expected_train_images: 2975  # images that the train split must have
num_classes: 19
# Network
block_multiplier: 2
bn_momentum: 0.9
infer_backends: []  # none
"""


@pytest.mark.parametrize(
    ("data", "dataset"),
    [("data/synthetic", "datasets/synthetic.yaml"), ("/data/cs", "datasets/cityscapes.yaml")],
)
def test_file_of_an_earlier_version_is_brought_up_to_date(workspace, capsys, data, dataset):
    file = workspace / "params.yaml"
    file.write_text(OLD.replace("DATA", data))
    with pytest.raises(SystemExit, match="2"):
        commands.main(["recipe", "synthetic", "--update"])
    assert "--update keeps the present values: leave out the NAME" in capsys.readouterr().err
    before = file.read_text()
    commands.main(["recipe", "--update", "--dry-run"])
    shown = capsys.readouterr().out
    assert re.search(rf"^dataset +.*{dataset}", shown, re.MULTILINE)
    assert "expected_train_images" in shown
    assert "bn_momentum" not in shown
    assert file.read_text() == before
    p = recipe("--update")
    assert (p.dataset, p.data_path, p.num_classes, p.block_multiplier) == (dataset, data, 19, 2)
    assert (p.bn_momentum, p.infer_backends) == (0.9, [])
    shipped = params.load(ROOT / "params.yaml")
    kept = {"dataset", "data_path", "num_classes", "block_multiplier", "bn_momentum", "infer_backends"}
    assert p.model_dump(exclude=kept) == shipped.model_dump(exclude=kept)
    text = file.read_text()
    assert text.startswith("# My run, of which I think a lot.\n\n# Data\ndataset: ")
    assert comments(text) == comments((ROOT / "params.yaml").read_text())
    capsys.readouterr()
    assert recipe("--update") == p
    assert file.read_text() == text
    assert "no change" in capsys.readouterr().out


def test_data_set_that_is_named_stays_and_a_file_without_headings_gets_them(workspace):
    (workspace / "params.yaml").write_text("data_path: /data/own\ndataset: datasets/camvid.yaml\nseed: 3\n")
    p = recipe("--update")
    assert (p.dataset, p.data_path, p.seed) == ("datasets/camvid.yaml", "/data/own", 3)
    assert (workspace / "params.yaml").read_text().startswith("# Data\ndataset: ")


def test_value_that_cannot_be_meant_is_not_brought_up_to_date(workspace, capsys):
    (workspace / "params.yaml").write_text("data_path:\nepochs: 0\n")
    with pytest.raises(SystemExit, match="2"):
        recipe("--update")
    assert "params.yaml brought up to date: is not valid:" in capsys.readouterr().err
    assert (workspace / "params.yaml").read_text() == "data_path:\nepochs: 0\n"


def test_list_has_every_recipe_with_a_sentence_and_a_time(workspace, capsys):
    commands.main(["recipe"])
    listed = capsys.readouterr().out
    assert recipes.names() == list(NAMES)
    for name in NAMES:
        row = next(line for line in listed.splitlines() if line.startswith(f"{name} "))
        assert re.search(r"\d [a-z]+$", row), row
        assert recipes.about(name)[:30] in row
    assert "training on CPU" in listed
    assert max(map(len, listed.splitlines())) <= 120


def test_times_on_ascend_are_those_of_2021_for_its_own_runs(workspace, capsys):
    (workspace / "params.yaml").write_text("device_target: Ascend\n")
    commands.main(["recipe"])
    lines = capsys.readouterr().out.splitlines()
    hours = {line.split()[0]: line.split()[-2:] for line in lines if line.startswith("cityscapes-")}
    # 29 minutes, and 186 steps per epoch × 1300, 2700, 4000 epochs × 0.577 s; 2021 states 42, 82, 125 h in all.
    assert [hours[f"cityscapes-{n}"] for n in ("0.5M", "1.0M", "1.5M")] == [
        ["39", "h"],
        ["81", "h"],
        ["120", "h"],
    ]


@pytest.mark.parametrize("device_num", [8, "two"])
def test_list_takes_the_recipes_own_devices_where_those_of_the_machine_do_not_fit(workspace, capsys, device_num):
    (workspace / "params.yaml").write_text(f"device_num: {device_num}\n")
    commands.main(["recipe"])
    listed = capsys.readouterr().out
    assert all(f"\n{name} " in listed for name in NAMES)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_output_ends_it_quietly(unbuffered):
    command = [sys.executable, "-m", "adl.commands", "recipe"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_a_valid_file_whose_architecture_loads_and_whose_comments_stay(workspace, name):
    p = recipe(name, "--all")
    text = (workspace / "params.yaml").read_text()
    assert Architecture.from_params(p).num_classes == 19
    assert comments(text) == comments((ROOT / "params.yaml").read_text())
    head = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    assert " ".join(head).startswith(recipes.about(name))


def test_published_runs_have_the_published_values(workspace):
    for name, epochs, momentum in (
        ("0.5M", 1300, 0.995),
        ("1.0M", 2700, 0.9),
        ("1.5M", 4000, 0.99),
    ):
        p = recipe(f"cityscapes-{name}", "--all")
        assert (p.epochs, p.bn_momentum, p.batch_size, p.crop_size, p.filter_multiplier) == (
            epochs, momentum, 16, 769, 20,
        )  # fmt: skip
        assert (p.device_target, p.device_num, p.warmup_iters, p.initial_fm) == (
            "Ascend",
            8,
            1000,
            None,
        )
        assert p.descriptor.expect == {"train": 2975, "val": 500, "test": 1525}
        assert p.epochs / p.eval_epochs <= 40, "a validation looks at 500 full images"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("cityscapes")])
def test_recipes_of_the_real_data_have_the_published_head_and_scales(workspace, name):
    p = recipe(name, "--all")
    assert (p.head_channels, p.min_scale, p.max_scale) == (256, 0.5, 2.0)


def test_shipped_parameters_are_the_recipe_synthetic(workspace):
    assert (ROOT / "params.yaml").read_text() == recipes.text("synthetic", {}), "`adl recipe synthetic --all`"
    before = (workspace / "params.yaml").read_text()
    recipe("cityscapes-1.5M")
    recipe("synthetic")
    assert (workspace / "params.yaml").read_text() == before, "there and back, byte for byte"


def test_machine_keys_stay_unless_all_and_everything_else_goes(workspace):
    text = (workspace / "params.yaml").read_text()
    text = text.replace("data_path: data/synthetic", "data_path: /data/cs").replace("workers: 4", "workers: 7")
    (workspace / "params.yaml").write_text(text.replace("seed: 0 ", "seed: 5 "))
    p = recipe("cityscapes-1.5M")
    assert (p.data_path, p.device_target, p.device_num, p.workers, p.seed) == (
        "/data/cs",
        "CPU",
        1,
        7,
        0,
    )
    p = recipe("cityscapes-1.5M", "--all")
    assert (p.data_path, p.device_target, p.device_num, p.workers) == (
        "data/synthetic",
        "Ascend",
        8,
        4,
    )


def test_dry_run_shows_each_difference_and_writes_nothing(workspace, capsys):
    before = (workspace / "params.yaml").read_text()
    commands.main(["recipe", "cityscapes-cpu", "--dry-run"])
    shown = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert shown["crop_size"] == ["97", "257"]
    assert shown["initial_fm"] == ["16", "null"]
    assert "seed" not in shown
    assert (workspace / "params.yaml").read_text() == before


def test_data_path_is_set_or_asked_for(workspace, capsys):
    recipe("cityscapes-cpu")
    assert "data_path is still data/synthetic" in capsys.readouterr().out
    assert recipe("cityscapes-cpu", "--data-path", "/data/cs").data_path == "/data/cs"
    assert "still" not in capsys.readouterr().out


def test_empty_data_path_is_refused(workspace, capsys):
    with pytest.raises(SystemExit, match="2"):
        recipe("synthetic", "--data-path", "")
    assert "data_path: '' is not accepted" in capsys.readouterr().err


def test_recipe_with_drop_path_is_that_of_1_5_million_with_it(workspace):
    plain, dropping = (
        recipe("cityscapes-1.5M").model_dump(),
        recipe("cityscapes-1.5M-drop-path").model_dump(),
    )
    assert {key for key in plain if plain[key] != dropping[key]} == {"drop_path_keep_prob"}
    assert (plain["drop_path_keep_prob"], dropping["drop_path_keep_prob"]) == (1.0, 0.8)


def test_machine_keys_that_differ_from_the_recipe_are_named(workspace, capsys):
    recipe("cityscapes-1.5M", "--data-path", "/data/cs")
    assert (
        "of this machine: device_target CPU (the recipe: Ascend), device_num 1 (the recipe: 8). "
        "--all takes those of the recipe."
    ) in capsys.readouterr().out
    recipe("synthetic")
    hint = "of this machine: data_path /data/cs (the recipe: data/synthetic). --all takes"
    assert hint in capsys.readouterr().out
    recipe("synthetic", "--all")
    assert "of this machine" not in capsys.readouterr().out


def test_export_of_cityscapes_on_the_embedded_scenes_is_refused_for_their_data_path(workspace):
    p = recipe("cityscapes-cpu")
    with pytest.raises(AdlError, match=r"data/synthetic has 480 train images \(not 2975\) .* Set data_path to the"):
        preflight.check(p)
    shutil.copy(ROOT / "datasets/synthetic.yaml", workspace / "own.yaml")
    with pytest.raises(AdlError, match=r"the val images in data/synthetic are 224×112 .* or set data_path to the"):
        preflight.check(params.load(dataset="own.yaml"))


UNREADABLE = {
    "conflict": b"<<<<<<< HEAD\ndevice_num: 8\n=======\ndevice_num: 4\n>>>>>>> other\n",
    "open": b"a: [",
    "tab": b"seed:\n\t0\n",
    "list": b"- seed\n",
    "word": b"seed\n",
    "empty": b"",
    "twice": b"seed: 0\nseed: 1\n",
    "date": b"seed: 2026-13-45\n",
    "latin": b"seed: 0  # f\xfcr\n",
}


@pytest.mark.parametrize(
    "command",
    [
        ("recipe",),
        ("recipe", "synthetic"),
        ("recipe", "synthetic", "--dry-run"),
        ("explain",),
        ("explain", "seed"),
        ("estimate",),
        ("check-data",),
        ("submission",),
    ],
    ids=" ".join,
)
def test_parameters_that_cannot_be_read_are_said_and_left_alone(workspace, capsys, command):
    for kind, content in UNREADABLE.items():
        (workspace / "params.yaml").write_bytes(content)
        with pytest.raises(SystemExit, match="2"):
            commands.main(list(command))
        said = capsys.readouterr()
        assert said.err.startswith("error: params.yaml: "), kind
        assert ("conflict marks" in said.err) == (kind == "conflict")
        assert "–" not in said.out
        assert (workspace / "params.yaml").read_bytes() == content


@pytest.mark.parametrize("content", ["conflict", "latin"])
def test_a_recipe_replaces_what_cannot_be_read_on_request(workspace, capsys, content):
    (workspace / "params.yaml").write_bytes(UNREADABLE[content])
    with pytest.raises(SystemExit, match="2"):
        recipe("synthetic")
    assert "; --all replaces the whole file, and --data-path says" in capsys.readouterr().err
    assert recipe("synthetic", "--all") == params.load(ROOT / "params.yaml")
    cannot = "params.yaml cannot be read: the machine keys are taken from the recipe"
    assert cannot in capsys.readouterr().out
    recipe("synthetic", "--all")
    assert "cannot be read" not in capsys.readouterr().out


def test_value_of_a_kind_that_no_parameter_has_is_shown_as_it_stands(workspace, capsys):
    (workspace / "params.yaml").write_text("seed: 2026-01-31\n")
    commands.main(["explain", "seed"])
    assert '"2026-01-31"' in capsys.readouterr().out, "a date, for YAML"
    recipe("synthetic")
    assert '"2026-01-31"' in capsys.readouterr().out


@pytest.fixture
def cityscapes(workspace):
    """cityscapes(train, val) -> a folder of so many images, of 128 × 64."""

    def make(train: int, val: int) -> str:
        for split, number in (("train", train), ("val", val)):
            pair = write_frame(workspace / "cs", split, "a", "a_0_0", shape=(64, 128))
            for i, path in itertools.product(range(1, number), pair):
                path.with_name(path.name.replace("a_0_0", f"a_{i}_0")).symlink_to(path)
        return "cs"

    return make


def test_recipe_fits_few_images_of_another_size_and_says_so(workspace, cityscapes, capsys):
    p = recipe("cityscapes-cpu", "--data-path", cityscapes(5, 1))
    said = capsys.readouterr().out
    assert (p.warmup_iters, p.export_width, p.export_height) == (0, 128, 64)
    assert "warmup_iters 0 (the recipe: 10): 5 train images make 3 steps." in said
    assert "export_width and export_height are those of the val images: 128 × 64." in said
    assert re.search(r"^export_width +224 +128$", said, re.MULTILINE), "what is written is shown"
    preflight.check_steps(p)
    with pytest.raises(AdlError, match="warmup_iters is 10, but the whole run has 3 steps"):
        preflight.check_steps(p.model_copy(update={"warmup_iters": 10}))


@pytest.mark.parametrize(("images", "warmup"), [(20, 1), (21, 10)])
def test_warm_up_that_fits_is_the_recipe_s(workspace, cityscapes, capsys, images, warmup):
    p = recipe("cityscapes-cpu", "--data-path", cityscapes(images, 1))
    assert p.warmup_iters == warmup
    assert ("(the recipe: 10)" in capsys.readouterr().out) == (warmup < 10)


def test_part_of_the_data_is_told_at_once_where_a_recipe_wants_all(workspace, cityscapes, capsys):
    folder = cityscapes(3, 2)
    recipe("cityscapes-1.5M", "--data-path", folder, "--dry-run")
    said = capsys.readouterr().out
    assert "`dvc repro` will refuse these data: " in said
    assert "cs has 3 train images (not 2975) and 2 val images (not 500)" in said
    said_to_do = "or take `expect` out of datasets/cityscapes.yaml."
    assert said_to_do in said
    expecting = (ROOT / "datasets/cityscapes.yaml").read_text()
    (workspace / "datasets").unlink()
    (workspace / "datasets").mkdir()
    (workspace / "datasets/cityscapes.yaml").write_text(re.sub(r"(?m)^expect: .*$", "", expecting))
    recipe("cityscapes-1.5M", "--data-path", folder, "--dry-run")
    assert "will refuse" not in capsys.readouterr().out


@pytest.mark.parametrize("broken", [False, True])
def test_dry_run_shows_its_plan_where_there_are_no_data_or_none_that_can_be_read(workspace, cityscapes, capsys, broken):
    if broken:
        folder = cityscapes(30, 1)
        CITYSCAPES.images.path(workspace / folder, "val", "a", "a_0_0").write_bytes(b"x")
    commands.main(["recipe", "cityscapes-cpu", "--data-path", "cs", "--dry-run"])
    said = capsys.readouterr().out
    assert re.search(r"^data_path +\"data/synthetic\" +\"cs\"$", said, re.MULTILINE)
    assert ("data_path: cs: does not exist" in said) != broken


def test_places_of_a_job_are_the_machine_s_and_one_is_not_true(workspace, capsys):
    text = (workspace / "params.yaml").read_text()
    text = text.replace("\ntrain_url:", "\ntrain_url: obs://b/run1").replace("\ndata_url:", "\ndata_url: obs://b/data")
    (workspace / "params.yaml").write_text(text.replace("use_ABN: true", "use_ABN: 1"))
    p = recipe("synthetic")
    assert (p.train_url, p.data_url) == ("obs://b/run1", "obs://b/data")
    assert re.search(r"^use_ABN +1 +true$", capsys.readouterr().out, re.MULTILINE)


def test_folder_that_may_not_be_written_is_one_message(workspace):
    workspace.chmod(0o555)
    command = [
        *WITHOUT_ROOT_RIGHTS,
        sys.executable,
        "-m",
        "adl.commands",
        "recipe",
        "cityscapes-cpu",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    finally:
        workspace.chmod(0o755)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*params\.yaml: Permission denied\. .*\n", done.stderr), done.stderr


@pytest.mark.parametrize(
    ("name", "device_num", "message"),
    [
        ("cityscapes-1.5", 1, "cityscapes-1.5: unknown recipe; did you mean cityscapes-1.5M?"),
        ("synthetic", "two", "device_num: 'two' is not accepted; expected: whole number"),
        (
            "synthetic",
            "two",
            "The machine keys are kept from params.yaml; --all replaces the whole file",
        ),
        ("cityscapes-cpu", 8, "and --data-path says where the data are."),
    ],
)
def test_what_cannot_be_written_is_refused(workspace, capsys, name, device_num, message):
    (workspace / "params.yaml").write_text(f"device_num: {device_num}\n")
    with pytest.raises(SystemExit, match="2"):
        recipe(name)
    assert message in capsys.readouterr().err
    assert (workspace / "params.yaml").read_text() == f"device_num: {device_num}\n"


def test_recipes_are_looked_for_in_the_projects_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        commands.main(["recipe"])
    assert "Run this in the project's folder" in capsys.readouterr().err


def test_explain_gives_the_meaning_the_range_and_the_present_value(workspace, capsys):
    commands.main(["explain", "bn_momentum"])
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.split()[:2] == ["bn_momentum", "0.97"]
    assert "≥ 0, < 1" in row
    assert "fraction of the old running statistics" in row
    commands.main(["explain"])
    whole = capsys.readouterr().out
    assert all(name in whole for name in params.Params.model_fields)
    with pytest.raises(SystemExit, match="2"):
        commands.main(["explain", "bn_momentun"])
    assert "did you mean bn_momentum?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["params.yaml", *NAMES])
def test_value_that_an_experiment_sets_changes_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "params.yaml"
    before = Path(name).read_text() if name == "params.yaml" else recipes.text(name, {})
    path.write_text(before)
    with modify_yaml(str(path)) as content:  # what `dvc exp run -S` does
        content["bn_momentum"] = 0.12345
    lines = [
        pair for pair in zip(before.splitlines(), path.read_text().splitlines(), strict=True) if len(set(pair)) > 1
    ]
    assert len(lines) == 1
    assert lines[0][1].startswith("bn_momentum: 0.12345")
