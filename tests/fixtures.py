"""A tiny network, scenes, records and photographs for tests of several rooms; tests/conftest.py shares them."""

from __future__ import annotations

import contextlib
import functools
import os
import runpy
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from adl import device, network
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.evaluate import evaluate
from adl.evaluation.inference import Mode
from adl.export.formats import FORMATS
from adl.export.writers import Exporter
from adl.files import write_json
from adl.launch.launcher import Launcher
from adl.launch.topology import local
from adl.network import checkpoint
from adl.parallel.lifetime import tied
from adl.workspace import sidecar
from pipeline import export as stage
from tests import s3 as loopback
from tests.conftest import TINY, reproduced
from tests.data import CITYSCAPES, write_record, write_scenes
from tests.workspace import ONE_PROCESS, TWO_PROCESSES, set_params, succeeds


@pytest.fixture(scope="session")
def evaluation_data(once):
    """Drawn scenes in `raw`, and their records: six to train on, four to evaluate."""

    def make(folder: Path) -> None:
        raw = write_scenes(folder / "raw", train=6, val=4)
        for split in ("train", "val"):
            write_record(raw, split, folder)

    return once("six-and-four-images", make)


@pytest.fixture(scope="session")
def evaluation_scenes(evaluation_data):
    return evaluation_data / "raw"


@pytest.fixture
def net(tiny):
    ms.set_seed(3)
    return network.build(tiny)


def evaluated(data: Path, model: Path, predictions: Path, *, processes: int = 1, **changes: object):
    """Evaluate with the processes that the stage starts, in which the model is read from its file; 0: in this one."""
    settings = {
        "model": model, "architecture": TINY, "dataset": CITYSCAPES, "record": data / "val.mindrecord",
        "device_target": "CPU", "mode": Mode(mirror=True), "limit": None, "batch_size": 1,
    }  # fmt: skip

    def launch(command):
        return Launcher(predictions.parent / "logs").run(command, local(processes))

    job = EvaluationJob(**(settings | changes))
    launch = launch if processes else in_this_process
    return evaluate(job, predictions, launch=launch)


@contextlib.contextmanager
def operation_by_operation() -> Iterator[None]:
    """What stages and commands run in this process is not compiled: that takes longer than these small networks."""
    start = device.start

    def uncompiled(*given, **named) -> None:
        start(*given, **named | {"graph": False})

    with mock.patch.object(device, "start", uncompiled):
        yield


def in_this_process(command) -> int:
    """Launch the process of an evaluation here, operation by operation: nothing is imported anew, nothing compiled."""
    with (
        operation_by_operation(),
        mock.patch.object(sys, "argv", command[2:]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # that the module was imported before
        runpy.run_module(command[2], run_name="__main__")
    return 0


@pytest.fixture
def score(net, evaluation_data, tmp_path):
    """Evaluate the tiny network."""
    checkpoint.save(checkpoint.native(net), tmp_path / "net.ckpt")
    return functools.partial(evaluated, evaluation_data, tmp_path / "net.ckpt")


@pytest.fixture(scope="session")
def models(once):
    """A tiny network as a checkpoint `m.ckpt`, and in every format but AIR, for 64×128 where the size is fixed."""
    return once("models", make_models)


def make_models(folder: Path) -> None:
    device.start("CPU", seed=1, graph=False)
    net = network.build(TINY)
    rng = np.random.default_rng(0)
    for parameter in net.get_parameters():  # weights that give more than one class
        if parameter.name.endswith("weight"):
            parameter.set_data(Tensor(rng.normal(0, 0.3, parameter.shape).astype(np.float32)))
    checkpoint.save(checkpoint.native(net), folder / "m.ckpt")
    write_json(sidecar(folder / "m.ckpt"), {"architecture": TINY.to_json()})
    record = write_record(write_scenes(folder / "raw", val=1), "val", folder)
    exporter = Exporter(net, CITYSCAPES, size=(64, 128), record=record, training_record=record)
    for kind in FORMATS:
        if FORMATS[kind].verified:
            export_model(exporter, kind, folder / "m.ckpt")


def export_model(exporter: Exporter, kind: str, source: Path) -> Path:
    """Write a file and its sidecar beside a checkpoint, as the stage does."""
    path = FORMATS[kind].beside(source)
    stage.export(exporter, kind, path, source)
    return path


@pytest.fixture
def one_process(once):
    """one_process() -> the workspace of a training with ONE_PROCESS that nothing interrupted."""
    return lambda: uninterrupted(once, "one-process", ONE_PROCESS)


@pytest.fixture
def two_processes(once):
    """The same with TWO_PROCESSES."""
    return lambda: uninterrupted(once, "two-processes", TWO_PROCESSES)


def uninterrupted(once, name: str, parameters: dict[str, object]) -> Path:
    def make(empty: Path) -> None:
        workspace = reproduced(once, empty, "mindrecord")
        set_params(workspace, **parameters)
        succeeds(workspace, *tied([sys.executable, "-m", "pipeline.train"]))

    return once(name, make) / "workspace"


@pytest.fixture
def photograph(rng):
    """A smooth picture: a network sees structure in it at any scale."""

    def make(height: int, width: int) -> np.ndarray:
        return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))

    return make


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, with its log and its requests."""
    from selenium import webdriver

    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not (program and driver):
        missing = "Chromium and its driver are not installed (Debian: chromium, chromium-driver)"
        (pytest.fail if os.environ.get("BROWSER_IS_REQUIRED") else pytest.skip)(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


@pytest.fixture(scope="session")
def s3():
    """A real S3 server on loopback; every test makes buckets of its own."""
    with loopback.running() as server:
        yield server
