"""Every check, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from adl import preflight
from adl.dataset.descriptor import DatasetDescriptor
from adl.doctor import Case, Skipped, machine, project, software
from adl.errors import AdlError, Caution
from adl.launch.environment import child_environment, inherited


@dataclasses.dataclass(frozen=True)
class Result:
    """What a check says. subject: a word or two. text: one line. advice: what to do; empty if ok."""

    subject: str
    status: Literal["ok", "warning", "fault"]
    text: str
    advice: str = ""


Check = Callable[[Case], str | None]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", software.python),
    ("mindspore", software.mindspore),
    ("packages", software.packages),
    ("CANN", software.cann),
    ("driver", software.driver),
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
    ("export", lambda case: preflight.check_export(case.params)),
    ("ckpt_name", project.start_weights),
    ("data", project.data),
    ("records", project.records),
    ("training", project.training),
)
"""(subject, check), in the order in which one failing explains the next."""


def present(dataset: DatasetDescriptor) -> Case:
    """This machine, and the workspace in the current folder."""
    try:
        p = project.valid_params()
    except AdlError:
        p = None  # a check of its own says what is wrong
    return Case(p, dataset, child_environment({}), inherited())


def run(case: Case, checks: Sequence[tuple[str, Check]] = CHECKS) -> Iterator[Result]:
    """The result of each check. One that fails itself is a fault too: nobody knows what it would have found."""
    for subject, check in checks:
        try:
            text = check(case)
        except Skipped:
            continue
        except Caution as caution:
            yield Result(subject, "warning", caution.place_and_problem, caution.remedy)
        except AdlError as error:
            remedy = error.remedy or "Correct what this says."
            yield Result(subject, "fault", " ".join(error.place_and_problem.split()), remedy)
        except Exception as error:
            text = f"could not be checked ({type(error).__name__}: {error})"
            yield Result(subject, "fault", " ".join(text.split()), "Check it by hand.")
        else:
            if text:
                yield Result(subject, "ok", text)


def counts(results: Sequence[Result]) -> dict[str, int]:
    """How many results there are of each status."""
    statuses = [result.status for result in results]
    return {status: statuses.count(status) for status in ("ok", "warning", "fault")}
