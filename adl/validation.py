"""The val mIOU while a training runs: plain, at scale 1, shared out to the ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from adl import inference, network, records
from adl.architecture import Architecture
from adl.artifacts import percent
from adl.cityscapes import LABEL_ID
from adl.collective import AllSum
from adl.runtime import World
from adl.scoring import Confusion


class Validation:
    """A second network for evaluation, which takes the weights of the one that is trained: its graph stays as it is."""

    def __init__(self, architecture: Architecture, record: Path, world: World) -> None:
        self.record, self.world = record, world
        self.images = records.read_manifest(record)["images"]
        self.network = network.build(architecture)
        self.passes = inference.passes(self.network, multiscale=False)
        self.over_ranks = AllSum(world)

    def miou(self, trained: nn.Cell) -> float | None:
        """In percent, over all images of the record, each counted once; the same on all ranks."""
        weights = dict(trained.parameters_and_names())
        for name, parameter in self.network.parameters_and_names():
            parameter.set_data(Tensor(weights[name].asnumpy()))
        confusion, counted = Confusion(), 0
        for _, image, label in records.read(self.record, world=self.world):
            prediction = inference.label_maps(self.passes, image, flip=False)["single"]
            confusion.add(LABEL_ID[label], LABEL_ID[prediction])
            counted += 1
        if self.world.size > 1:
            # All pixels of the 500 val images are half of what int32 can count.
            sums = self.over_ranks(Tensor(np.append(confusion.matrix.ravel(), counted).astype(np.int32))).asnumpy()
            confusion.matrix, counted = sums[:-1].reshape(confusion.matrix.shape).astype(np.int64), int(sums[-1])
        if counted != self.images:
            raise RuntimeError(f"{counted} images were validated, {self.images} expected")
        return percent(confusion.mean_iou())
