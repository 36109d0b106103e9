"""`python -m adl.evaluation.worker JOB.json`: one process of an evaluation. Only the launcher starts it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import nn

from adl.architecture import Architecture
from adl.console.progress import Progress
from adl.dataset import records
from adl.dataset.descriptor import CITYSCAPES, DatasetDescriptor
from adl.dataset.records import Row
from adl.errors import reported
from adl.evaluation import counts, inference
from adl.evaluation.counts import ImageResult
from adl.evaluation.inference import Mode
from adl.files import write_png
from adl.metrics.confusion import count_image
from adl.network import checkpoint
from adl.parallel import world as world_module
from adl.parallel.world import ALONE, World


@dataclasses.dataclass(frozen=True)
class EvaluationJob:
    """What every process of an evaluation needs to know.

    model: a checkpoint, or an exported file. architecture: of a checkpoint; None for an exported file. limit: the
    first so many images; None: all.
    """

    model: str
    architecture: dict[str, Any] | None
    record: str
    device_target: str
    multiscale: bool
    flip: bool
    limit: int | None
    batch_size: int

    @property
    def worker(self) -> str:
        """The module that each process runs: another one for exported files, whose code scores no checkpoint."""
        return "adl.export.file_worker" if self.architecture is None else "adl.evaluation.worker"

    @property
    def mode(self) -> Mode:
        return inference.mode(multiscale=self.multiscale, flip=self.flip)

    def images(self, dataset: DatasetDescriptor) -> int:
        in_record = records.read_manifest(Path(self.record), dataset)["images"]
        return in_record if self.limit is None else min(self.limit, in_record)


LabelMaps = Callable[[np.ndarray], dict[str, np.ndarray]]
"""(N, H, W, 3) uint8 → name of each mode that is counted → (N, H, W) uint8 train ids."""


Load = Callable[[EvaluationJob, DatasetDescriptor, World], LabelMaps]
"""The model of a job, ready to predict."""


def counts_path(folder: Path, rank: int) -> Path:
    return folder / f"rank_{rank}.pickle"


def main(load: Load) -> None:
    """Evaluate this rank's images; its counts and label maps appear in the folder of the job's file."""
    path = Path(sys.argv[1])
    with reported():
        job = EvaluationJob(**json.loads(path.read_text(encoding="utf-8")))
        world = world_module.from_environment()
        results = count(load(job, CITYSCAPES, world), job, path.parent, CITYSCAPES, world)
        counts.save(results, counts_path(path.parent, world.rank))


def of_checkpoint(job: EvaluationJob, dataset: DatasetDescriptor, world: World) -> LabelMaps:
    """Raises AdlError if the checkpoint is damaged."""
    assert job.architecture is not None
    architecture = Architecture.from_json(job.architecture)
    network = checkpoint.restore(
        Path(job.model), architecture, device_target=job.device_target, world=world
    )
    return of_network(network, job, dataset)


def of_network(network: nn.Cell, job: EvaluationJob, dataset: DatasetDescriptor) -> LabelMaps:
    passes = inference.passes(network, dataset, job.mode)
    return functools.partial(inference.label_maps, passes, chosen=job.mode)


def count(
    predict: LabelMaps,
    job: EvaluationJob,
    folder: Path,
    dataset: DatasetDescriptor,
    world: World = ALONE,
) -> list[ImageResult]:
    """Predict and count this rank's images, and write their label maps at scale 1 and in the selected mode.

    folder: receives a folder for each of these modes.
    """
    written = {job.mode.name, job.mode.at_scale_1.name}
    rows = records.read(Path(job.record), limit=job.limit, world=world)
    compiled: set[tuple[int, ...]] = set()
    results: list[ImageResult] = []
    images = len(range(world.rank, job.images(dataset), world.size))
    began = time.perf_counter()
    with Progress(images, "evaluating") as progress:
        for batch in batches(rows, job.batch_size):
            stack = _filled_up(batch, job.batch_size)
            called = time.perf_counter()
            maps = predict(stack)
            in_network = (time.perf_counter() - called) / len(batch)
            counted = []
            for i, row in enumerate(batch):
                counted.append({m: count_image(dataset, row.label, maps[m][i]) for m in maps})
                for mode in written:
                    label_ids = dataset.label_ids[maps[mode][i]]
                    write_png(dataset.prediction_path(folder / mode, row.name), label_ids)
            in_all = (time.perf_counter() - began) / len(batch)
            if stack.shape not in compiled:
                compiled.add(stack.shape)
                in_all = in_network = math.nan
            for row, by_mode in zip(batch, counted, strict=True):
                results.append(ImageResult(row.name, by_mode, in_all, in_network))
            progress.advance(len(batch))
            began = time.perf_counter()
    return results


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows in their order, up to `size` at a time, images of one size together."""
    for _, of_one_size in itertools.groupby(rows, key=lambda row: row.image.shape):
        while batch := list(itertools.islice(of_one_size, size)):
            yield batch


def _filled_up(batch: list[Row], size: int) -> np.ndarray:
    """(size, H, W, 3) uint8: a part of a batch is filled up with its last image, so that one graph serves all."""
    images = [row.image for row in batch]
    images += images[-1:] * (size - len(images))
    return np.stack(images)


if __name__ == "__main__":
    main(of_checkpoint)
