"""Auto-DeepLab on MindSpore: everything that the pipeline's stages call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

# First of all modules, because it sets a variable before mindspore can be imported.
from adl import device as device

if TYPE_CHECKING:
    from adl.config.params import Params
    from adl.predict.model import Model

__version__ = "0.2.0"


def load(path: str | Path, params: str | Path | Params | None = None) -> Model:
    """Load a trained model: a checkpoint (.ckpt) or an exported file (.mindir, .onnx), with its sidecar beside it.

    params: a params.yaml, which a checkpoint of 2021 needs, because it has no sidecar. Raises AdlError if the file is
    missing, damaged, or no such model.
    """
    from adl.predict.model import Model

    return Model.load(path, params)
