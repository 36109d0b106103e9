"""The runtimes of exported files, behind one interface: images in, probabilities or labels out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adl import device
from adl.errors import AdlError
from adl.parallel.pool import process_pool

Run = Callable[[np.ndarray], np.ndarray]
"""(1, H, W, 3) uint8 → what the file gives: (1, classes, H, W) float32, or (1, H, W) uint8."""

OPENVINO = {"INFERENCE_PRECISION_HINT": "f32"}
"""Else OpenVINO takes bfloat16 where the processor has it: the results would no longer be the checkpoint's."""


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What executes files. suffix: of the files that it runs. package: what must be installed; advice: how to get it.

    on_ascend: it runs there too. load: path, device ("CPU" or "Ascend") and its number → the loaded file.
    """

    suffix: str
    package: str
    load: Callable[[Path, str, int], Run]
    on_ascend: bool = False
    advice: str = "`make environment` installs it."


def load(path: Path, *, backend: str | None = None, device_target: str = "CPU", device_id: int = 0) -> Run:
    """A loaded file. backend: a name of BACKENDS; None: the first one that runs such files.

    MindSpore runs it on the device that `device.start` chose. Raises AdlError if the runtime is missing, if it does
    not run such files or not on this device, or if the file is damaged.
    """
    able = able_to_run(path)
    name = backend or able[0]
    chosen = BACKENDS[name]
    if name not in able:
        raise AdlError(f"{path}: {name} runs {chosen.suffix} files; for this one take {', '.join(able)}.")
    if device_target == "Ascend" and not chosen.on_ascend:
        raise AdlError(f"{path}: {name} runs it on a CPU only; choose device CPU (device_target).")
    check_installed(name)
    try:
        return chosen.load(path, device_target, device_id)
    except (RuntimeError, ValueError) as error:
        kind = path.suffix.removeprefix(".").upper()
        raise AdlError(
            f"{path}: cannot be loaded as {kind} ({_reason(error)}). Export it again: `dvc repro export`."
        ) from None


def _reason(error: Exception) -> str:
    """The first line that says something: OpenVINO's begin with places in its source."""
    for line in map(str.strip, str(error).splitlines()):
        if line and not line.startswith("Exception from"):
            return line
    return "damaged"


def able_to_run(path: Path) -> list[str]:
    """The back ends that run a file, first the one that does unless another is named. Raises AdlError if none does."""
    names = [name for name, backend in BACKENDS.items() if backend.suffix == path.suffix]
    if not names:
        raise AdlError(f"{path}: no back end runs {path.suffix or 'such'} files.")
    return names


def check_installed(name: str) -> None:
    """Raises AdlError if a back end's package is missing."""
    backend = BACKENDS[name]
    if importlib.util.find_spec(backend.package) is None:
        raise AdlError(f"back end {name}: the package {backend.package} is not installed. {backend.advice}")


def _mindspore(path: Path, *_: object) -> Run:
    import mindspore as ms

    cell = ms.nn.GraphCell(ms.load(str(path)))
    return lambda images: cell(ms.Tensor(images)).asnumpy()


def _openvino(path: Path, *_: object) -> Run:
    with device.all_instructions():
        return _compiled(path)


def _compiled(path: Path) -> Run:
    import openvino

    model = openvino.Core().compile_model(path, "CPU", OPENVINO)
    return lambda images: model(images)[0]


@contextlib.contextmanager
def limited(path: Path, instruction_set: str) -> Iterator[Run]:
    """A file loaded by OpenVINO, in a process of its own that uses no more than an instruction set."""

    def ask(function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return pool.submit(function, argument).result()
        except RuntimeError as error:  # as the end of the process is
            raise AdlError(
                f"{path.name}: OpenVINO cannot run it with {instruction_set} ({_reason(error)}). Free memory, or leave "
                "this format out of export_formats."
            ) from None

    with process_pool(1) as pool:
        with device.instructions(instruction_set):
            ask(_start, path)
        yield functools.partial(ask, _run)


def _start(path: Path) -> None:
    global _file
    _file = _compiled(path)


def _run(images: np.ndarray) -> np.ndarray:
    return _file(images)


_file: Run
"""What this process runs, if it is one of `limited`."""


def _onnxruntime(path: Path, *_: object) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = device.cores()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class of their own in common
        raise RuntimeError(str(error)) from None
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _lite(path: Path, device_target: str, device_id: int) -> Run:
    """Written against the documentation of MindSpore Lite's Python interface; not run yet."""
    import mindspore_lite as lite

    context = lite.Context()
    context.target = [device_target.lower()]
    if device_target == "Ascend":
        context.ascend.device_id = device_id
    model = lite.Model()
    model.build_from_file(str(path), lite.ModelType.MINDIR, context)

    def run(images: np.ndarray) -> Any:
        inputs = model.get_inputs()
        inputs[0].set_data_from_numpy(images)
        # What it returns is the model's own buffer, which the next image overwrites.
        return model.predict(inputs)[0].get_data_to_numpy().copy()

    return run


BACKENDS = {
    "mindspore": Runtime(".mindir", "mindspore", _mindspore, on_ascend=True),
    "openvino": Runtime(".onnx", "openvino", _openvino),
    "onnxruntime": Runtime(".onnx", "onnxruntime", _onnxruntime),
    "lite": Runtime(
        ".mindir",
        "mindspore_lite",
        _lite,
        on_ascend=True,
        advice="Download the wheel of MindSpore Lite for your Python and device from "
        "https://www.mindspore.cn/lite, install it with pip, and for Ascend source CANN's set_env.sh.",
    ),
}
"""Name, as in `infer_backends` and `--backend` → runtime; the first one of a suffix is its default."""
