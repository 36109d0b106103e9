"""Two real processes against one: the same training."""

from __future__ import annotations

import json
import sys
import types

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from adl import device, network
from adl.config import params
from adl.dataset.augment import Normalise
from adl.dataset.batches import Batches
from adl.files import write_json
from adl.launch.launcher import Launcher
from adl.launch.topology import topology
from adl.network import checkpoint
from adl.parallel import collective
from adl.parallel.world import World
from adl.training import validation
from adl.training.plan import Stop
from adl.training.state import State, TrainingJob
from tests.conftest import ROOT, TINY
from tests.data import CITYSCAPES, write_record, write_scenes
from tests.training import test_loss


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
        command = [sys.executable, "-m", "adl.training.run.worker", str(state.job)]
        job = TrainingJob(
            params=p,
            record=record,
            val_record=record,
            key={},
            state=state.folder,
            pretrained=tmp_path,
            curves=tmp_path / f"{name}-curves",
        )
        write_json(state.job, job.model_dump(mode="json"))
        code = Launcher(state.logs).run(command, topology(processes, "CPU"))
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


# What each of two ranks does operation by operation, and tells in its log.
TWO_RANKS = """
import json, sys
from pathlib import Path
import mindspore as ms
import numpy as np
from mindspore import Tensor, amp
from adl.network import checkpoint
from adl.parallel import collective
from adl import network
from adl import device
from adl.training import validation
from adl.architecture import Architecture
from tests.data import CITYSCAPES
from adl.parallel.world import from_environment
from adl.training.losses import CrossEntropy
from adl.training.optimizers import Momentum
from adl.training.plan import Stop
from adl.training.step import TrainStep
from tests.training import test_loss
world = from_environment()
device.start("CPU", seed=0, graph=False, world=world)
architecture = Architecture.from_json(json.loads(sys.argv[2]))

own = slice(world.rank, world.rank + 1)
for name, loss in test_loss.cells(world).items():
    logits, labels = (Tensor(values[own]) for values in test_loss.batch())
    value, gradient = ms.value_and_grad(loss)(logits, labels)
    np.savez(Path(sys.argv[3]) / f"{name}-{world.rank}.npz", value=value.asnumpy(), gradient=gradient.asnumpy())

print("of all ranks", collective.of_all_ranks([2**42 - 1 - world.rank, 7], world), flush=True)

net = network.build(architecture, world=world)
step = TrainStep(net, CrossEntropy(ignore_label=255, world=world), Momentum(net, 0.0), world).set_train()
all_finite, before = amp.all_finite, net.decoder.classifier.weight.asnumpy().copy()
for infinite_on in (1, None):
    # As where a rank reads a status register of its own: the gradients are finite on both.
    amp.all_finite = lambda tensors: all_finite(tensors) if world.rank != infinite_on else Tensor(False)
    images = np.full((1, 3, 33, 33), 1.0 + world.rank, np.float32)
    labels, keys = np.full((1, 33, 33), world.rank, np.int32), np.ones((2, 1), np.int32)
    scalars = (Tensor(np.float32(x)) for x in (0.1, 1, 0))
    _, applied, _ = step(Tensor(images), Tensor(labels), Tensor(keys), None, *scalars)
    moved = not np.array_equal(net.decoder.classifier.weight.asnumpy(), before)
    print("applied", bool(applied), "moved", moved, flush=True)

ms.set_seed(0)
own = validation.Validation(architecture, Path(sys.argv[1]), CITYSCAPES, world=world, stop=Stop())
trained = checkpoint.native(own.network)
for name, parameter in trained.items():
    if "moving_mean" in name:
        parameter.set_data(Tensor(parameter.asnumpy() + 0.5 * world.rank))
print("validated", own.miou(trained), flush=True)
read = validation.records.read
def stopped_on_rank_1(*record, **options):
    for number, row in enumerate(read(*record, **options)):
        own.stop.requested = world.rank == 1 and number == 1
        yield row
validation.records.read = stopped_on_rank_1
try:
    own.miou(trained)
except validation.Interrupted:
    print("interrupted", flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each of two ranks told; the record that they validated; and the folder of their losses and gradients."""
    folder = tmp_path_factory.mktemp("two-ranks")
    record = write_record(write_scenes(folder / "raw", train=4, val=1), "train", folder)
    (folder / "two_ranks.py").write_text(TWO_RANKS)
    command = [
        sys.executable,
        str(folder / "two_ranks.py"),
        str(record),
        json.dumps(TINY.to_json()),
        str(folder),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        assert Launcher(folder / "logs").run(command, topology(2, "CPU")) == 0
    return [(folder / f"logs/rank_{rank}.log").read_text() for rank in (0, 1)], record, folder


@pytest.mark.xdist_group("two ranks")
def test_every_rank_hears_what_each_of_them_gave(told):
    for log in told[0]:
        assert f"of all ranks [[{2**42 - 1}, 7], [{2**42 - 2}, 7]]" in log


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("name", test_loss.REFERENCES)
def test_two_ranks_with_an_image_each_have_the_loss_and_the_gradient_of_one_with_two(told, name):
    whole = slice(0, 2)
    # With hard pixels, each rank's own are mined, and the loss is the mean.
    parts = [slice(0, 1), slice(1, 2)] if name == "ohemce" else [whole]
    loss, (logits, labels) = ms.value_and_grad(test_loss.cells()[name]), test_loss.batch()
    values, gradients = zip(*(loss(Tensor(logits[part]), Tensor(labels[part])) for part in parts), strict=True)
    shares = [np.load(told[2] / f"{name}-{rank}.npz") for rank in (0, 1)]
    assert sum(share["value"] for share in shares) == pytest.approx(np.mean([float(value) for value in values]))
    expected = np.concatenate([gradient.asnumpy() for gradient in gradients]) / len(parts)
    found = np.concatenate([share["gradient"] for share in shares])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.xdist_group("two ranks")
def test_update_is_skipped_on_all_ranks_where_one_finds_it_infinite(told):
    for log in told[0]:
        assert "applied False moved False" in log
        assert "applied True moved True" in log


@pytest.mark.xdist_group("two ranks")
def test_ranks_validate_with_the_statistics_of_rank_0_and_stop_together(told):
    logs, record, _ = told
    device.start("CPU", seed=0, graph=False)
    own = validation.Validation(TINY, record, CITYSCAPES, stop=Stop())
    expected = own.miou(checkpoint.native(own.network))
    assert expected > 0
    for log in logs:
        assert f"validated {expected}" in log
        assert "interrupted" in log


def test_gradients_are_fused_into_one_message(monkeypatch):
    class AllReduce(ops.Primitive):
        def __init__(self, kind):
            super().__init__("AllReduce")

    monkeypatch.setattr(ops, "AllReduce", AllReduce)
    assert collective.AllSumEach(World(0, 2)).reduce.attrs["fusion"] == 1
    assert "fusion" not in collective.AllSum(World(0, 2)).reduce.attrs


@pytest.mark.usefixtures("pynative")
def test_counts_of_1024_ranks_add_up_exactly(monkeypatch):
    def all_reduce(own):
        total = np.zeros(own.shape, np.float32)
        for _ in range(1024):
            total += own.asnumpy()
        return Tensor(total)

    counts = np.array([0, 1, 16_383, 16_385, 2**31 + 1, 2**42 - 1])
    monkeypatch.setattr(collective, "AllSum", lambda world: all_reduce)
    np.testing.assert_array_equal(collective.sum_counts(counts, World(0, 1024)), 1024 * counts)


# Rounding differs between one process and two, a ReLU near zero flips by it, and freshly initialised 1×1 convolutions
# have gradients of a thousand times their weights: small steps keep that apart from mistakes.
CALM = {"base_lr": 5e-6}


@pytest.mark.slow
@pytest.mark.parametrize(("criterion", "class_weights"), [("ce+dice", "balanced")])
def test_two_processes_with_an_image_each_equal_one_with_two(train, record, tiny, criterion, class_weights):
    # Two images, two at a time: an epoch is a step, so that the history has the loss of each.
    settings = types.SimpleNamespace(
        seed=0,
        batch_size=2,
        crop_size=80,
        ignore_label=255,
        workers=1,
        min_scale=0.5,
        max_scale=2.0,
    )
    batches = Batches(record=record, images=2, params=settings, normalise=Normalise(CITYSCAPES))
    for _, labels in batches.epoch(0):
        ignored = (labels == 255).sum(axis=(1, 2))
        assert ignored[0] != ignored[1]
    changes = {**CALM, "criterion": criterion, "class_weights": class_weights}
    one, two = train("one", 1, **changes), train("two", 2, **changes)
    assert len(losses(one)) == 5
    assert np.abs(losses(one) - losses(two)).max() < 1e-5 * np.abs(losses(one)).max()
    assert max(differences(result(one), result(two))) < 1e-5
    device.start("CPU", seed=0, graph=False)
    start = {name: p.asnumpy() for name, p in checkpoint.native(network.build(tiny)).items()}
    assert min(differences(result(one), start)) > 5e-5, "the training moves the weights by several times that"
