"""Which versions are installed, of Python packages, CANN and the driver, and whether they fit each other."""

from __future__ import annotations

import platform
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from adl import device
from adl.console.text import listing
from adl.doctor import DEVICES, Case, Skipped, text_of
from adl.errors import AdlError, Caution

PROJECT = "auto-deeplab"
INSTALL = "`make environment` installs the versions that were tried together."
_IMPORT = "import mindspore; print(mindspore.__version__)"
LONGEST_IMPORT = 120.0
"""Seconds that the import of MindSpore may take: a few are usual, but not from a slow disk."""

CANN_OF = {"2.10": ("8.2", "8.3", "8.5", "9.0", "9.1")}
"""MindSpore → CANN that it accepts: AscendEnvChecker of mindspore/run_check/_check_version.py, 2.10.0."""
DRIVER_OF = {"8.2": "25.2", "8.3": "25.3", "8.5": "25.5", "9.0": "26.0"}
"""CANN → driver: https://www.mindspore.cn/mindformers/docs/en/r1.9.0/installation.html, version matching."""
ASCEND = Path("/usr/local/Ascend")
_INFO = "*-linux/ascend_toolkit_install.info"
_PAGE = "https://www.mindspore.cn/install lists what fits."


def python(case: Case) -> str:
    version = platform.python_version()
    wanted = metadata.metadata(PROJECT)["Requires-Python"] if version_of(PROJECT) else ""
    if version not in SpecifierSet(wanted):
        raise AdlError(
            f"Python {version}, but {wanted} is needed",
            f"MindSpore has no build for it. Install another one and run `make environment` (needed: {wanted}).",
        )
    return f"Python {version}"


def mindspore(case: Case) -> str:
    """Imported by a process of its own, because a broken one may crash or hang, and ours needs none."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            env=case.environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LONGEST_IMPORT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AdlError(
            f"MindSpore cannot be imported: nothing happened in {LONGEST_IMPORT:.0f} s",
            f"Install it again: {INSTALL}",
        ) from None
    if done.returncode != 0:
        reason = _reason(done.returncode, done.stderr)
        raise AdlError(f"MindSpore cannot be imported: {reason}", INSTALL)
    version = done.stdout.split()[-1]
    needed = requirements().get("mindspore", SpecifierSet())
    if not needed.contains(version, prereleases=True):
        raise AdlError(f"MindSpore {version}, but {needed} is needed", INSTALL)
    return f"MindSpore {version}"


def _reason(exit_code: int, errors: str) -> str:
    """Why a process of Python failed: its last line, or the signal that ended it."""
    if exit_code < 0:
        return f"it crashes ({signal.Signals(-exit_code).name})"
    lines = errors.strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {exit_code}"


def packages(case: Case) -> str:
    """All that pyproject.toml asks for, but MindSpore."""
    wanted = requirements()
    if not wanted:
        raise Caution(
            "the project is not installed, so it is not known which versions it needs", INSTALL
        )
    wanted.pop("mindspore", None)
    wrong = []
    for name, needed in wanted.items():
        version = version_of(name)
        if not version:
            wrong.append(f"{name} is missing")
        elif not needed.contains(version, prereleases=True):
            wrong.append(f"{name} {version} is not {needed}")
    if wrong:
        raise AdlError(listing(wrong, 4), INSTALL)
    others = len(wanted) - 2
    return f"numpy {version_of('numpy')}, dvc {version_of('dvc')} and {others} others, as required"


def requirements() -> dict[str, SpecifierSet]:
    """Package → the versions that pyproject.toml accepts on this machine; empty if the project is not installed."""
    needed = {}
    if version_of(PROJECT):
        for line in metadata.requires(PROJECT) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                needed[requirement.name] = requirement.specifier
    return needed


def version_of(package: str) -> str:
    """Of an installed package, which need not be importable; empty: there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def cann(case: Case) -> str:
    found = cann_version(case)
    if not found:
        raise AdlError(
            f"no CANN found in {ASCEND}", f"Install it, and source its set_env.sh. {_PAGE}"
        )
    with_mindspore = version_of("mindspore")
    accepted = CANN_OF.get(series(with_mindspore))
    if accepted is None:
        raise Caution(
            f"CANN {found}: not known to fit MindSpore {with_mindspore or '(none)'}", _PAGE
        )
    if series(found) not in accepted:
        raise AdlError(
            f"CANN {found}: MindSpore {with_mindspore} accepts {', '.join(accepted)}",
            f"Install one of these. {_PAGE}",
        )
    return f"CANN {found}, which MindSpore {with_mindspore} accepts"


def cann_version(case: Case) -> str:
    """Of the CANN in use, or else of one that is installed; where MindSpore looks too. Empty: there is none.

    It is installed in one of two folders, as https://www.hiascend.com/document describes in "Querying the Software
    Package Version": the first up to 8.3, the second from 8.5 on. Raises Skipped if there are no Ascend devices, and
    none are wanted.
    """
    has_devices = any(DEVICES.glob("davinci[0-9]*"))
    if not has_devices and case.params.device_target != "Ascend":
        raise Skipped
    installed = ASCEND / "ascend-toolkit/latest"
    in_use = Path(case.environment.get("ASCEND_HOME_PATH") or installed)
    for home in (in_use, installed, ASCEND / "cann"):
        for file in (home / "compiler/version.info", *sorted(home.glob(_INFO))):
            if version := version_in(file):
                return version
    return ""


def driver(case: Case) -> str:
    with_cann = cann_version(case)
    folder = ASCEND / "driver"
    found = version_in(folder / "version.info")
    if not found:
        raise AdlError(
            f"no driver found in {folder}", "Install the driver and firmware of the devices."
        )
    documented = DRIVER_OF.get(series(with_cann))
    if series(found) != documented:
        advice = f"Documented with it is {documented}. {_PAGE}" if documented else _PAGE
        raise Caution(f"driver {found}: not known to fit CANN {with_cann or '(none)'}", advice)
    return f"driver {found}, documented with CANN {with_cann}"


def version_in(path: Path) -> str:
    """What a line `version=…` says; empty if there is no such file or line."""
    stated = re.search(r"^version\s*=\s*(\S+)", text_of(path), re.MULTILINE | re.IGNORECASE)
    return stated[1] if stated else ""


def series(version: str) -> str:
    """8.2 of 8.2.RC1."""
    return ".".join(version.split(".")[:2])


def launcher(case: Case) -> str:
    """Variables of another launcher, which all but training's workers inherit (`environment.child_environment`)."""
    if not case.inherited:
        return "no variables of another launcher"
    text = ", ".join(f"{name}={value}" for name, value in case.inherited.items())
    remedy = (
        f"`unset {' '.join(case.inherited)}`: training's workers are started without, but other stages and commands "
        "inherit it."
    )
    if "MS_ROLE" in case.inherited:
        joins = "a process that joins a cluster would take this role and wait"
        raise AdlError(f"{text}: left by another launcher; {joins}", remedy)
    raise Caution(f"{text}: left by another launcher", remedy)


def onednn(case: Case) -> str:
    """The instructions that MindSpore's oneDNN may use; adl/device.py says why they are limited."""
    name = "ONEDNN_MAX_CPU_ISA"
    limit = case.environment.get(name, "DEFAULT").upper()
    if "AVX512_CORE" not in device.instruction_sets():
        return f"{name}={limit}; this CPU has no AVX-512, which would be slow"
    if limit in ("DEFAULT", "ALL") or limit.startswith(("AVX512", "AVX10")):
        raise Caution(
            f"{name}={limit}: on this CPU with AVX-512, convolutions take 45 to 70 times as long",
            f"`unset {name}`: the project then sets AVX2.",
        )
    return f"{name}={limit}, which avoids the slow convolutions of AVX-512"
