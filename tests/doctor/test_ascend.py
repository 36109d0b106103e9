"""On trees laid out as CANN and its driver leave them."""

from __future__ import annotations

import pytest

from adl.doctor import software
from tests.doctor.conftest import result

OLD = "usr/local/Ascend/ascend-toolkit/latest/x86_64-linux/ascend_toolkit_install.info"
NEW = "usr/local/Ascend/cann/aarch64-linux/ascend_toolkit_install.info"
DRIVER = "usr/local/Ascend/driver/version.info"


@pytest.fixture
def ascend_case(case, monkeypatch):
    monkeypatch.setattr(software, "version_of", {"mindspore": "2.10.0"}.get)
    return case(device_target="Ascend", environment={})


def test_machine_without_ascend_says_nothing(case):
    assert result(software.cann, case(environment={})) is None
    assert result(software.driver, case(environment={})) is None


def test_devices_are_reason_enough_to_look(case, write):
    write("dev/davinci_manager", "")
    assert result(software.driver, case()) is None
    write("dev/davinci0", "")
    assert result(software.driver, case()).status == "problem"


def test_without_cann_or_driver_each_is_a_problem_that_names_its_place(ascend_case):
    for check in (software.cann, software.driver):
        found = result(check, ascend_case)
        assert found.status == "problem"
        assert "usr/local/Ascend" in found.text


@pytest.mark.parametrize("name", [OLD, NEW])
@pytest.mark.parametrize(("version", "status"), [("8.3.RC1", "ok"), ("9.0.0", "ok"), ("8.0.RC3", "problem")])
def test_cann_that_mindspore_does_not_accept_is_a_problem(ascend_case, write, name, version, status):
    write(name, f"package_name=Ascend-cann-toolkit\nversion={version}\n")
    found = result(software.cann, ascend_case)
    assert found.status == status
    assert f"CANN {version}" in found.text
    assert (status == "problem") == ("accepts 8.2, 8.3" in found.text)


def test_nothing_is_claimed_of_a_mindspore_that_is_not_in_the_table(ascend_case, write, monkeypatch):
    write(NEW, "version=9.0.0\n")
    monkeypatch.setattr(software, "version_of", lambda package: "2.11.0")
    found = result(software.cann, ascend_case)
    assert found.status == "warning"
    assert "not known to fit" in found.text


def test_cann_in_use_comes_before_one_that_is_only_installed(case, write, ascend_case):
    write(OLD, "version=8.0.RC3\n")
    used = write("opt/cann/compiler/version.info", "Version=8.5.0.1\n").parents[1]
    environment = {"ASCEND_HOME_PATH": str(used)}
    found = result(software.cann, case(device_target="Ascend", environment=environment))
    assert (found.status, found.text.split(",")[0]) == ("ok", "CANN 8.5.0.1")


@pytest.mark.parametrize(
    ("cann", "driver", "status"),
    [("8.3.RC1", "25.3.RC1", "ok"), ("8.3.RC1", "24.1.0", "warning"), ("9.1.0", "26.1", "warning")],
)
def test_driver_is_held_against_the_documented_one(ascend_case, write, cann, driver, status):
    write(NEW, f"version={cann}\n")
    write(DRIVER, f"Version={driver}\nascendhal_version=7.35\n")
    found = result(software.driver, ascend_case)
    assert found.status == status
    assert f"driver {driver}" in found.text
    assert ("25.3" in found.advice) == (driver == "24.1.0")
    assert ("it: none." in found.advice) == (cann == "9.1.0")
