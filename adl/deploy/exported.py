"""An exported file and the sidecar that says how to feed it."""

from __future__ import annotations

import json
from pathlib import Path

import mindspore as ms
from mindspore import nn

from adl.architecture import Architecture
from adl.artifacts import digest, write_json
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.inference import Pass
from adl.workspace import sidecar


def load(path: Path) -> Pass:
    """A MINDIR file as a pass. Raises AdlError if it is none."""
    try:
        return nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        raise AdlError(
            f"{path}: cannot be loaded as a MINDIR ({str(error).strip().splitlines()[0]})."
        ) from None


def input_size(path: Path) -> tuple[int, int]:
    """(height, width) of the only input that an exported file takes. Raises AdlError if its sidecar lacks it."""
    description = sidecar(path)
    try:
        takes = json.loads(description.read_text(encoding="utf-8"))["input"]
        return takes["height"], takes["width"]
    except (KeyError, TypeError):
        raise AdlError(
            f"{description}: lacks the size of the input. `dvc repro export` writes it again."
        ) from None


def write_sidecar(
    path: Path,
    *,
    source: Path,
    architecture: Architecture,
    dataset: DatasetDescriptor,
    height: int,
    width: int,
) -> None:
    """Say beside an exported file what it takes, what it returns and from which checkpoint it comes."""
    takes = {
        "layout": "NHWC",
        "dtype": "uint8",
        "channels": dataset.channels,
        "batch": 1,
        "height": height,
        "width": width,
    }
    content = {
        "format": 1,
        "architecture": architecture.to_json(),
        "checkpoint_digest": digest(source),
        "digest": digest(path),
        "input": takes,
        "output": {"layout": "NCHW", "dtype": "float32", "meaning": "probability of each train id"},
    }
    write_json(sidecar(path), content)
