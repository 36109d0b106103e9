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
from adl.launch.environment import inherited

PROJECT = "auto-deeplab"
INSTALL = "`make environment` installs the versions that were tried together."
LONGEST_IMPORT = 120.0
"""Seconds that the import of MindSpore may take: a few are usual, but not from a slow disk."""

CANN_OF = {"2.10": ("8.2", "8.3", "8.5", "9.0", "9.1")}
"""MindSpore → CANN that it accepts: AscendEnvChecker of mindspore/run_check/_check_version.py, 2.10.0."""
DRIVER_OF = {"8.2": "25.2", "8.3": "25.3", "8.5": "25.5", "9.0": "26.0"}
"""CANN → driver: https://www.mindspore.cn/mindformers/docs/en/r1.9.0/installation.html, version matching."""
ASCEND = Path("/usr/local/Ascend")
_PAGE = "https://www.mindspore.cn/install lists what fits."


def python(case: Case) -> str:
    version = platform.python_version()
    wanted = metadata.metadata(PROJECT)["Requires-Python"] if version_of(PROJECT) else ""
    if version not in SpecifierSet(wanted):
        raise AdlError(
            f"Python {version}, but {wanted} is needed",
            "MindSpore has no build for it. Install another one and run `make environment`.",
        )
    return f"Python {version}"


def mindspore(case: Case) -> str:
    """Imported by a process of its own, because a broken one may crash or hang, and ours needs none."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import mindspore; print(mindspore.__version__)"],
            env=case.environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=LONGEST_IMPORT,
        )
    except subprocess.TimeoutExpired:
        raise AdlError(f"MindSpore cannot be imported: nothing happened in {LONGEST_IMPORT:.0f} s", INSTALL) from None
    if done.returncode:
        *_, reason = [f"exit code {done.returncode}", *done.stderr.strip().splitlines()]
        if done.returncode < 0:
            reason = f"it crashes ({signal.Signals(-done.returncode).name})"
        raise AdlError(f"MindSpore cannot be imported: {reason}", INSTALL)
    version = done.stdout.split()[-1]
    needed = requirements().get("mindspore", SpecifierSet())
    if not needed.contains(version, prereleases=True):
        raise AdlError(f"MindSpore {version}, but {needed} is needed", INSTALL)
    return f"MindSpore {version}"


def packages(case: Case) -> str:
    """All that pyproject.toml asks for, but MindSpore."""
    wanted = requirements()
    if not wanted:
        raise Caution("the project is not installed, so it is not known which versions it needs", INSTALL)
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
    return f"numpy {version_of('numpy')}, dvc {version_of('dvc')} and {len(wanted) - 2} others, as required"


def requirements() -> dict[str, SpecifierSet]:
    """Package → the versions that pyproject.toml accepts on this machine; empty if the project is not installed."""
    lines = metadata.requires(PROJECT) if version_of(PROJECT) else None
    return {
        requirement.name: requirement.specifier
        for requirement in map(Requirement, lines or ())
        if requirement.marker is None or requirement.marker.evaluate()
    }


def version_of(package: str) -> str:
    """Of an installed package, which need not be importable; empty: there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def cann(case: Case) -> str:
    found = cann_version(case)
    if not found:
        raise AdlError(f"no CANN found in {ASCEND}", f"Install it, and source its set_env.sh. {_PAGE}")
    with_mindspore = version_of("mindspore")
    accepted = CANN_OF.get(series(with_mindspore), ())
    if series(found) in accepted:
        return f"CANN {found}, which MindSpore {with_mindspore} accepts"
    if accepted:
        raise AdlError(
            f"CANN {found}: MindSpore {with_mindspore} accepts {', '.join(accepted)}",
            f"Install one of these. {_PAGE}",
        )
    raise Caution(f"CANN {found}: not known to fit MindSpore {with_mindspore or '(none)'}", _PAGE)


def cann_version(case: Case) -> str:
    """Of the CANN in use, or else of one that is installed; where MindSpore looks too. Empty: there is none.

    It is installed in one of two folders, as https://www.hiascend.com/document describes in "Querying the Software
    Package Version": the first up to 8.3, the second from 8.5 on. Raises Skipped if there are no Ascend devices, and
    none are wanted.
    """
    if not any(DEVICES.glob("davinci[0-9]*")) and case.params.device_target != "Ascend":
        raise Skipped
    installed = ASCEND / "ascend-toolkit/latest"
    in_use = case.environment.get("ASCEND_HOME_PATH") or installed
    files = []
    for home in (Path(in_use), installed, ASCEND / "cann"):
        files.append(home / "compiler/version.info")
        files += sorted(home.glob("*-linux/ascend_toolkit_install.info"))
    return version_in(*files)


def driver(case: Case) -> str:
    with_cann = cann_version(case)
    folder = ASCEND / "driver"
    found = version_in(folder / "version.info")
    if not found:
        raise AdlError(f"no driver found in {folder}", "Install the driver and firmware of the devices.")
    documented = DRIVER_OF.get(series(with_cann), "none")
    if series(found) != documented:
        raise Caution(
            f"driver {found}: not known to fit CANN {with_cann or '(none)'}",
            f"Documented with it: {documented}. {_PAGE}",
        )
    return f"driver {found}, documented with CANN {with_cann}"


def version_in(*files: Path) -> str:
    """What the first line `version=…` of some files says; empty if there is none."""
    lines = "\n".join(map(text_of, files))
    stated = re.search(r"(?im)^version\s*=\s*(\S+)", lines)
    return stated[1] if stated else ""


def series(version: str) -> str:
    """8.2 of 8.2.RC1."""
    return ".".join(version.split(".")[:2])


def launcher(case: Case) -> str:
    """Variables of another launcher, which all but training's workers inherit (`environment.child_environment`)."""
    left = inherited()
    if not left:
        return "no variables of another launcher"
    text = ", ".join(f"{name}={value}" for name, value in left.items())
    text += ": left by another launcher"
    remedy = (
        f"`unset {' '.join(left)}`: training's workers are started without, but other stages and commands inherit it."
    )
    if "MS_ROLE" in left:
        raise AdlError(f"{text}; a process that joins a cluster would take this role and wait", remedy)
    raise Caution(text, remedy)


def onednn(case: Case) -> str:
    """The instructions that MindSpore's oneDNN may use; adl/device.py says why they are limited."""
    name = "ONEDNN_MAX_CPU_ISA"
    limit = case.environment.get(name, "DEFAULT").upper()
    if "AVX512_CORE" in device.instruction_sets() and limit.startswith(("DEFAULT", "ALL", "AVX512", "AVX10")):
        raise Caution(
            f"{name}={limit}: on this CPU with AVX-512, convolutions take 45 to 70 times as long",
            f"`unset {name}`: the project then sets AVX2.",
        )
    return f"{name}={limit}: no slow convolutions of AVX-512 on this CPU"
