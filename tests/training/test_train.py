"""The training loop on a tiny network: files, repeatability, start weights, loss scaling."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import shutil
import types

import mindspore as ms
import numpy as np
import psutil
import pytest
from mindspore import Tensor, amp, nn, ops

from adl import device, network, workspace
from adl.architecture import Architecture
from adl.config import params
from adl.dataset.augment import Normalise
from adl.dataset.records import read, read_manifest
from adl.errors import AdlError
from adl.evaluation import worker
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.evaluate import Evaluation
from adl.evaluation.inference import Mode, label_maps, passes
from adl.files import digest
from adl.metrics import Confusion
from adl.network import checkpoint, drop_path
from adl.network.normalization import GlobalBatchNorm
from adl.parallel.world import ALONE, World
from adl.training import checkpoints, loop, losses
from adl.training import plan as plan_module
from adl.training import train as training
from adl.training import validation as validation_module
from adl.training.checkpoints import Run
from adl.training.loop import Loop, Stopped
from adl.training.losses import CrossEntropy, CrossEntropyAndDice, OhemCrossEntropy
from adl.training.optimizers import Momentum
from adl.training.plan import Counters, Plan, Stop
from adl.training.state import State, TrainingJob
from adl.training.step import TrainStep
from adl.training.validation import Interrupted, Validation
from tests import checkpoints_2021
from tests.conftest import ROOT
from tests.data import CITYSCAPES, write_record, write_scenes
from tests.training.test_step import take


@pytest.fixture(autouse=True)
def mode(request, monkeypatch):
    """Operation by operation, which takes seconds where graphs take minutes; the tests marked `compiled` use graphs.

    What stages run are graphs: tests/pipeline/test_stopping.py and tests/parallel/test_distributed.py.
    """
    graph = request.node.get_closest_marker("compiled") is not None
    monkeypatch.setattr(device, "start", functools.partial(device.start, graph=graph))
    device.start("CPU", seed=0)
    yield
    device.start("CPU", seed=0, graph=False)


@pytest.fixture(scope="module")
def record(once):
    """Of four images; beside it the record that is validated on, of two."""

    def make(folder):
        raw = write_scenes(folder / "raw", train=4, val=2)
        for split in ("train", "val"):
            write_record(raw, split, folder)

    return workspace.record("train", once("four-images", make))


@pytest.fixture
def settings(tiny, tmp_path):
    """Overrides of params.yaml for a run of a few steps."""
    np.save(tmp_path / "net.npy", np.array(tiny.net))
    np.save(tmp_path / "cell.npy", np.array(tiny.cell))
    return {
        "net_arch": str(tmp_path / "net.npy"), "cell_arch": str(tmp_path / "cell.npy"), "block_multiplier": 1,
        "filter_multiplier": 2, "initial_fm": 4, "head_channels": 8, "epochs": 2, "batch_size": 2, "crop_size": 48,
        "warmup_iters": 1, "eval_epochs": 0,
    }  # fmt: skip


def validated(record):
    return workspace.record("val", record.parent)


def job_of(p, record, folder) -> TrainingJob:
    return TrainingJob(
        params=p, record=record, val_record=validated(record), key={}, state=folder, pretrained=folder.parent,
        curves=folder,
    )  # fmt: skip


def run(settings, record, folder, *, stop=None, log_epochs=lambda rows: None, **changes):
    """Train in a state folder of its own; returns its result's metrics and the history."""
    job = job_of(params.load(ROOT / "params.yaml", **(settings | changes)), record, folder)
    training.train(job, log_epochs=log_epochs, stop=stop or Stop())
    return result_of(folder)


def result_of(folder):
    metrics, history = (json.loads((folder / f"result/{name}.json").read_text()) for name in ("metrics", "history"))
    return metrics, history


@contextlib.contextmanager
def stop_before(number: int):
    """A request to stop that arrives before this step, counted from 1."""
    request, take = Stop(), Loop.take_step

    def taken(self, images, labels, *, stop):
        request.requested |= self.counters.position + 1 == number
        return take(self, images, labels, stop=request.requested)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "take_step", taken)
        yield request


@pytest.fixture
def updates(monkeypatch):
    """Steps without the network, for tests of what goes on around them: an update moves each weight by the rate.

    updates(*applied): whether those of the steps are applied, the last answer for all that follow.
    """
    answers = [True]

    class Update:
        def __init__(self, network, criterion, optimizer, world):
            self.weights = optimizer.parameters

        def set_train(self):
            return self

        def __call__(self, images, labels, keys, survivors, learning_rate, scale, stop):
            applied = answers.pop(0) if len(answers) > 1 else answers[0]
            if applied:
                for weight in self.weights:
                    weight.set_data(Tensor(weight.asnumpy() - learning_rate.asnumpy()))
            return images.asnumpy().mean(), applied, stop

    monkeypatch.setattr(training, "TrainStep", Update)

    def apply(*applied):
        answers[:] = applied

    return apply


@pytest.fixture
def straight(settings, record, once):
    """A run with drop path that nothing interrupts and nothing watches: its state's folder."""
    return once("straight", lambda folder: run(settings | DROPPING, record, folder / "a")) / "a"


DROPPING = {"drop_path_keep_prob": 0.7}


@pytest.fixture
def first_epoch(settings, record, once, tmp_path):
    """The model of a run of one epoch, copied to where `ckpt_name` is looked up; returns its name."""
    made = once("first-epoch", lambda folder: run(settings, record, folder / "a", epochs=1))
    shutil.copy(made / "a/result/autodeeplab.ckpt", tmp_path / "first.ckpt")
    return "first.ckpt"


def assembled(net, p, plan, record, folder, manifest=None) -> Loop:
    job = job_of(p, record, folder)
    return training.assemble(job, net, manifest or {}, plan, world=ALONE, stop=Stop())


def weights(folder):
    return digest(folder / "result/autodeeplab.ckpt")


def test_resumed_run_equals_the_uninterrupted_one(settings, record, tmp_path, straight, capsys):
    for step in (1, 2):  # in the middle of an epoch, and at its end
        with stop_before(step) as stop, pytest.raises(Stopped, match="the state is saved"):
            run(settings, record, tmp_path / "resumed", stop=stop, **DROPPING)
        assert not (tmp_path / "resumed/result").exists()
    capsys.readouterr()
    assert run(settings, record, tmp_path / "resumed", **DROPPING) == result_of(straight)
    assert "resuming at step 2 of 4" in capsys.readouterr().out
    assert weights(tmp_path / "resumed") == weights(straight)


@pytest.mark.usefixtures("updates")
def test_every_epoch_is_logged_once_with_those_of_earlier_attempts_first(settings, record, tmp_path, capsys):
    told = []

    def log_epochs(rows):
        told.append([row["epoch"] for row in rows])

    with stop_before(4) as stop, pytest.raises(Stopped):
        run(settings, record, tmp_path / "a", epochs=4, stop=stop, log_epochs=log_epochs)
    assert told == [[], [1]]
    told.clear()
    printed = capsys.readouterr().out
    assert printed.count("compiling the training graph") == 1
    assert printed.index("compiling the training") < printed.index("first step, with compilation")
    run(settings, record, tmp_path / "a", epochs=4, log_epochs=log_epochs)
    assert told == [[1, 2], [3], [4]]


@pytest.mark.usefixtures("updates")
def test_workers_beyond_the_cores_are_said(settings, record, tmp_path, capsys):
    told = {}
    for workers in (device.cores(), device.cores() + 1):
        run(settings, record, tmp_path / str(workers), epochs=1, warmup_iters=0, workers=workers)
        told[workers] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("workers:")]
    cores = device.cores()
    assert told == {
        cores: [],
        cores + 1: [f"workers: {cores} instead of {cores + 1}, the number of cores"],
    }


@pytest.mark.parametrize("name", ["ce", "ohemce", "ce+dice"])
def test_criterion_is_that_of_the_parameters(settings, name, monkeypatch):
    monkeypatch.setattr(ops, "AllReduce", lambda *_: lambda x: x)
    changes = {"criterion": name, "batch_size": 8, "ohem_thresh": 0.6, "dice_weight": 0.5}
    p = params.load(ROOT / "params.yaml", **settings | changes)
    weights = Tensor([1.0, 2.0])
    loss = losses.LOSSES[p.criterion](p, World(1, 4), weights)
    if name == "ce+dice":
        assert (type(loss), loss.dice_weight) == (CrossEntropyAndDice, 0.5)
        assert (loss.dice.ignore_label, loss.dice.ranks, loss.dice.over_ranks.alone) == (p.ignore_label, 4, False)
        loss = loss.cross_entropy
    assert loss.class_weights is weights
    assert loss.ignore_label == p.ignore_label
    if name == "ohemce":
        assert type(loss) is OhemCrossEntropy
        # Two images of 48×48 on this device.
        assert loss.min_kept == 2 * 48 * 48 // 16
        assert loss.largest_threshold == pytest.approx(-np.log(0.6))
        assert loss.ranks == 4
    else:
        assert type(loss) is CrossEntropy
        assert not loss.over_ranks.alone


def test_balanced_weights_are_those_of_the_training_record(settings, record, tmp_path, tiny, capsys):
    p = params.load(ROOT / "params.yaml", **settings | {"class_weights": "balanced"})
    manifest = read_manifest(record, CITYSCAPES)
    net = network.build(tiny)
    own = assembled(net, p, Plan(4, 2, 4, 0), record, tmp_path, manifest)
    found = own.graph.criterion.class_weights.asnumpy()
    counts = np.array([*manifest["pixels"].values()])
    several = counts > 0
    np.testing.assert_allclose((found * counts)[several], counts[several].min(), rtol=1e-6)
    assert f"class weights: road {counts[several].min() / counts[0]:.3g}, sidewalk" in capsys.readouterr().out


def test_class_weights_of_another_number_are_refused(settings, record, tmp_path):
    with pytest.raises(AdlError, match="class_weights: 2 weights, but the data set has 19 classes"):
        run(settings, record, tmp_path / "a", class_weights=[1.0, 2.0])


@pytest.mark.usefixtures("updates")
def test_state_is_saved_every_so_many_epochs_and_minutes(settings, record, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(State, "save", lambda self, state: saved.append(state.position))
    run(settings, record, tmp_path / "a", epochs=3, save_epochs=2, save_minutes=None)
    assert saved == [4, 6], "and at the end"
    assert not list((tmp_path / "a/result/intermediate").iterdir()), "one model is kept: the final one"
    saved.clear()
    run(settings, record, tmp_path / "b", epochs=1, save_epochs=100, save_minutes=1e-9)
    assert saved == [1, 2]


def test_validation_gives_the_score_of_the_final_model_and_changes_no_weight(settings, record, tmp_path, straight):
    _, plain = result_of(straight)
    _, history = run(settings, record, tmp_path / "validated", eval_epochs=1, **DROPPING)
    assert weights(tmp_path / "validated") == weights(straight)
    assert [row.keys() - plain[0].keys() for row in history] == [{"val_mIOU"}] * 2
    assert [row["loss"] for row in history] == [row["loss"] for row in plain]
    model = straight / "result/autodeeplab.ckpt"
    architecture = Architecture.from_sidecar(workspace.sidecar(model))
    net = checkpoint.restore(model, architecture, device_target="CPU")
    job = EvaluationJob(tmp_path, None, CITYSCAPES, validated(record), "CPU", Mode(), limit=None, batch_size=1)
    predict = functools.partial(label_maps, passes(net, CITYSCAPES, Mode()), chosen=Mode())
    results = worker.count(predict, job, tmp_path)
    scored = Evaluation(CITYSCAPES, "single", results, "CPU")
    assert history[1]["val_mIOU"] == scored.metrics()["mIOU"] > 0


def test_validation_takes_place_after_every_so_many_epochs_and_not_between(
    settings, tiny, record, tmp_path, monkeypatch
):
    monkeypatch.setattr(Validation, "miou", lambda self, trained: 5.0)
    plan = Plan(images=4, steps_per_epoch=2, steps=10, first_step=0)
    p = params.load(ROOT / "params.yaml", **settings | {"eval_epochs": 2})
    own = assembled(network.build(tiny), p, plan, record, tmp_path)
    found = {}
    for position in range(1, 11):
        own.counters = Counters(plan=plan, position=position, step=position, history=[{}])
        own.validate()
        found[position] = own.counters.history[-1].get("val_mIOU")
    assert [position for position, miou in found.items() if miou == 5.0] == [4, 8]


@pytest.mark.parametrize(("rank", "given"), [(0, 1), (1, 0)])
def test_statistics_that_are_validated_are_those_of_rank_0(tiny, record, monkeypatch, rank, given):
    """The sum over the ranks is replaced by what this rank gives to it."""
    monkeypatch.setattr(ops, "AllReduce", lambda *_: lambda x: x)
    trained = checkpoint.native(network.build(tiny))
    validation = Validation(tiny, record, CITYSCAPES, world=World(rank, 2), stop=Stop())
    monkeypatch.setattr(validation_module.records, "read", lambda *_, **__: iter(()))
    monkeypatch.setattr(validation_module, "sum_counts", lambda *_: np.array([0] * 380 + [0, 1]))
    with pytest.raises(Interrupted):
        validation.miou(trained)
    for name, parameter in checkpoint.native(validation.network).items():
        expected = trained[name].asnumpy() * (given if ".moving_" in name else 1)
        np.testing.assert_array_equal(parameter.asnumpy(), expected, err_msg=name)


@pytest.mark.usefixtures("updates")
def test_stop_in_the_middle_of_a_validation_loses_nothing(settings, record, tmp_path, monkeypatch, capsys):
    _, straight = run(settings, record, tmp_path / "straight", eval_epochs=1)
    stop = Stop()

    def rows(*of_record, **options):
        yield next(read(*of_record, **options))
        stop.requested = True
        yield from read(*of_record, **options)

    with monkeypatch.context() as patch:
        patch.setattr(validation_module.records, "read", rows)
        with pytest.raises(Stopped, match="step 2 of 4, while validating"):
            run(settings, record, tmp_path / "a", eval_epochs=1, stop=stop)
    _, resumed = run(settings, record, tmp_path / "a", eval_epochs=1)
    assert "resuming at step 2 of 4" in capsys.readouterr().out
    assert resumed == straight
    assert weights(tmp_path / "a") == weights(tmp_path / "straight")


@pytest.mark.usefixtures("updates")
def test_lines_of_the_model_zoo_change_no_weight(settings, record, tmp_path, capsys):
    run(settings, record, tmp_path / "plain")
    assert "epoch time" not in capsys.readouterr().out
    run(settings, record, tmp_path / "zoo", log_lines="model_zoo")
    printed = capsys.readouterr().out
    assert re.findall(r"^epoch: (\d) step: (\d), loss is ", printed, re.MULTILINE) == [
        ("1", "2"),
        ("2", "2"),
    ]
    assert printed.count("epoch time: ") == 2
    assert weights(tmp_path / "zoo") == weights(tmp_path / "plain")


@pytest.mark.usefixtures("updates")
def test_last_models_are_kept_beside_the_final_one(settings, record, tmp_path):
    run(settings, record, tmp_path / "a", epochs=4, save_epochs=1, keep_checkpoints=3)
    kept = sorted(p.name for p in (tmp_path / "a/result/intermediate").iterdir())
    names = ["epoch_00002.ckpt", "epoch_00003.ckpt"]
    assert kept == sorted(names + [f"{name}.json" for name in names])
    sidecar = json.loads((tmp_path / "a/result/intermediate/epoch_00003.ckpt.json").read_text())
    assert (sidecar["epoch"], sidecar["params"]["epochs"]) == (3, 4)
    assert sidecar["digest"] == digest(tmp_path / "a/result/intermediate/epoch_00003.ckpt")


@pytest.mark.usefixtures("updates")
@pytest.mark.parametrize("keep", [1, 2])
def test_model_that_is_no_longer_finite_is_neither_kept_nor_saved(settings, record, tmp_path, monkeypatch, keep):
    nothing_finite = types.SimpleNamespace(isfinite=lambda values: values > np.inf)
    monkeypatch.setattr(checkpoints, "np", nothing_finite)
    with pytest.raises(AdlError, match=r"\w\.weight is no longer finite, and this state is not saved"):
        run(settings, record, tmp_path / "a", epochs=3, save_epochs=1, keep_checkpoints=keep)
    assert not list((tmp_path / "a").rglob("*.ckpt"))
    assert not State(tmp_path / "a").positions()


@pytest.mark.usefixtures("updates")
def test_model_is_kept_before_the_state_that_goes_on_after_it(settings, record, tmp_path, monkeypatch):
    kept, save = {}, State.save

    def saving(self, state):
        kept[state.position] = [p.name for p in self.intermediate.glob("*.ckpt")]
        save(self, state)

    monkeypatch.setattr(State, "save", saving)
    run(settings, record, tmp_path / "a", epochs=3, save_epochs=1, keep_checkpoints=2)
    assert kept == {2: ["epoch_00001.ckpt"], 4: ["epoch_00002.ckpt"], 6: ["epoch_00002.ckpt"]}


@pytest.mark.usefixtures("updates")
def test_attempt_with_nothing_left_to_train_reports_the_speed_of_the_one_before(
    settings, record, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_result", lambda *_: None)
        with pytest.raises(FileNotFoundError):
            run(settings, record, tmp_path / "a")
    run(settings, record, tmp_path / "a")
    speed = json.loads((tmp_path / "a/result/speed.json").read_text())
    assert speed["ms_per_step"] > 0
    assert speed["devices"] == 1


def test_weights_of_other_classes_start_a_training_without_their_classifier(settings, record, tmp_path, tiny, capsys):
    ms.set_seed(3)
    other = network.build(dataclasses.replace(tiny, num_classes=7))
    checkpoint.save(checkpoint.native(other), tmp_path / "other.ckpt")
    with pytest.raises(AdlError, match=r"decoder\.classifier"):
        run(settings, record, tmp_path / "a", ckpt_name="other.ckpt")
    copy = {"ckpt_name": "other.ckpt", "ckpt_classifier": False, "epochs": 2, "start_epoch": 2}
    run(settings, record, tmp_path / "b", **copy)
    assert "without decoder.classifier" in capsys.readouterr().out
    stored = ms.load_checkpoint(str(tmp_path / "b/result/autodeeplab.ckpt"))
    name = "decoder.refine.0.conv.weight"
    np.testing.assert_array_equal(stored[name].asnumpy(), dict(other.parameters_and_names())[name].asnumpy())
    assert stored["decoder.classifier.weight"].shape[0] == 19


@pytest.mark.usefixtures("updates")
@pytest.mark.parametrize(("trained", "wanted"), [(False, True), (True, False)], ids=str)
def test_2021_file_starts_a_training_whatever_affine_it_was_trained_with(
    settings, record, tmp_path, tiny, capsys, trained, wanted
):
    old = checkpoints_2021.as_trained(dataclasses.replace(tiny, affine=trained))
    checkpoints_2021.write(old, tmp_path / "old.ckpt")
    changes = {"ckpt_name": "old.ckpt", "affine": wanted, "epochs": 1, "warmup_iters": 0}
    run(settings, record, tmp_path / "a", **changes)
    assert "weights from old.ckpt: " in capsys.readouterr().out
    new = ms.load_checkpoint(str(tmp_path / "a/result/autodeeplab.ckpt"))
    before = checkpoint.native(old)
    assert new.keys() == before.keys()
    moved = {n for n in new if not np.array_equal(new[n].asnumpy(), before[n].asnumpy())}
    assert "decoder.classifier.weight" in moved
    for norm in ("operations.0.norm", "operations.1.first.norm", "operations.1.second.norm"):
        for part in ("gamma", "beta"):
            assert (f"encoder.nas_cells.0.{norm}.{part}" in moved) == wanted


def test_mixed_precision_leaves_the_native_names_and_keeps_batch_norm_in_float32(settings, tiny, tmp_path):
    # Training with it needs Ascend; how the cells are wrapped can be seen anywhere.
    p = params.load(ROOT / "params.yaml", **settings).model_copy(update={"amp_level": "O2"})
    net = network.build(tiny)
    names = set(checkpoint.native(net))
    own = assembled(net, p, Plan(4, 2, 4, 0), tmp_path, tmp_path)
    assert set(own.weights.parameters) == names
    assert {name for name, _ in net.parameters_and_names()} != names, "the cells were wrapped"
    checkpoint.save(own.weights.parameters, tmp_path / "m.ckpt")
    found = checkpoint.load(network.build(tiny), tmp_path / "m.ckpt")
    assert found == f"{len(names)} parameters, native names"


@pytest.mark.parametrize("ranks", [1, 2])
def test_mixed_precision_computes_batch_norm_in_float32(tiny, monkeypatch, ranks):
    monkeypatch.setattr(ops, "AllReduce", lambda *_: lambda x: x)
    net = amp.auto_mixed_precision(network.build(tiny, world=World(0, ranks)), "O2")
    kinds = {
        kind: {cell.get_flags()["fp32"] for _, cell in net.cells_and_names() if isinstance(cell, kind)}
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    }
    assert kinds == {nn.Conv2d: {False}, nn.BatchNorm2d: {True}}
    norms = {type(cell) for _, cell in net.cells_and_names() if isinstance(cell, nn.BatchNorm2d)}
    assert norms == {nn.BatchNorm2d if ranks == 1 else GlobalBatchNorm}


@pytest.mark.usefixtures("updates")
def test_stop_request_ends_the_training_after_the_epoch(settings, record, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/stop").touch()
    with pytest.raises(Stopped, match="stopped at step 2 of 4"):
        run(settings, record, tmp_path / "a")
    assert State(tmp_path / "a").latest().position == 2


def test_ranks_that_read_different_states_do_not_begin(settings, record, tmp_path, monkeypatch):
    # Also where this rank finds no state, another must be heard.
    for module in (checkpoints, loop):
        monkeypatch.setattr(module, "of_all_ranks", lambda values, world: [values, [value + 5 for value in values]])
    with pytest.raises(AdlError, match=r"the ranks read different states from .*; do all nodes share it"):
        run(settings, record, tmp_path / "a")


@pytest.mark.usefixtures("updates")
def test_ranks_that_part_stop_at_the_end_of_the_epoch_and_save_nothing(settings, record, tmp_path, monkeypatch):
    def parting(values, world):
        return [values, [value + (len(values) > 1) for value in values]]

    for module in (checkpoints, loop):
        monkeypatch.setattr(module, "of_all_ranks", parting)
    message = r"no longer have the same weights \(rank 0: step 2, [0-9a-f]{8}; rank 1: step 3, [0-9a-f]{8}\)"
    with pytest.raises(AdlError, match=message):
        run(settings, record, tmp_path / "a")
    assert not State(tmp_path / "a").positions()


@pytest.mark.usefixtures("updates")
def test_checksum_of_the_ranks_follows_from_the_weights(settings, record, tmp_path, monkeypatch):
    told = []

    def listening(values, world):
        told.append(tuple(values))
        return [values]

    for module in (checkpoints, loop):
        monkeypatch.setattr(module, "of_all_ranks", listening)
    for name, changes in {"a": {}, "same": {}, "other": {"base_lr": 0.5}}.items():
        run(settings, record, tmp_path / name, epochs=1, warmup_iters=0, **changes)
    assert told[:2] == told[2:4]
    assert told[1][0] == told[5][0]
    assert told[1][1] != told[5][1]


def test_device_whose_whole_numbers_do_not_wrap_around_is_refused(settings, record, tmp_path, monkeypatch):
    monkeypatch.setattr(drop_path, "Tensor", lambda values: Tensor(values.astype(np.float32)))
    with pytest.raises(AdlError, match="does not multiply whole numbers as a CPU does"):
        run(settings, record, tmp_path / "a")


@pytest.mark.usefixtures("updates")
def test_start_epoch_continues_the_schedule(settings, record, tmp_path, first_epoch):
    _, plain = run(settings, record, tmp_path / "plain")
    metrics, history = run(settings, record, tmp_path / "second", ckpt_name=first_epoch, start_epoch=1)
    assert metrics["epochs"] == 1
    assert metrics["steps"] == 2
    assert [row["epoch"] for row in history] == [2]
    assert history[0]["learning_rate"] == plain[1]["learning_rate"]


@pytest.mark.usefixtures("updates")
def test_start_epoch_at_the_end_copies_the_weights(settings, record, tmp_path, first_epoch):
    metrics, history = run(settings, record, tmp_path / "copy", epochs=1, ckpt_name=first_epoch, start_epoch=1)
    assert history == []
    assert metrics["steps"] == 0
    first = ms.load_checkpoint(str(tmp_path / first_epoch))
    copy = ms.load_checkpoint(str(tmp_path / "copy/result/autodeeplab.ckpt"))
    assert first.keys() == copy.keys()
    for name in first:
        np.testing.assert_array_equal(first[name].asnumpy(), copy[name].asnumpy())


def test_learning_rate_is_that_of_the_parameters(settings, record, tmp_path, tiny):
    def rates(**changes):
        values = {
            "epochs": 10,
            "base_lr": 0.2,
            "warmup_start_lr": 0.06,
            "warmup_iters": 3,
        } | changes
        p = params.load(ROOT / "params.yaml", **(settings | values))
        plan = Plan.of(p, 4)
        return assembled(network.build(tiny), p, plan, tmp_path, tmp_path).learning_rates

    found = rates(min_lr=0.05)
    assert len(found) == 20
    assert found[[0, 3, -1]].tolist() == [0.06, 0.2, 0.05]
    assert found.min() == 0.05
    assert rates()[-1] < 0.05


def test_too_long_a_warmup_is_refused_before_compilation(settings, record, tmp_path, capsys):
    with pytest.raises(AdlError, match="warmup_iters is 4, but the whole run has 4 steps"):
        run(settings, record, tmp_path / "a", warmup_iters=4)
    assert "compiling" not in capsys.readouterr().out
    assert not (tmp_path / "a").exists()


def test_diverging_run_stops_with_step_rate_and_scale_and_keeps_the_last_good_state(settings, record, tmp_path):
    message = r"diverged at step \d+: loss nan, learning rate 9.77472e\+29, loss scale 32768; .* is no longer finite"
    with pytest.raises(AdlError, match=message):
        run(
            settings,
            record,
            tmp_path / "a",
            base_lr=1e30,
            warmup_iters=0,
            epochs=20,
            save_minutes=1e-9,
        )
    state = State(tmp_path / "a")
    assert not state.finished
    assert all(np.isfinite(values).all() for values in state.latest().arrays.values())


def test_gradients_that_stay_infinite_stop_the_training(settings, record, tmp_path, monkeypatch, updates):
    monkeypatch.setattr(plan_module, "MOST_SKIPPED", 3)
    updates(True, False)
    with pytest.raises(AdlError, match=r"diverged at step 1: .* the gradients stay infinite\. Lower base_lr"):
        run(settings, record, tmp_path / "a", epochs=5)
    assert not (tmp_path / "a/result").exists()


def test_no_state_is_saved_while_updates_are_skipped(settings, record, tmp_path, monkeypatch, updates):
    saved, save = [], State.save
    monkeypatch.setattr(State, "save", lambda self, state: (saved.append(state.meta), save(self, state)))
    updates(True, False, False, True)
    metrics, _ = run(settings, record, tmp_path / "a", epochs=3, save_minutes=1e-9)
    assert [(meta["position"], meta["step"], meta["skipped"]) for meta in saved] == [
        (1, 1, 0),
        (4, 2, 2),
        (5, 3, 2),
        (6, 4, 2),
    ]
    assert (metrics["steps"], metrics["skipped_steps"]) == (4, 2)


@pytest.mark.usefixtures("updates")
def test_state_of_another_network_is_refused(settings, record, tmp_path):
    with stop_before(2) as stop, pytest.raises(Stopped):
        run(settings, record, tmp_path / "a", stop=stop)
    with pytest.raises(AdlError, match=r"does not fit this network: .* To start over: `adl state drop a`"):
        run(settings, record, tmp_path / "a", filter_multiplier=4)
    assert State(tmp_path / "a").positions()


@pytest.mark.slow
@pytest.mark.compiled
def test_long_run_leaves_a_checkpoint_that_its_sidecar_describes_and_its_memory_does_not_grow(
    settings, record, tmp_path, capsys
):
    own, seen = psutil.Process(), []
    metrics, history = run(
        settings,
        record,
        tmp_path / "a",
        epochs=100,
        drop_path_keep_prob=0.7,
        eval_epochs=10,
        save_epochs=20,
        log_epochs=lambda rows: seen.extend(own.memory_info().rss for _ in rows),
    )
    # Less than a quarter of a gigabyte over the 4,000 epochs of a published run.
    assert seen[99] - seen[19] < 80 * 2**16

    assert metrics["steps"] == 200
    assert metrics["skipped_steps"] == 0
    assert [row["epoch"] for row in history] == list(range(1, 101))
    result = tmp_path / "a/result"
    sidecar = json.loads((result / "autodeeplab.ckpt.json").read_text())
    assert sidecar["digest"] == weights(tmp_path / "a")
    manifest = read_manifest(record, CITYSCAPES)
    assert sidecar["data"] == {name: manifest[name] for name in ("digest", "images", "drawn")}
    assert sidecar["params"]["drop_path_keep_prob"] == 0.7
    architecture = Architecture.from_sidecar(result / "autodeeplab.ckpt.json")
    assert architecture.net == (0, 1, 1)
    checkpoint.load(network.build(architecture), result / "autodeeplab.ckpt")
    assert "ms_per_step" in json.loads((result / "speed.json").read_text())
    assert not State(tmp_path / "a").positions(), "what is finished needs no state"
    printed = capsys.readouterr().out
    assert "3 cells at levels 0 1 1" in printed
    assert "first step, with compilation" in printed


@pytest.mark.slow
@pytest.mark.compiled
def test_overfitting_four_images_reaches_an_miou_above_90(record, tmp_path):
    """No augmentation and no dropout: the four images themselves, again and again."""
    normalise = Normalise(CITYSCAPES)
    samples = list(read(record))
    images = np.stack([normalise(image).transpose(2, 0, 1) for _, image, _ in samples])
    labels = np.stack([label for _, _, label in samples]).astype(np.int32)
    ms.set_seed(0)
    cell = ((0, 6), (1, 6), (0, 3), (2, 6))
    net = network.build(
        Architecture(
            net=(0, 0, 0),
            cell=cell,
            filter_multiplier=16,
            initial_fm=16,
            head_channels=64,
            bn_momentum=0.9,
        )
    )
    step = TrainStep(net, CrossEntropy(ignore_label=255), Momentum(net, weight_decay=1e-5)).set_train()
    for learning_rate in np.linspace(0.2, 0.002, 220):
        assert take(step, images, labels, None, learning_rate=learning_rate, scale=1.0)
    confusion = Confusion(CITYSCAPES)
    evaluate = passes(net, CITYSCAPES, Mode())
    for _, image, label in samples:
        confusion.add(label, label_maps(evaluate, image[None], Mode())["single"][0])
    assert confusion.mean_iou() > 0.9
