"""Is this machine, with the present parameters, one on which the pipeline can run?

A check is a function of the case. It returns what is well in one line, or None if there is nothing to say; it raises
AdlError for what is wrong, Caution for what may go wrong, and Skipped where it does not concern the case.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

from adl.architecture import Architecture
from adl.config import params
from adl.config.params import Params
from adl.errors import AdlError

DEVICES = Path("/dev")


class Skipped(Exception):  # noqa: N818 (as unittest.SkipTest: no error)
    """The check does not concern this case."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What is checked: this machine and the workspace in the current folder.

    environment: of a process of the pipeline.
    """

    environment: Mapping[str, str]

    @functools.cached_property
    def params(self) -> Params:
        """Raises Skipped without valid ones, which a check of its own reports."""
        try:
            return valid_params()
        except AdlError:
            raise Skipped from None


def valid_params() -> Params:
    """Those of params.yaml, whose architecture can be read. Raises AdlError."""
    p = params.load()
    Architecture.from_params(p)
    return p


def text_of(path: Path) -> str:
    """What a file of the machine says; empty if there is none."""
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
