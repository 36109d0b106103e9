"""The val mIOU during training: no mirror, at scale 1, shared among the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mindspore import Parameter, Tensor

from adl import network
from adl.architecture import Architecture
from adl.dataset import records
from adl.dataset.descriptor import DatasetDescriptor
from adl.evaluation import inference
from adl.evaluation.inference import Mode
from adl.files import percent
from adl.metrics import Confusion
from adl.parallel.collective import AllSum, sum_counts
from adl.parallel.world import ALONE, World
from adl.training.plan import Stop


class Interrupted(Exception):  # noqa: N818 (no error)
    """The process was asked to stop in the middle of a validation."""


class Validation:
    """A second network for evaluation, which takes the weights of the one that is trained: its graph stays as it is.

    window: of `Mode`. stop: looked at before every image.
    """

    def __init__(
        self,
        architecture: Architecture,
        record: Path,
        dataset: DatasetDescriptor,
        *,
        window: Sequence[int] | None = None,
        world: World = ALONE,
        stop: Stop,
    ) -> None:
        self.record, self.dataset, self.world, self.stop = record, dataset, world, stop
        manifest = records.read_manifest(record, dataset)
        self.images = manifest["images"]
        self.network = network.build(architecture)
        self.mode = Mode(window=window)
        self.passes = inference.passes(self.network, dataset, self.mode, sizes=len(manifest["sizes"]))
        self.over_ranks = AllSum(world)

    def miou(self, trained: Mapping[str, Parameter]) -> float | None:
        """In percent, over all images of the record, each counted once; the same on all ranks.

        Raises Interrupted, on all ranks together, when one was asked to stop.
        """
        for name, parameter in self.network.parameters_and_names():
            values = Tensor(trained[name].asnumpy())
            if self.world.size > 1 and ".moving_" in name:
                # If each device has statistics of its own, the model is rank 0's.
                values = self.over_ranks(values * float(self.world.is_first))
            parameter.set_data(values)
        confusion = Confusion(self.dataset)
        images = 0
        for row in records.read(self.record, part=self.world.rank, parts=self.world.size):
            if self.stop.requested:
                break
            maps = inference.label_maps(self.passes, row.image[None], self.mode)
            confusion.add(row.label, maps[self.mode.name][0])
            images += 1
        *counts, images, stops = sum_counts(np.append(confusion.counts, [images, self.stop.requested]), self.world)
        if stops:
            raise Interrupted
        if images != self.images:
            raise RuntimeError(f"{images} images were validated, {self.images} expected")
        confusion.counts = np.reshape(counts, confusion.counts.shape)
        return percent(confusion.mean_iou())
