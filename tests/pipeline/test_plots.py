"""`dvc plots show`: every plot that dvc.yaml declares can be drawn, without a network, and git sees none of it."""

from __future__ import annotations

import json
import shutil

import pytest
import vl_convert
from ruamel.yaml import YAML

from adl.files import write_json, write_png, write_text
from adl.report.curves import Curves
from tests.browsing import events, requested
from tests.conftest import ROOT
from tests.workspace import git, run, succeeds


@pytest.fixture
def trained(tmp_path, rng):
    """A workspace with what `train`, which validated nothing, and `evaluate` leave for the plots."""
    for name in (
        ".dvc/.gitignore",
        ".dvc/config",
        ".dvc/plots.html",
        ".dvc/plots/confusion_pixels.json",
        ".gitignore",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    yaml = YAML()
    plots = yaml.load(ROOT / "dvc.yaml")["plots"]
    yaml.dump({"plots": plots}, tmp_path / "dvc.yaml")
    with Curves(tmp_path / "reports/train") as curves:
        curves.log([{"epoch": 1, "loss": 2.0, "learning_rate": 0.1}])
        curves.draw()
    evaluated = tmp_path / "reports/evaluate"
    write_json(evaluated / "classes.json", [{"class": "road", "IoU": 50.0}])
    write_text(evaluated / "confusion.csv", "truth,predicted,pixels,share\nroad,road,3,1.0\n")
    for name in ("classes", "confusion"):
        write_png(evaluated / f"{name}.png", rng.integers(0, 256, (4, 4), dtype="uint8"))
    git(tmp_path, "init", "-q")
    return tmp_path


@pytest.mark.slow
def test_every_declared_plot_loads_where_no_epoch_was_validated(trained):
    shown = json.loads(succeeds(trained, "dvc", "plots", "show", "--json").splitlines()[0])
    assert shown.get("errors", []) == []
    assert shown["data"]["learning curve"]


@pytest.mark.slow
def test_page_is_drawn_without_a_network_and_leaves_git_clean(trained, browser):
    write_text(trained / ".venv/vega.js", vl_convert.javascript_bundle())
    git(trained, "add", "-A")
    before = run(trained, "git", "status", "--short").stdout
    succeeds(trained, "dvc", "plots", "show")
    assert run(trained, "git", "status", "--short").stdout == before
    events(browser)
    browser.get((trained / "dvc_plots/index.html").as_uri())
    drawn = browser.find_elements("css selector", ".vega-embed canvas, .vega-embed svg.marks")
    assert len(drawn) >= 4, "loss, learning rate, classes, confusion"
    assert [url for url in requested(browser) if not url.startswith("file:")] == []
