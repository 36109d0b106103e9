"""Our network gives the numbers of the 2021 implementation, loaded through its parameter names."""

from __future__ import annotations

import csv
import dataclasses
import math
import zlib
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from adl import device, network
from adl.architecture import Architecture
from adl.network import checkpoint, names_2021
from adl.training.losses import CrossEntropy, OhemCrossEntropy

PARITY = Path(__file__).parent / "parity"
pytestmark = pytest.mark.usefixtures("pynative")


def names_and_shapes(file: str) -> list[tuple[str, tuple[int, ...], bool]]:
    with (PARITY / file).open() as rows:
        return [
            (
                r["name"],
                () if r["shape"] == "scalar" else tuple(map(int, r["shape"].split("x"))),
                r["trainable"] == "1",
            )
            for r in csv.DictReader(rows)
        ]


def value(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """The weight that the golden numbers were computed with."""
    rng = np.random.default_rng(zlib.crc32(f"{salt}:{name}".encode()))
    if name.endswith(("moving_variance", "gamma")):
        array = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("moving_mean", "beta")):
        array = rng.normal(0, 0.1, shape)
    else:
        array = rng.normal(0, 1, shape) * math.sqrt(1.25 / np.prod(shape[1:]))
    return array.astype(np.float32)


def image(h: int, w: int) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(7).normal(0, 1, (1, 3, h, w)).astype(np.float32))


def salted_network(architecture: Architecture, salt: str, folder: Path) -> nn.Cell:
    """Our network, its weights loaded from a file as the 2021 implementation would have written it."""
    net = network.build(architecture)
    entries = []
    for parameter in net.get_parameters():
        name = names_2021.in_2021(parameter.name, use_abn=architecture.use_abn)
        entries.append({"name": name, "data": ms.Tensor(value(name, parameter.shape, salt))})
    file = folder / "from_2021.ckpt"
    ms.save_checkpoint(entries, str(file))
    assert "2021 names" in checkpoint.load(net, file)
    return net.set_train(False)


def agree(ours: np.ndarray, golden: np.ndarray) -> None:
    assert ours.shape == golden.shape
    assert np.abs(ours - golden).max() <= 1e-4 * np.abs(golden).max()


def test_published_network_has_the_names_and_shapes_of_2021():
    with no_init_parameters():
        net = network.build(Architecture())
    assert sum(p.size for p in net.trainable_params()) == 10_395_808
    ours = {names_2021.in_2021(p.name, use_abn=True): (tuple(p.shape), p.requires_grad) for p in net.get_parameters()}
    theirs = {n: (s, t) for n, s, t in names_and_shapes("parameters.csv") if not n.endswith("global_step")}
    assert ours == theirs


@pytest.mark.parametrize(("filters", "trainable"), [(32, 22_258_336), (48, 45_855_456)])
def test_larger_networks_have_the_published_number_of_parameters(filters, trainable):
    with no_init_parameters():
        net = network.build(Architecture(filter_multiplier=filters))
    assert sum(p.size for p in net.trainable_params()) == trainable


def without_abn(golden) -> Architecture:
    return Architecture(
        net=tuple(golden["net_arch"].tolist()),
        cell=tuple(map(tuple, golden["cell_arch"].tolist())),
        filter_multiplier=4,
        initial_fm=16,
        use_abn=False,
    )


def test_network_without_abn_has_the_names_and_logits_of_2021(tmp_path):
    golden = np.load(PARITY / "golden_noabn.npz")
    net = salted_network(without_abn(golden), "noabn", tmp_path)
    ours = {names_2021.in_2021(p.name, use_abn=False): (tuple(p.shape), p.requires_grad) for p in net.get_parameters()}
    theirs = {n: (s, t) for n, s, t in names_and_shapes("parameters_noabn.csv") if not n.endswith("global_step")}
    assert ours == theirs
    agree(net(image(49, 66)).asnumpy(), golden["logits_49x66"])


@pytest.mark.parametrize("size", [(49, 65), (50, 66)])
def test_all_primitives_give_the_logits_of_2021(tmp_path, size):
    golden = np.load(PARITY / "golden_primitives.npz")
    architecture = dataclasses.replace(without_abn(golden), use_abn=True)
    assert {op for _, op in architecture.cell} == set(range(8)), "the golden cell holds every primitive"
    net = salted_network(architecture, "primitives", tmp_path)
    agree(net(image(*size)).asnumpy(), golden[f"logits_{size[0]}x{size[1]}"])


published = pytest.mark.xdist_group("published genotype")  # one process makes it


@pytest.fixture(scope="module")
def golden_f8():
    return np.load(PARITY / "golden_f8.npz")


@pytest.fixture(scope="module")
def published_f8(tmp_path_factory):
    """The published genotype with few filters, in evaluation mode: no test changes it."""
    device.start("CPU", seed=0, graph=False)
    return salted_network(Architecture(filter_multiplier=8), "shared", tmp_path_factory.mktemp("2021"))


@pytest.fixture(scope="module")
def published_logits(published_f8):
    return published_f8(image(65, 129))


@published
@pytest.mark.parametrize("size", [(65, 129), (64, 128)])
def test_published_genotype_gives_the_logits_of_2021(published_f8, published_logits, golden_f8, size):
    ours = published_logits if size == (65, 129) else published_f8(image(*size))
    agree(ours.asnumpy(), golden_f8[f"logits_{size[0]}x{size[1]}"])


PIXELS_KEPT = 65 * 129 // 16
LOSSES = [
    ("ce", "label_65x129", None),
    ("ohem_0.03", "label_65x129", 0.03),
    ("ohem_0.0001", "label_65x129", 0.0001),
    ("ohem_few_0.7", "label_few_65x129", 0.7),
    ("ohem_0.7", "label_65x129", 0.7),
]


def loss_of(logits: ms.Tensor, golden, label: str, threshold: float | None) -> ms.Tensor:
    if threshold is None:
        criterion = CrossEntropy(ignore_label=255)
    else:
        criterion = OhemCrossEntropy(threshold=threshold, min_kept=PIXELS_KEPT, ignore_label=255)
    return criterion(logits, ms.Tensor(golden[label].astype(np.int32)))


@published
@pytest.mark.parametrize(("key", "label", "threshold"), LOSSES)
def test_losses_are_those_of_2021(published_logits, golden_f8, key, label, threshold):
    loss = float(loss_of(published_logits, golden_f8, label, threshold))
    assert abs(loss - golden_f8[f"{key}_loss"]) <= 1e-4 * abs(golden_f8[f"{key}_loss"])


@published
@pytest.mark.parametrize(
    ("key", "label", "threshold"),
    [
        # Through the network they all go back in one way.
        pytest.param(*case, marks=[] if case[0] == "ohem_0.03" else pytest.mark.slow)
        for case in LOSSES[:4]
    ],
)
def test_gradients_are_those_of_2021(published_f8, golden_f8, key, label, threshold):
    weights = {names_2021.in_2021(p.name, use_abn=True): p for p in published_f8.trainable_params()}
    order = [weights[name] for name, _, trainable in names_and_shapes("parameters.csv") if trainable]

    def of_images(images):
        return loss_of(published_f8(images), golden_f8, label, threshold)

    gradients = ms.grad(of_images, None, order)(image(65, 129))
    golden = golden_f8[f"{key}_grad_norm"]
    ours = np.array([np.linalg.norm(g.asnumpy().astype(np.float64)) for g in gradients])
    assert len(ours) == 925
    difference = np.abs(ours - golden)
    assert (difference <= 1e-3 * golden).all()
    assert difference.max() <= 1e-4 * golden.max()
