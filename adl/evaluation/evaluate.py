"""Scoring a checkpoint on a record, by one or several processes."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adl import device
from adl.dataset import label_maps
from adl.dataset.descriptor import DatasetDescriptor
from adl.evaluation.counts import EvaluationJob, ImageResult
from adl.files import percent, read_png, replacing_folder, scratch_folder
from adl.metrics import Confusion
from adl.metrics.bootstrap import bootstrap, interval
from adl.metrics.confusion import mean

WORST = 10
"""Overlays of the images with the lowest mIOU."""


@dataclasses.dataclass
class Evaluation:
    """The results of all images, sorted by name; `selected` is the name of the mode that was asked for.

    shown: image → (H, W) uint8 train ids in that mode, of the images that the report shows.
    """

    dataset: DatasetDescriptor
    selected: str
    results: list[ImageResult]
    device_target: str
    processes: int = 1
    shown: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [result.name for result in self.results]

    def counts(self, mode: str | None = None) -> np.ndarray:
        """(images, C, C + 1) pixels of each image. mode: None for the selected one."""
        return np.array([result.counts[mode or self.selected] for result in self.results])

    def confusion(self, mode: str | None = None) -> Confusion:
        """Over all images. mode: None for the selected one."""
        return Confusion(self.dataset, self.counts(mode).sum(axis=0))

    def per_image(self) -> dict[str, float]:
        """Image → its own mIOU, 0-1; without those in which nothing is scored."""
        scores = {}
        for result in self.results:
            miou = Confusion(self.dataset, result.counts[self.selected]).mean_iou()
            if miou is not None:
                scores[result.name] = miou
        return scores

    def overlays(self) -> dict[str, str]:
        """Name of an overlay → its image: the worst ones, the one in the middle and the best."""
        scores = self.per_image()
        ranked = sorted(scores, key=scores.__getitem__)
        chosen = {f"worst_{place:02d}": name for place, name in enumerate(ranked[:WORST], start=1)}
        if ranked:
            chosen |= {"median": ranked[len(ranked) // 2], "best": ranked[-1]}
        return chosen

    def metrics(self, baselines: Mapping[str, float] | None = None) -> dict[str, Any]:
        """What metrics/evaluate.json holds. baselines: name → mIOU on the same images, in percent."""
        confusion = self.confusion()
        class_iou, category_iou = confusion.class_iou(), confusion.category_iou()
        scores = {"mIOU": confusion.mean_iou(), "mIOU_low": None, "mIOU_high": None}
        if len(self.results) > 1 and scores["mIOU"] is not None:
            scores["mIOU_low"], scores["mIOU_high"] = interval(bootstrap([self.counts()])[0])
        for mode in self.results[0].counts:
            scores[f"mIOU_{mode}"] = self.confusion(mode).mean_iou()
        of_categories = {}
        if category_iou:
            scores["mIOU_category"] = mean(category_iou)
            of_categories["category_IOU"] = _percents(category_iou)
        scores |= confusion.accuracies()
        return {
            **_percents(scores),
            "images": len(self.results),
            "classes_counted": sum(value is not None for value in class_iou.values()),
            "class_IOU": _percents(class_iou),
            **of_categories,
            "baseline": baselines or {},
        }

    def speed(self) -> dict[str, Any]:
        """The usual image's time in one process, without those that waited for a compilation."""
        return {
            "ms_per_image": _usual([result.seconds for result in self.results]),
            "network_ms_per_image": _usual([result.network_seconds for result in self.results]),
            "modes": len(self.results[0].counts),
            "processes": self.processes,
            **device.machine(self.device_target),
        }


def _percents(fractions: dict[str, float | None]) -> dict[str, float | None]:
    return {name: percent(value) for name, value in fractions.items()}


def _usual(seconds: list[float | None]) -> float | None:
    """In milliseconds."""
    measured = [one for one in seconds if one is not None]
    return round(1000 * statistics.median(measured), 1) if measured else None


def evaluate(
    job: EvaluationJob,
    predictions: Path,
    *,
    launch: Callable[[Sequence[str]], int],
) -> Evaluation:
    """Predict and count the images of a record, each once.

    The label-id PNGs of the scale-1 mode appear in the folder `predictions` when all are written. launch(command)
    runs a command as one or several ranks, and returns 0 or the exit code of the one that failed, with which the
    program then ends.
    """
    dataset = job.dataset
    at_scale_1 = job.mode.at_scale_1.name
    with (
        replacing_folder(predictions) as target,
        scratch_folder(predictions.with_name("counts")) as scratch,
    ):
        job_file = scratch / "job"
        job_file.write_bytes(pickle.dumps(job))
        # Another one for exported files, whose code scores no checkpoint.
        worker = "adl.evaluation.worker" if job.architecture else "adl.export.file_worker"
        if code := launch([sys.executable, "-m", worker, str(job_file)]):
            sys.exit(code)
        parts = [pickle.loads(path.read_bytes()) for path in scratch.glob("*.pickle")]
        results = sorted(itertools.chain.from_iterable(parts), key=lambda result: result.name)
        evaluation = Evaluation(dataset, job.mode.name, results, job.device_target, len(parts))
        images = job.images
        if not len(set(evaluation.names)) == len(results) == images:
            raise RuntimeError(f"{len(results)} images were evaluated, {images} expected, each once")
        for name in evaluation.overlays().values():
            label_ids = read_png(dataset.prediction_path(scratch / job.mode.name, name))
            evaluation.shown[name] = dataset.train_ids[label_ids]
        (scratch / at_scale_1).replace(target)
        label_maps.describe(
            target,
            model=job.model,
            record=job.record,
            mode=str(job.mode.at_scale_1),
            dataset=dataset,
        )
    return evaluation
