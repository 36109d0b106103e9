"""Scoring a checkpoint on a record, by one or several processes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adl import device
from adl.dataset import label_maps
from adl.dataset.descriptor import DatasetDescriptor
from adl.evaluation.counts import Counts, ImageResult, load
from adl.evaluation.worker import EvaluationJob, counts_path
from adl.files import percent, read_png, replacing_folder, scratch_folder, write_json
from adl.metrics import Confusion
from adl.metrics.bootstrap import bootstrap, interval
from adl.metrics.confusion import mean

WORST = 10
"""Overlays of the images with the lowest mIOU."""

Launch = Callable[[Sequence[str], int], int]
"""launch(command, processes): run a command as several ranks, and return 0 or the exit code of the one that failed."""


@dataclasses.dataclass
class Evaluation:
    """The counts of every mode, and of each baseline; `selected` is the name of the mode that was asked for.

    shown: image → (H, W) uint8 train ids in that mode, of the images that the report shows.
    """

    dataset: DatasetDescriptor
    selected: str
    counts: Counts
    device_target: str
    processes: int = 1
    baselines: dict[str, Confusion] = dataclasses.field(default_factory=dict)
    shown: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def images(self) -> int:
        return len(self.counts.names)

    def confusion(self, mode: str | None = None) -> Confusion:
        """Over all images. mode: None for the selected one."""
        return Confusion(self.dataset, self.counts.counts[mode or self.selected].sum(axis=0))

    def per_image(self) -> dict[str, float]:
        """Image → its own mIOU, 0-1; without those in which nothing is scored."""
        scores = {}
        for name, counts in zip(self.counts.names, self.counts.counts[self.selected], strict=True):
            miou = Confusion(self.dataset, counts).mean_iou()
            if miou is not None:
                scores[name] = miou
        return scores

    def overlays(self) -> dict[str, list[str]]:
        """Image → names of its overlays: the worst ones, the one in the middle and the best."""
        scores = self.per_image()
        ranked = sorted(scores, key=lambda name: (scores[name], name))
        picks = {f"worst_{i + 1:02d}": name for i, name in enumerate(ranked[:WORST])}
        if ranked:
            picks |= {"median": ranked[len(ranked) // 2], "best": ranked[-1]}
        chosen: dict[str, list[str]] = {}
        for pick, name in picks.items():
            chosen.setdefault(name, []).append(pick)
        return chosen

    def metrics(self) -> dict[str, Any]:
        confusion = self.confusion()
        class_iou, category_iou = confusion.class_iou(), confusion.category_iou()
        low = high = None
        if self.images > 1 and confusion.mean_iou() is not None:
            low, high = interval(bootstrap([self.counts.counts[self.selected]])[0])
        of_modes = {f"mIOU_{mode}": self.confusion(mode).mean_iou() for mode in self.counts.counts}
        scores = {
            "mIOU": confusion.mean_iou(),
            "mIOU_low": low,
            "mIOU_high": high,
            **of_modes,
            "mIOU_category": mean(category_iou),
            "pixel_accuracy": confusion.pixel_accuracy(),
            "mean_accuracy": confusion.mean_accuracy(),
            "frequency_weighted_IOU": confusion.frequency_weighted_iou(),
        }
        baselines = {name: baseline.mean_iou() for name, baseline in self.baselines.items()}
        return {
            **_percents(scores),
            "images": self.images,
            "classes_counted": sum(value is not None for value in class_iou.values()),
            "class_IOU": _percents(class_iou),
            "category_IOU": _percents(category_iou),
            "baseline": _percents(baselines),
        }

    def speed(self) -> dict[str, Any]:
        return {
            **self.counts.milliseconds(),
            "modes": len(self.counts.counts),
            "processes": self.processes,
            **device.machine(self.device_target),
        }


def _percents(fractions: dict[str, float | None]) -> dict[str, float | None]:
    return {name: percent(value) for name, value in fractions.items()}


def evaluate(
    job: EvaluationJob,
    predictions: Path,
    dataset: DatasetDescriptor,
    *,
    processes: int,
    launch: Launch,
) -> Evaluation:
    """Predict and count the images of a record, each once.

    The label-id PNGs of the scale-1 mode appear in the folder `predictions` when all are written. launch starts the
    processes. Ends the program with the exit code of a process that fails, after it said why.
    """
    selected, at_scale_1 = job.mode.name, job.mode.at_scale_1.name
    with (
        replacing_folder(predictions) as target,
        scratch_folder(predictions.with_name("counts")) as scratch,
    ):
        job_file = scratch / "job.json"
        write_json(job_file, dataclasses.asdict(job))
        code = launch([sys.executable, "-m", job.worker, str(job_file)], processes)
        if code:
            sys.exit(code)
        results: list[ImageResult] = []
        for rank in range(processes):
            results += load(counts_path(scratch, rank))
        counts = Counts.of_images(results)
        images = job.images(dataset)
        if not len(set(counts.names)) == len(counts.names) == images:
            raise RuntimeError(
                f"{len(counts.names)} images were evaluated, {images} expected, each once"
            )
        evaluation = Evaluation(dataset, selected, counts, job.device_target, processes)
        for name in evaluation.overlays():
            label_ids = read_png(dataset.prediction_path(scratch / selected, name))
            evaluation.shown[name] = dataset.train_ids[label_ids]
        (scratch / at_scale_1).replace(target)
        label_maps.describe(
            target,
            model=Path(job.model),
            record=Path(job.record),
            mode=at_scale_1,
            dataset=dataset,
        )
    return evaluation
