"""Which versions are installed, and whether this project works with them."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from adl.console.text import listing
from adl.doctor.finding import Case, Finding, fault, ok, warning

PROJECT = "auto-deeplab"
INSTALL = "`make environment` installs the versions that were tried together."
_IMPORT = "import mindspore; print(mindspore.__version__)"
PATIENCE = 120.0
"""Seconds that the import of MindSpore may take: a few are usual, but not from a slow disk."""


def python(case: Case) -> Finding:
    version = platform.python_version()
    wanted = metadata.metadata(PROJECT)["Requires-Python"] if _is_installed(PROJECT) else ""
    if version in SpecifierSet(wanted):
        return ok("python", f"Python {version}")
    advice = f"MindSpore has no build for it. Install another one and run `make environment` (needed: {wanted})."
    return fault("python", f"Python {version}, but {wanted} is needed", advice)


def mindspore(case: Case) -> Finding:
    """Imported by a process of its own, because a broken one may crash or hang, and ours needs none."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            env=dict(case.environment),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"MindSpore cannot be imported: nothing happened in {PATIENCE:.0f} s"
        return fault("mindspore", text, f"Install it again: {INSTALL}")
    if done.returncode != 0:
        reason = _reason(done.returncode, done.stderr)
        return fault("mindspore", f"MindSpore cannot be imported: {reason}", INSTALL)
    version = done.stdout.split()[-1]
    wanted = [each for each in requirements() if each.name == "mindspore"]
    if any(not each.specifier.contains(version, prereleases=True) for each in wanted):
        text = f"MindSpore {version}, but {wanted[0].specifier} is needed"
        return fault("mindspore", text, INSTALL)
    return ok("mindspore", f"MindSpore {version}")


def _reason(exit_code: int, errors: str) -> str:
    """Why a process of Python failed: its last line, or the signal that ended it."""
    if exit_code < 0:
        return f"it crashes ({signal.Signals(-exit_code).name})"
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exit code {exit_code}"


def packages(case: Case) -> Finding:
    """All that pyproject.toml asks for, but MindSpore."""
    wanted = [each for each in requirements() if each.name != "mindspore"]
    if not wanted:
        text = "the project is not installed, so it is not known which versions it needs"
        return warning("packages", text, INSTALL)
    wrong = unfit(wanted)
    if wrong:
        return fault("packages", listing(wrong, 4), INSTALL)
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "dvc"))
    return ok("packages", f"{shown} and {len(wanted) - 2} others, as required")


def unfit(wanted: Sequence[Requirement]) -> list[str]:
    """What is missing or has another version than is needed, in words."""
    wrong = []
    for each in wanted:
        if not _is_installed(each.name):
            wrong.append(f"{each.name} is missing")
        elif not each.specifier.contains(metadata.version(each.name), prereleases=True):
            wrong.append(f"{each.name} {metadata.version(each.name)} is not {each.specifier}")
    return wrong


def requirements() -> list[Requirement]:
    """Those of pyproject.toml, as they were installed, for this machine."""
    if not _is_installed(PROJECT):
        return []
    stated = [Requirement(line) for line in metadata.requires(PROJECT) or []]
    return [each for each in stated if each.marker is None or each.marker.evaluate()]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def onednn(case: Case) -> Finding:
    """The instructions that MindSpore's oneDNN may use; adl/runtime.py says why they are limited."""
    name = "ONEDNN_MAX_CPU_ISA"
    limit = case.environment.get(name, "DEFAULT").upper()
    flags = case.root / "proc/cpuinfo"
    has_avx512 = flags.exists() and "avx512f" in flags.read_text(encoding="utf-8").split()
    if not has_avx512:
        return ok("oneDNN", f"{name}={limit}; this CPU has no AVX-512, which would be slow")
    if limit in ("DEFAULT", "ALL") or limit.startswith(("AVX512", "AVX10")):
        text = f"{name}={limit}: on this CPU with AVX-512, convolutions take 45 to 70 times as long"
        return warning("oneDNN", text, f"`unset {name}`: the project then sets AVX2.")
    return ok("oneDNN", f"{name}={limit}, which avoids the slow convolutions of AVX-512")


def launcher(case: Case) -> Finding:
    """Variables of another launcher, which all but training's workers inherit (`environment.child_environment`)."""
    if not case.inherited:
        return ok("environment", "no variables of another launcher")
    names = " ".join(case.inherited)
    text = ", ".join(f"{name}={value}" for name, value in case.inherited.items())
    advice = f"`unset {names}`: training's workers are started without, but other stages and commands inherit it."
    if "MS_ROLE" in case.inherited:
        text += ": left by another launcher; a process that joins a cluster would take this role and wait"
        return fault("environment", text, advice)
    return warning("environment", f"{text}: left by another launcher", advice)
