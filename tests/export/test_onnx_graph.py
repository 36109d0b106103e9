"""The ONNX model equals the network, for every primitive, order of batch norm, path and size."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from mindspore import Tensor

from adl import network
from adl.architecture import Architecture
from adl.dataset.augment import Normalise
from adl.export import onnx_graph, runtimes
from tests.data import CITYSCAPES

pytestmark = pytest.mark.usefixtures("pynative")

EVERY_PRIMITIVE = ((0, 0), (1, 1), (0, 2), (1, 3), (2, 4), (3, 5), (1, 6), (4, 7))
PATHS = {"short": (0, 1, 2, 1), "all levels": (0, 0, 1, 2, 3, 3, 2, 1), "flat": (1, 1, 1)}
SIZES = {0: ((64, 128), (65, 129)), 1: ((97, 78), (50, 33))}
"""Seed of the weights → sizes that are tried with it, even and odd."""


def trained(architecture: Architecture, seed: int) -> network.AutoDeepLab:
    """A network with weights and statistics as after a training run: none of them has its initial value."""
    net, rng = network.build(architecture), np.random.default_rng(seed)
    for parameter in net.get_parameters():
        shape, name = parameter.shape, parameter.name.rpartition(".")[2]
        values = {
            "weight": lambda shape=shape: rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape),
            "gamma": lambda shape=shape: rng.normal(1, 0.2, shape),
            "beta": lambda shape=shape: rng.normal(0, 0.2, shape),
            "moving_mean": lambda shape=shape: rng.normal(0, 0.2, shape),
            "moving_variance": lambda shape=shape: rng.uniform(0.5, 2, shape),
        }
        parameter.set_data(Tensor(values[name]().astype(np.float32)))
    return net.set_train(False)


def weights(net: network.AutoDeepLab) -> dict[str, np.ndarray]:
    return {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}


def small(**fields: object) -> Architecture:
    fields = {"net": PATHS["short"], "cell": EVERY_PRIMITIVE} | fields
    return Architecture(filter_multiplier=3, initial_fm=4, head_channels=8, **fields)


def with_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a second output: what goes into the softmax."""
    logits = model.graph.node[-1].input[0]
    shape = [1, 19, "H", "W"]
    model.graph.output.append(onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, shape))
    return model


def random_genotype(seed: int) -> dict[str, object]:
    """A path and a cell that a search could find."""
    rng = np.random.default_rng(seed)
    net = [0]
    for _ in range(4):
        net.append(int(np.clip(net[-1] + rng.integers(-1, 2), 0, 3)))
    cell = []
    for block in range(3):
        states = rng.choice(block + 2, 2, replace=False)
        cell += [(int(state), int(rng.integers(8))) for state in states]
    return {"net": tuple(net), "cell": tuple(cell)}


def architectures() -> dict[str, Architecture]:
    found = {}
    for use_abn in (True, False):
        for path in PATHS:
            found[f"{path}, ABN {use_abn}"] = small(net=PATHS[path], use_abn=use_abn)
        for seed in range(3):
            found[f"random {seed}, ABN {use_abn}"] = small(use_abn=use_abn, **random_genotype(seed))
        found[f"published, ABN {use_abn}"] = Architecture(
            filter_multiplier=3, initial_fm=4, head_channels=8, use_abn=use_abn
        )
    return found


def cases() -> list:
    """Each architecture at an even and an odd size; quickly: short paths alone, with other weights and one size."""
    found = []
    for name, architecture in architectures().items():
        if not name.startswith("published"):
            found.append(pytest.param(name, 0, SIZES[0][architecture.use_abn :][:1]))
        found.append(pytest.param(name, 1, SIZES[1], marks=pytest.mark.slow))
    return found


@pytest.mark.parametrize(("name", "seed", "sizes"), cases())
def test_model_equals_the_network(name, seed, sizes):
    architecture = architectures()[name]
    net = trained(architecture, seed)
    model = with_logits(onnx_graph.build(architecture, weights(net), CITYSCAPES))
    onnx.save(model, "m.onnx")
    normalise = Normalise(CITYSCAPES)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model("m.onnx"), "CPU", runtimes.OPENVINO)
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    for size in sizes:
        image = np.random.default_rng(seed).integers(0, 256, (1, *size, 3), dtype=np.uint8)
        expected = net(Tensor(normalise(image).transpose(0, 3, 1, 2))).asnumpy()
        for results in (compiled(image).values(), session.run(None, {"images": image})):
            probabilities, logits = results
            assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
            assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.999


def test_metadata_say_what_the_model_is():
    architecture = small()
    model = onnx_graph.build(architecture, weights(trained(architecture, 0)), CITYSCAPES)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata["classes"][:2] == ["road", "sidewalk"]
    assert metadata["palette"][0] == [128, 64, 128]
    assert Architecture.from_json(metadata["architecture"]) == architecture
    assert not [node.op_type for node in model.graph.node if "Norm" in node.op_type]
    assert model.opset_import[0].version >= 17


def test_missing_weight_is_an_error():
    architecture = small()
    incomplete = weights(trained(architecture, 0))
    del incomplete["aspp.pooled.norm.beta"]
    with pytest.raises(KeyError, match=r"aspp\.pooled\.norm\.beta"):
        onnx_graph.build(architecture, incomplete, CITYSCAPES)
