"""Is this machine, with the present parameters, one on which the pipeline can run?

A check is a function of the case. It returns what is well in one line, or None if there is nothing to say; it raises
AdlError for what is wrong, Caution for what may go wrong, and Skipped where it does not concern the case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from adl.config.params import Params
from adl.dataset.descriptor import DatasetDescriptor

DEVICES = Path("/dev")


class Skipped(Exception):  # noqa: N818 (as unittest.SkipTest: no error)
    """The check does not concern this case."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What is checked: this machine and the workspace in the current folder.

    valid_params: None if params.yaml is not valid. environment: of a process of the pipeline. inherited: what another
    launcher left in ours.
    """

    valid_params: Params | None
    dataset: DatasetDescriptor
    environment: Mapping[str, str]
    inherited: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def params(self) -> Params:
        """Raises Skipped without valid ones, which a check of its own reports."""
        if self.valid_params is None:
            raise Skipped
        return self.valid_params


def text_of(path: Path) -> str:
    """What a file of the machine says; empty if there is none."""
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else ""
