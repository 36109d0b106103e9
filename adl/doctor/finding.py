"""What a check says, and of what it says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from adl.dataset.descriptor import DatasetDescriptor
from adl.params import Params

Status = Literal["ok", "warning", "fault"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """subject: a word or two. text: one line, as a person would write it. advice: what to do; empty if ok."""

    subject: str
    status: Status
    text: str
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """What is examined: this machine and the workspace in the current folder.

    params: None if params.yaml is not valid. environment: what a process of the pipeline finds. inherited: what
    another launcher left in ours. root: where the machine's own files begin.
    """

    params: Params | None
    dataset: DatasetDescriptor
    environment: Mapping[str, str]
    inherited: Mapping[str, str] = dataclasses.field(default_factory=dict)
    root: Path = Path("/")


Check = Callable[[Case], Finding | None]
"""None: it does not concern this case."""


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, "ok", text)


def warning(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, "warning", text, advice)


def fault(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, "fault", text, advice)
