"""Every check, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from adl import preflight
from adl.doctor import Case, Skipped, machine, project, software
from adl.errors import AdlError, Caution


class Result(NamedTuple):
    """What a check says. subject: a word or two. text: one line. advice: what to do; empty if ok."""

    subject: str
    status: Literal["ok", "warning", "problem"]
    text: str
    advice: str = ""


CHECKS: Mapping[str, Callable[[Case], str | None]] = {
    "python": software.python,
    "mindspore": software.mindspore,
    "packages": software.packages,
    "CANN": software.cann,
    "driver": software.driver,
    "environment": software.launcher,
    "oneDNN": software.onednn,
    "devices": machine.devices,
    "cores": machine.cores,
    "memory": machine.memory,
    "disk": machine.disk,
    "port": machine.port,
    "git": project.git,
    "DVC": project.dvc,
    "parameters": project.parameters,
    "export": lambda case: preflight.check_export(case.params),
    "ckpt_name": project.start_weights,
    "data": project.data,
    "records": project.records,
    "training": project.training,
}
"""Subject → check, in the order in which one failing explains the next."""


def run(case: Case, checks: Mapping[str, Callable[[Case], str | None]] = CHECKS) -> Iterator[Result]:
    """The result of each check. One that fails itself is a problem too: nobody knows what it would have found."""
    for subject, check in checks.items():
        advice = ""
        status: Literal["ok", "warning", "problem"] = "problem"
        try:
            text = check(case)
            status = "ok"
        except Skipped:
            continue
        except AdlError as error:
            text = error.place_and_problem
            advice = error.remedy or "Correct what this says."
            if isinstance(error, Caution):
                status = "warning"
        except Exception as error:
            text = f"could not be checked ({type(error).__name__}: {error})"
            advice = "Check it by hand."
        if text:
            yield Result(subject, status, " ".join(text.split()), advice)
