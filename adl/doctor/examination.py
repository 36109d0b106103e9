"""Every check, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from adl.console.text import counted
from adl.dataset.descriptor import DatasetDescriptor
from adl.doctor import ascend, machine, project, software
from adl.doctor.finding import Case, Check, Finding, fault
from adl.errors import AdlError
from adl.launch.environment import child_environment, inherited

CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", software.python),
    ("mindspore", software.mindspore),
    ("packages", software.packages),
    ("CANN", ascend.cann),
    ("driver", ascend.driver),
    ("environment", software.launcher),
    ("oneDNN", software.onednn),
    ("devices", machine.devices),
    ("cores", machine.cores),
    ("memory", machine.memory),
    ("disk", machine.disk),
    ("port", machine.port),
    ("git", project.git),
    ("DVC", project.dvc),
    ("parameters", project.parameters),
    ("data", project.data),
    ("records", project.records),
    ("training", project.training),
)
"""(subject, check), in the order in which one failing explains the next."""
MARKS = {"ok": "ok", "warning": "warn", "fault": "FAULT"}


def present(dataset: DatasetDescriptor) -> Case:
    """This machine, and the workspace in the current folder."""
    try:
        p = project.present_params()
    except AdlError:
        p = None  # a check of its own says what is wrong
    return Case(p, dataset, child_environment({}), inherited())


def examine(case: Case, checks: Sequence[tuple[str, Check]] = CHECKS) -> Iterator[Finding]:
    """What each check finds. One that fails itself is a fault too: nobody knows what it would have found."""
    for subject, check in checks:
        try:
            finding = check(case)
        except AdlError as error:
            finding = fault(subject, " ".join(str(error).split()), "Mend what this says.")
        except Exception as error:
            text = f"could not be checked ({type(error).__name__}: {error})"
            finding = fault(subject, " ".join(text.split()), "Check it by hand.")
        if finding is not None:
            yield finding


def summary(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each status."""
    return {status: sum(each.status == status for each in findings) for status in MARKS}


def line(finding: Finding) -> str:
    """As text, the advice below."""
    first = f"{MARKS[finding.status]:<5}  {finding.subject:<11}  {finding.text}"
    return f"{first}\n{'':20}{finding.advice}" if finding.advice else first


def last_line(findings: Sequence[Finding]) -> str:
    counts = summary(findings)
    if not counts["fault"] and not counts["warning"]:
        return "Nothing is wrong."
    return f"{counted(counts['fault'], 'fault')}, {counted(counts['warning'], 'warning')}."


def to_json(findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "summary": summary(findings),
    }
