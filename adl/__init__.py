"""Auto-DeepLab on MindSpore: everything that the pipeline's stages call."""

import importlib
from types import ModuleType

from adl import (
    runtime as runtime,
)  # first, because it has to set a variable before mindspore is imported

_ENTRY_POINTS = {
    "checkpoint": "adl.network.checkpoint",
    "loss": "adl.training.loss",
    "schedule": "adl.training.schedule",
}
"""Short names under which other programs know a module: `adl.checkpoint.load`."""


def __getattr__(name: str) -> ModuleType:
    if name in _ENTRY_POINTS:
        return importlib.import_module(_ENTRY_POINTS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
