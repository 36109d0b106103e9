"""The val mIOU while a training runs: plain, at scale 1, shared out to the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from mindspore import Parameter, Tensor

from adl import inference, network, records
from adl.architecture import Architecture
from adl.artifacts import percent
from adl.cityscapes import LABEL_ID
from adl.collective import AllSum, sum_counts
from adl.runtime import World
from adl.scoring import Confusion


class Interrupted(Exception):  # noqa: N818 (no error)
    """The process was asked to stop in the middle of a validation."""


class Validation:
    """A second network for evaluation, which takes the weights of the one that is trained: its graph stays as it is."""

    def __init__(
        self, architecture: Architecture, record: Path, world: World, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self.record, self.world, self.stopping = record, world, stopping
        self.images = records.read_manifest(record)["images"]
        self.network = network.build(architecture)
        self.passes = inference.passes(self.network, multiscale=False)
        self.over_ranks = AllSum(world)

    def miou(self, trained: Mapping[str, Parameter]) -> float | None:
        """In percent, over all images of the record, each counted once; the same on all ranks.

        Raises Interrupted, on all ranks together, when one was asked to stop.
        """
        for name, parameter in self.network.parameters_and_names():
            values = Tensor(trained[name].asnumpy())
            if self.world.size > 1 and ".moving_" in name:
                # Where each device has statistics of its own, the model is rank 0's.
                values = self.over_ranks(values * float(self.world.rank == 0))
            parameter.set_data(values)
        confusion, counted, interrupted = Confusion(), 0, False
        for _, image, label in records.read(self.record, world=self.world):
            if interrupted := self.stopping():
                break
            prediction = inference.label_maps(self.passes, image[None], flip=False)["single"][0]
            confusion.add(LABEL_ID[label], LABEL_ID[prediction])
            counted += 1
        *matrix, counted, stops = sum_counts(np.append(confusion.matrix.ravel(), [counted, interrupted]), self.world)
        if stops:
            raise Interrupted
        confusion = Confusion(np.reshape(matrix, confusion.matrix.shape))
        if counted != self.images:
            raise RuntimeError(f"{counted} images were validated, {self.images} expected")
        return percent(confusion.mean_iou())
