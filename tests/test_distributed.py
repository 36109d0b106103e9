"""Two real processes against one: the same training."""

from __future__ import annotations

import json
import sys

import mindspore as ms
import numpy as np
import pytest

from adl import checkpoint, dataset, network, params, runtime, validation
from adl.launcher import Launcher, group_of
from adl.state import State
from adl.worker import Job
from tests.conftest import ROOT
from tests.data import write_record, write_scenes


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("record")
    return write_record(write_scenes(folder / "raw", train=2, val=1), "train", folder)


@pytest.fixture
def train(tiny, tmp_path, record):
    np.save(tmp_path / "net.npy", np.array(tiny.net))
    np.save(tmp_path / "cell.npy", np.array(tiny.cell))

    def run(name: str, processes: int, **changes) -> State:
        settings = {
            "net_arch": str(tmp_path / "net.npy"), "cell_arch": str(tmp_path / "cell.npy"), "block_multiplier": 1,
            "filter_multiplier": 2, "initial_fm": 4, "head_channels": 8, "epochs": 5, "batch_size": 2, "crop_size": 80,
            "warmup_iters": 0, "criterion": "ce", "drop_path_keep_prob": 0.7, "bn_momentum": 0.9,
            "device_num": processes, "eval_epochs": 0,
        }  # fmt: skip
        state = State(tmp_path / name)
        state.folder.mkdir(exist_ok=True)
        p = params.load(ROOT / "params.yaml", **(settings | changes))
        Job(p, record, record, state.folder, tmp_path, tmp_path / f"{name}-curves").write(state.folder / "job.json")
        command = [sys.executable, "-m", "adl.worker", str(state.folder / "job.json")]
        code = Launcher(state.logs).run(command, group_of(processes, "CPU"))
        assert code == changes.get("code", 0), (state.logs / "rank_0.log").read_text()[-3000:]
        return state

    return run


def history(state: State) -> list[dict[str, float]]:
    return json.loads((state.result / "history.json").read_text())


def losses(state: State) -> np.ndarray:
    return np.array([row["loss"] for row in history(state)])


def result(state: State) -> dict[str, np.ndarray]:
    stored = ms.load_checkpoint(str(state.result / "autodeeplab.ckpt"))
    return {name: parameter.asnumpy() for name, parameter in stored.items()}


def differences(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> tuple[float, float]:
    """Largest differences of weights and of running statistics, over the largest magnitude of each."""
    assert one.keys() == other.keys()
    found = []
    for statistics in (False, True):
        names = [name for name in one if ("moving_" in name) == statistics]
        largest = max(np.abs(one[name]).max() for name in names)
        found.append(max(np.abs(one[name] - other[name]).max() for name in names) / largest)
    return tuple(found)


# A validation by each rank with statistics of its own, then one in which rank 1 alone is asked to stop.
VALIDATE = """
import json, sys
from pathlib import Path
from mindspore import Tensor
from adl import checkpoint, runtime, validation
from adl.architecture import Architecture
world, asked = runtime.world(), []
runtime.start("CPU", seed=0, graph=False, world=world)
def stopping():
    asked.append(None)
    return world.rank == 1 and len(asked) == 2
architecture = Architecture.from_json(json.loads(sys.argv[2]))
own = validation.Validation(architecture, Path(sys.argv[1]), world)
trained = checkpoint.native(own.network)
for name, parameter in trained.items():
    if "moving_mean" in name:
        parameter.set_data(Tensor(parameter.asnumpy() + 0.5 * world.rank))
print("validated", own.miou(trained), flush=True)
own.stopping = stopping
try:
    own.miou(trained)
except validation.Interrupted:
    print("interrupted", flush=True)
"""


def test_ranks_validate_with_the_statistics_of_rank_0_and_stop_together(tiny, tmp_path, monkeypatch):
    record = write_record(write_scenes(tmp_path / "raw", train=4, val=1), "train", tmp_path)
    (tmp_path / "validate.py").write_text(VALIDATE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, str(tmp_path / "validate.py"), str(record), json.dumps(tiny.to_json())]
    assert Launcher(tmp_path / "logs").run(command, group_of(2, "CPU")) == 0
    runtime.start("CPU", seed=0, graph=False)
    own = validation.Validation(tiny, record, runtime.World(0, 1))
    expected = own.miou(checkpoint.native(own.network))
    assert expected > 0
    for rank in (0, 1):
        told = (tmp_path / f"logs/rank_{rank}.log").read_text()
        assert f"validated {expected}" in told
        assert "interrupted" in told


# Rounding differs between one process and two, a ReLU near zero flips by it, and freshly initialised 1×1 convolutions
# have gradients of a thousand times their weights: small steps keep that apart from mistakes.
CALM = {"base_lr": 5e-6}


def test_two_processes_with_an_image_each_equal_one_with_two(train, record, tiny):
    # Two images, two at a time: an epoch is a step, so that the history has the loss of each.
    for _, labels in dataset.batches(
        record, images=2, epoch=0, seed=0, batch_size=2, crop_size=80, ignore_label=255, workers=1
    ):
        ignored = (labels == 255).sum(axis=(1, 2))
        assert ignored[0] != ignored[1]
    one, two = train("one", 1, **CALM), train("two", 2, **CALM)
    assert len(losses(one)) == 5
    assert np.abs(losses(one) - losses(two)).max() < 1e-5 * np.abs(losses(one)).max()
    assert max(differences(result(one), result(two))) < 1e-5
    runtime.start("CPU", seed=0, graph=False)
    start = {name: p.asnumpy() for name, p in checkpoint.native(network.build(tiny)).items()}
    assert min(differences(result(one), start)) > 5e-5, "the training moves the weights by several times that"
