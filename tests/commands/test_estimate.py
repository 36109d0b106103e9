"""`adl estimate`: the published run of eight devices predicted from one device, and what the command says."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from adl import commands
from adl.config import recipes
from adl.console import estimate
from adl.errors import AdlError
from adl.report import quoted
from tests.conftest import ROOT
from tests.data import write_dataset


@pytest.fixture
def published(tmp_path, monkeypatch, capsys):
    """A folder with the parameters of the published run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "architectures", "architectures")
    shutil.copytree(ROOT / "pipeline/recipes", "pipeline/recipes")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    commands.main(["recipe", "cityscapes-1.5M", "--all", "--data-path", "/data/cityscapes"])
    capsys.readouterr()
    return tmp_path


@pytest.fixture
def estimated(published, capsys):
    def values(*options: str) -> dict:
        commands.main(["estimate", "--json", *options])
        return json.loads(capsys.readouterr().out)

    return values


def on(found: dict, devices: int, table: str = "same batch_size") -> dict:
    [row] = [row for row in found[table]["steps"] if row["devices"] == devices]
    return row


@pytest.fixture
def on_eight(published, estimated):
    def values(*options: str) -> tuple[float, list[float]]:
        """Milliseconds of a step on eight devices, and the hours of the three published runs."""
        hours = []
        file = published / "params.yaml"
        for epochs in (1300, 2700, 4000):
            file.write_text(recipes.edited(file.read_text(), {"epochs": epochs}))
            row = on(estimated(*options), 8)
            hours.append(row["hours"])
        return row["seconds"] * 1000, hours

    return values


def close_to_the_published(found_ms: float, hours: list[float]) -> bool:
    training = quoted.TRAINING["cityscapes"]
    speed = float(training["Speed"].split()[0])
    published = [42, 82, 125]
    assert (speed, training["Total time"]) == (589.757, f"{(*published,)} hours (8 devices)")
    pairs = [(found_ms, speed), *zip(hours, published, strict=True)]
    return all(abs(found - stated) < 0.1 * stated for found, stated in pairs)


@pytest.mark.parametrize(("latency", "is_close"), [(5, False), (9, True), (10, True), (13, True), (17, False)])
def test_published_run_of_eight_is_predicted_from_one_device(on_eight, latency, is_close):
    """Input: 440 ms of one device, links as assumed. Predicted: 589.757 ms and 42, 82, 125 hours.

    The latency decides; neither these figures nor the log of eight devices are input.
    """
    assert close_to_the_published(*on_eight("--latency-us", str(latency))) == is_close


def test_figures_of_one_device_are_those_of_the_quoted_log():
    log = [436.193, 437.694, 438.812, 439.012, 442.255, 441.514, 441.711, 440.745, 441.662]
    assert sum(log) / len(log) == pytest.approx(estimate.QUOTED_MS, abs=0.1)
    # 1487 whole batches of two, not of eight, are what 2975 images make.
    assert 2975 // estimate.QUOTED_IMAGES == 1487
    # The first epoch of eight devices, and the second.
    first, second = 1846.726, 102.844
    assert (first - second) / 60 == pytest.approx(estimate.QUOTED_START, abs=0.1)


def test_figures_of_the_pages_are_those_of_the_command(estimated, on_eight):
    text = (ROOT / "docs/tutorials/clusters.md").read_text().replace("\n", " ")
    step_ms, hours = on_eight()
    assert f"predicts {step_ms:.0f} ms per step on eight devices" in text
    assert "and {:.0f}, {:.0f} and {:.0f} hours".format(*hours) in text
    assert "limits scaling beyond 32 devices" in text
    assert "Stops scaling at 32 devices" in estimated()["same images per device"]["verdict"]


def test_batch_size_is_of_all_devices(estimated):
    found = estimated()
    shares = {row["devices"]: row["images_per_device"] for row in found["same batch_size"]["steps"]}
    assert shares == {1: 16, 2: 8, 4: 4, 8: 2, 16: 1}
    verdict = "Stops scaling at 16 devices: twice as many need another batch_size than 16."
    assert found["same batch_size"]["verdict"] == verdict
    same = found["same images per device"]["steps"]
    assert [row["devices"] for row in same] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert {row["images_per_device"] for row in same} == {2}
    assert on(found, 8) == on(found, 8, "same images per device") | {"efficiency": on(found, 8)["efficiency"]}


@pytest.mark.parametrize(
    ("options", "bound", "reason", "part"),
    [
        (["--node-latency-us", "1000"], "link", "the sums of batch norm", "sums"),
        (
            ["--samples-per-core", "0.05", "--cores-per-node", "100"],
            "data",
            "the CPUs of a node",
            "data",
        ),
        (["--node-link-gbps", "0.01"], "link", "the gradients take", "gradients"),
    ],
)
def test_reason_is_what_the_options_make_it(estimated, options, bound, reason, part):
    found = estimated(*options)
    verdict = found["same images per device"]["verdict"]
    assert reason in verdict
    devices, percent, ms = re.search(r"on (\d+), efficiency is (\d+)%, .* (\d+) ms", verdict).groups()
    step = on(found, int(devices), "same images per device")
    assert (percent, ms) == (f"{100 * step['efficiency']:.0f}", f"{1000 * step[part]:.0f}")
    assert on(found, 256, "same images per device")["bound"] == bound


def test_table_shows_the_numbers_of_the_json(estimated, capsys):
    found = estimated()
    commands.main(["estimate"])
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    for table in ("same batch_size", "same images per device"):
        for row in found[table]["steps"]:
            assert [
                str(row["devices"]),
                str(row["images_per_device"]),
                f"{1000 * row['seconds']:.1f}",
                f"{100 * row['efficiency']:.0f}%",
                f"{row['hours']:.1f}",
                row["bound"],
            ] in shown


def test_fast_links_scale_to_the_end(estimated):
    fast = ["--latency-us", "0.1", "--node-latency-us", "0.1"]
    verdict = estimated(*fast)["same images per device"]["verdict"]
    assert re.fullmatch(r"Still scales at 256 devices: .* 9\d%\.", verdict)


def test_measured_step_replaces_the_quoted_one(estimated):
    found = estimated("--step-ms", "300", "--step-images", "3")
    assert on(found, 1)["compute"] == pytest.approx(16 * 0.1)


def test_table_says_that_it_is_estimated_and_what_is_assumed(published, capsys):
    commands.main(["estimate"])
    text = capsys.readouterr().out
    assert text.startswith("Estimated, not measured: training for 4,000 epochs at crop 769")
    for part in (
        "assumed: 240 Gb/s and 10 µs per hop within a node, 100 Gb/s and 30 µs between nodes",
        "a node: 8 devices, 192 cores that prepare 6.5 samples/s each",
        "240 batch norms over devices",
        "estimated, the same batch_size on all:",
        "estimated, the same images per device on all:",
    ):
        assert part in text
    assert re.search(r"\n +32 +– +– +– +– +batch_size\n", text)


def test_hours_are_of_the_images_that_are_expected_where_there_are_none(published, estimated):
    file = published / "params.yaml"
    whole = on(estimated(), 8)["hours"]
    own = write_dataset(published / "own.yaml", expect={"train": 304})
    file.write_text(recipes.edited(file.read_text(), {"dataset": own}))
    start = 29 / 60
    # 19 steps per epoch instead of 186, after the same start.
    assert on(estimated(), 8)["hours"] - start == pytest.approx((whole - start) * 19 / 186)


def test_batch_norm_of_one_device_needs_two_images(published, estimated):
    text = (published / "params.yaml").read_text()
    (published / "params.yaml").write_text(text.replace("parallel: true", "parallel: false"))
    steps = estimated()["same batch_size"]["steps"]
    assert [row["devices"] for row in steps] == [1, 2, 4, 8]
    assert {row["sums"] for row in steps} == {0}


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "fast"])
def test_impossible_speed_is_refused(value, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.parser().parse_args(["estimate", f"--link-gbps={value}"])
    assert "--link-gbps: invalid positive number value" in capsys.readouterr().err


def test_images_without_a_step_are_refused(published):
    arguments = commands.parser().parse_args(["estimate", "--step-images", "2"])
    with pytest.raises(AdlError, match="--step-images"):
        arguments.run(arguments)
