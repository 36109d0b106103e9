"""An exported file at work, and the sidecar that says how to feed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import openvino
from mindspore import Tensor, nn

from adl.architecture import Architecture
from adl.artifacts import digest, write_json
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.inference import Pass
from adl.workspace import sidecar

OPENVINO = {"INFERENCE_PRECISION_HINT": "f32"}
"""By itself OpenVINO takes bfloat16 where the processor has it: the results would no longer be the checkpoint's."""


_AGAIN = (
    "Export it again: `dvc repro export`, or for ONNX `python -m pipeline.export --output FOLDER`."
)


def load(path: Path) -> Pass:
    """An exported file as a pass: MindSpore runs a `.mindir`, OpenVINO an `.onnx`. Raises AdlError if it is none."""
    kind = path.suffix.removeprefix(".").upper()
    try:
        return LOADERS[path.suffix](path)
    except (RuntimeError, ValueError) as error:
        raise AdlError(
            f"{path}: cannot be loaded as {kind} ({str(error).strip().splitlines()[0]}). {_AGAIN}"
        ) from None


def _mindir(path: Path) -> Pass:
    return nn.GraphCell(ms.load(str(path)))


def _onnx(path: Path) -> Pass:
    model = openvino.Core().compile_model(path, "CPU", OPENVINO)

    def run(images: Tensor) -> Tensor:
        return Tensor(model(images.asnumpy())[0])

    return run


LOADERS: dict[str, Callable[[Path], Pass]] = {".mindir": _mindir, ".onnx": _onnx}
"""Suffix of an exported file → what loads it."""


def input_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the only input that an exported file takes; None: any.

    Raises AdlError if its sidecar lacks it.
    """
    description = sidecar(path)
    try:
        takes = json.loads(description.read_text(encoding="utf-8"))["input"]
        height, width = takes["height"], takes["width"]
    except (KeyError, TypeError):
        raise AdlError(f"{description}: lacks the size of the input. {_AGAIN}") from None
    return None if height is None else (height, width)


def write_sidecar(
    path: Path,
    *,
    source: Path,
    architecture: Architecture,
    dataset: DatasetDescriptor,
    height: int | None,
    width: int | None,
) -> None:
    """Say beside an exported file what it takes, what it returns and from which checkpoint it comes.

    height, width: of the only input that it takes; None: any.
    """
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
