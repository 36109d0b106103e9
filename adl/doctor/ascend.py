"""CANN and the driver of Ascend devices, and whether they fit MindSpore."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from adl.doctor.finding import Case, Finding, fault, ok, warning

CANN_OF = {"2.10": ("8.2", "8.3", "8.5", "9.0", "9.1")}
"""MindSpore → CANN that it accepts: AscendEnvChecker of mindspore/run_check/_check_version.py, 2.10.0."""
DRIVER_OF = {"8.2": "25.2", "8.3": "25.3", "8.5": "25.5", "9.0": "26.0"}
"""CANN → driver: https://www.mindspore.cn/mindformers/docs/en/r1.9.0/installation.html, version matching."""

INSTALLED = Path("usr/local/Ascend")
# As https://www.hiascend.com/document describes `Querying the Software Package Version`, up to 8.3 and from 8.5 on.
_TOOLKIT = ("ascend-toolkit/latest/*-linux", "cann/*-linux")
_INFO = "ascend_toolkit_install.info"
_PAGE = "https://www.mindspore.cn/install lists what fits."


def concerns(case: Case) -> bool:
    """Are there Ascend devices, or are they wanted?"""
    wanted = case.params is not None and case.params.device_target == "Ascend"
    return wanted or any((case.root / "dev").glob("davinci[0-9]*"))


def cann(case: Case) -> Finding | None:
    if not concerns(case):
        return None
    files = cann_files(case)
    found = next((version for path in files if (version := version_in(path))), None)
    if found is None:
        text = f"no CANN found in {case.root / INSTALLED}"
        return fault("CANN", text, f"Install it, and source its set_env.sh. {_PAGE}")
    with_mindspore = mindspore_version()
    accepted = CANN_OF.get(series(with_mindspore), ())
    if series(found) in accepted:
        return ok("CANN", f"CANN {found}, which MindSpore {with_mindspore} accepts")
    if not accepted:
        text = f"CANN {found}: not known to fit MindSpore {with_mindspore or '(none)'}"
        return warning("CANN", text, _PAGE)
    text = f"CANN {found}: MindSpore {with_mindspore} accepts {', '.join(accepted)}"
    return fault("CANN", text, f"Install one of these. {_PAGE}")


def driver(case: Case) -> Finding | None:
    if not concerns(case):
        return None
    found = version_in(case.root / INSTALLED / "driver/version.info")
    if found is None:
        text = f"no driver found in {case.root / INSTALLED / 'driver'}"
        return fault("driver", text, "Install the driver and firmware of the devices.")
    versions = [version_in(path) for path in cann_files(case)]
    with_cann = next((version for version in versions if version), "")
    documented = DRIVER_OF.get(series(with_cann))
    if series(found) == documented:
        return ok("driver", f"driver {found}, documented with CANN {with_cann}")
    text = f"driver {found}: not known to fit CANN {with_cann or '(none)'}"
    advice = f"Documented with it is {documented}. {_PAGE}" if documented else _PAGE
    return warning("driver", text, advice)


def cann_files(case: Case) -> list[Path]:
    """Where CANN says its version, the one in use first; MindSpore reads it there too."""
    in_use = case.environment.get("ASCEND_HOME_PATH")
    files = [Path(in_use) / "compiler/version.info"] if in_use else []
    homes = [Path(in_use)] if in_use else []
    for home in homes:
        files += sorted(home.glob(f"*-linux/{_INFO}"))
    for pattern in _TOOLKIT:
        files += sorted((case.root / INSTALLED).glob(f"{pattern}/{_INFO}"))
    return files


def version_in(path: Path) -> str | None:
    """What a line `version=…` says; None if there is no such file or line."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    stated = re.search(r"^version\s*=\s*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return stated[1] if stated else None


def series(version: str) -> str:
    """8.2 of 8.2.RC1."""
    return ".".join(version.split(".")[:2])


def mindspore_version() -> str:
    """Of the installed one, which need not be importable; empty: none."""
    try:
        return metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        return ""
