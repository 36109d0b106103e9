"""`python -m adl.evaluation.worker JOB`: one process of an evaluation. Only the launcher starts it."""

from __future__ import annotations

import functools
import itertools
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from adl.console.progress import track
from adl.dataset import records
from adl.dataset.records import Row
from adl.errors import reported
from adl.evaluation import inference
from adl.evaluation.counts import EvaluationJob, ImageResult
from adl.files import write_png
from adl.metrics.confusion import count_image
from adl.network import checkpoint
from adl.parallel import world as world_module
from adl.parallel.world import ALONE, World

LabelMaps = Callable[[np.ndarray], dict[str, np.ndarray]]
"""(N, H, W, 3) uint8 → name of each mode that is counted → (N, H, W) uint8 train ids."""


def main(load: Callable[[EvaluationJob, World], LabelMaps]) -> None:
    """Evaluate this rank's images; its counts and label maps appear in the folder of the job's file.

    load: makes the model of a job ready to predict.
    """
    path = Path(sys.argv[1])
    with reported():
        job = pickle.loads(path.read_bytes())
        world = world_module.from_environment()
        results = count(load(job, world), job, path.parent, world)
        (path.parent / f"rank_{world.rank}.pickle").write_bytes(pickle.dumps(results))


def of_checkpoint(job: EvaluationJob, world: World) -> LabelMaps:
    """Raises AdlError if the checkpoint is damaged."""
    assert job.architecture
    network = checkpoint.restore(job.model, job.architecture, device_target=job.device_target, world=world)
    passes = inference.passes(network, job.dataset, job.mode, sizes=job.sizes)
    return functools.partial(inference.label_maps, passes, chosen=job.mode)


def count(
    predict: LabelMaps,
    job: EvaluationJob,
    folder: Path,
    world: World = ALONE,
) -> list[ImageResult]:
    """Predict and count this rank's images, and write their label maps at scale 1 and in the selected mode.

    folder: receives a folder for each of these modes.
    """
    dataset = job.dataset
    written = {job.mode.name, job.mode.at_scale_1.name}
    rows = records.read(job.record, limit=job.limit, part=world.rank, parts=world.size)
    images = len(range(world.rank, job.images, world.size))
    one_graph = job.mode.window or job.sizes > inference.FEW_SIZES
    compiled: set[tuple[int, ...]] = set()
    results: list[ImageResult] = []
    began = time.perf_counter()
    for batch in batches(track(rows, images, "evaluating"), job.batch_size):
        stack = [row.image for row in batch]
        # A part of a batch is filled up with its last image, so that one graph serves all.
        stack += stack[-1:] * (job.batch_size - len(batch))
        called = time.perf_counter()
        maps = predict(np.stack(stack))
        in_network = time.perf_counter() - called
        for place, row in enumerate(batch):
            result = ImageResult(row.name, {})
            for mode, labels in maps.items():
                result.counts[mode] = count_image(dataset, row.label, labels[place])
                if mode in written:
                    path = dataset.prediction_path(folder / mode, row.name)
                    write_png(path, dataset.label_ids[labels[place]])
            results.append(result)
        in_all = time.perf_counter() - began
        graph = () if one_graph else stack[0].shape
        if graph in compiled:
            for result in results[-len(batch) :]:
                result.seconds = in_all / len(batch)
                result.network_seconds = in_network / len(batch)
        compiled.add(graph)
        began = time.perf_counter()
    return results


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows in their order, up to `size` at a time, images of one size together."""
    for _, of_one_size in itertools.groupby(rows, key=lambda row: row.image.shape):
        while batch := list(itertools.islice(of_one_size, size)):
            yield batch


if __name__ == "__main__":
    main(of_checkpoint)
