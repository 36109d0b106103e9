"""Checkpoints of 2021 in the stages, as processes: scored, exported, and trained further."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from mindspore import Tensor

from adl import network
from adl.architecture import Architecture
from adl.network import checkpoint
from adl.workspace import sidecar
from tests import checkpoints_2021
from tests.workspace import ran, set_params, succeeds


@pytest.mark.slow
def test_file_trained_without_affine_is_scored_exported_and_trained_further(finished):
    """As run_train.sh of 2021 left it, which set affine to False, while params.yaml says true."""
    model = finished / "models/autodeeplab.ckpt"
    architecture = Architecture.from_sidecar(sidecar(model))
    assert architecture.affine
    old = network.build(dataclasses.replace(architecture, affine=False))
    checkpoint.load(old, model)
    for name, parameter in checkpoint.native(old).items():
        if not parameter.requires_grad and name.endswith(("gamma", "beta")):
            start = np.ones if name.endswith("gamma") else np.zeros
            parameter.set_data(Tensor(start(parameter.shape, np.float32)))
    checkpoints_2021.write(old, finished / "pretrained/old.ckpt")

    set_params(finished, affine=True, ckpt_name="old.ckpt", export_formats=[])
    python = ("python", "-m")
    of_file = ("--checkpoint", "pretrained/old.ckpt", "--output")
    assert "2021 names" in succeeds(finished, *python, "pipeline.evaluate", *of_file, "scored")
    assert json.loads((finished / "scored/evaluate.json").read_text())["mIOU"] > 0
    assert "2021 names" in succeeds(finished, *python, "pipeline.export", *of_file, "exported")
    proofs = json.loads((finished / "exported/export.json").read_text())
    assert proofs["mindir"]["agreement"] > 99.99

    output = succeeds(finished, "dvc", "repro", "train")
    assert ran(output) == {"check", "train"}
    assert "weights from old.ckpt: " in output
    assert "2021 names" in output
