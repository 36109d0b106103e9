"""Scoring a checkpoint on a record: label maps and counts, by one or several processes; then tables and pictures.

`python -m adl.evaluation JOB.json` is one of the processes. The launcher starts it; nobody else needs to.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mindspore import nn

from adl import checkpoint, figures, inference, launcher, records, runtime
from adl.architecture import Architecture
from adl.artifacts import (
    percent,
    read_image,
    replacing,
    replacing_folder,
    scratch_folder,
    write_csv,
    write_image,
    write_json,
)
from adl.cityscapes import CLASS_NAMES, LABEL_ID, prediction_path
from adl.errors import reported
from adl.progress import track
from adl.runtime import ALONE, World
from adl.scoring import Confusion, bootstrap, count_image, interval, mean

WORST = 10
"""Overlays of the images with the lowest mIOU."""

Row = tuple[str, np.ndarray, np.ndarray]
"""(name, image (H, W, 3) uint8 BGR, label (H, W) uint8 train ids)."""


@dataclasses.dataclass
class Counts:
    """What was counted on some images. matrices: mode → (images, 34, 34) pixels, truth × prediction, by label id.

    seconds: of each image, all in all; network_seconds: from the image on the host to the label maps on the host; NaN
    where a graph was compiled for it.
    """

    names: list[str]
    matrices: dict[str, np.ndarray]
    seconds: list[float]
    network_seconds: list[float]

    def save(self, path: Path) -> None:
        with replacing(path) as temporary:
            np.savez_compressed(
                temporary, names=self.names, seconds=self.seconds, network_seconds=self.network_seconds, **self.matrices
            )

    @classmethod
    def load(cls, path: Path) -> Counts:
        with np.load(path) as file:
            stored = {name: file[name] for name in file.files}
        names, *times = (stored.pop(name).tolist() for name in ("names", "seconds", "network_seconds"))
        return cls(names, stored, *times)

    @classmethod
    def merged(cls, parts: Sequence[Counts]) -> Counts:
        """All images, sorted by name."""
        names, seconds, network_seconds = (
            [value for part in parts for value in getattr(part, field)]
            for field in ("names", "seconds", "network_seconds")
        )
        order = np.argsort(names)
        modes = next(part.matrices for part in parts if part.names)
        return cls(
            [names[i] for i in order],
            {mode: np.concatenate([p.matrices[mode] for p in parts if p.names])[order] for mode in modes},
            [seconds[i] for i in order],
            [network_seconds[i] for i in order],
        )


@dataclasses.dataclass(frozen=True)
class Job:
    """What every process of an evaluation is told. limit: the first so many images; None: all."""

    checkpoint: str
    architecture: dict[str, Any]
    record: str
    device_target: str
    multiscale: bool
    flip: bool
    limit: int | None
    batch_size: int

    @property
    def images(self) -> int:
        there = records.read_manifest(Path(self.record))["images"]
        return there if self.limit is None else min(self.limit, there)


@dataclasses.dataclass
class Evaluation:
    """The counts of every mode, and of each baseline; `selected` is the mode that the parameters ask for.

    shown: image → (H, W) uint8 label ids in that mode, of the images that the report shows.
    """

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
        return Confusion(self.counts.matrices[mode or self.selected].sum(axis=0))

    def per_image(self) -> dict[str, float]:
        """Image → its own mIOU, 0-1; without those in which nothing is scored."""
        matrices = self.counts.matrices[self.selected]
        own = {name: Confusion(m).mean_iou() for name, m in zip(self.counts.names, matrices, strict=True)}
        return {name: iou for name, iou in own.items() if iou is not None}

    def metrics(self) -> dict[str, Any]:
        confusion = self.confusion()
        class_iou, category_iou = confusion.class_iou(), confusion.category_iou()
        low = high = None
        if self.images > 1 and confusion.mean_iou() is not None:
            low, high = interval(bootstrap([self.counts.matrices[self.selected]])[0])
        return {
            "mIOU": percent(confusion.mean_iou()),
            "mIOU_low": percent(low),
            "mIOU_high": percent(high),
            **{f"mIOU_{mode}": percent(self.confusion(mode).mean_iou()) for mode in self.counts.matrices},
            "mIOU_category": percent(mean(category_iou)),
            "pixel_accuracy": percent(confusion.pixel_accuracy()),
            "mean_accuracy": percent(confusion.mean_accuracy()),
            "frequency_weighted_IOU": percent(confusion.frequency_weighted_iou()),
            "images": self.images,
            "classes_counted": sum(value is not None for value in class_iou.values()),
            "class_IOU": {name: percent(value) for name, value in class_iou.items()},
            "category_IOU": {name: percent(value) for name, value in category_iou.items()},
            "baseline": {name: percent(c.mean_iou()) for name, c in self.baselines.items()},
        }

    def speed(self) -> dict[str, Any]:
        """The usual image's time in one process, without those that waited for a compilation."""
        return {
            "ms_per_image": _usual_ms(self.counts.seconds),
            "network_ms_per_image": _usual_ms(self.counts.network_seconds),
            "modes": len(self.counts.matrices),
            "processes": self.processes,
            **runtime.machine(self.device_target),
        }


def evaluate(job: Job, predictions: Path, *, processes: int, first_device: int, logs: Path) -> Evaluation:
    """Predict and count the images of a record, each once, in some processes: at most one a device of this machine.

    The label-id PNGs of the scale-1 mode appear in the folder `predictions` when all are written. Ends the program with
    the exit code of a process that fails, after it said why.
    """
    selected, at_scale_1 = inference.modes(multiscale=job.multiscale, flip=job.flip)
    with replacing_folder(predictions) as whole, scratch_folder(predictions.with_name("counts")) as scratch:
        write_json(scratch / "job.json", dataclasses.asdict(job))
        launcher.check_device(first_device, job.device_target)
        if there := runtime.devices(job.device_target):
            processes = min(processes, max(1, there - first_device))
        group = runtime.Independent(processes, first_device=first_device)
        code = launcher.Launcher(logs).run([sys.executable, "-m", "adl.evaluation", str(scratch / "job.json")], group)
        if code:
            sys.exit(code)
        counts = Counts.merged([Counts.load(_counts_path(scratch, rank)) for rank in group.ranks])
        if len(set(counts.names)) != len(counts.names) or len(counts.names) != job.images:
            raise RuntimeError(f"{len(counts.names)} images were evaluated, {job.images} expected, each once")
        evaluation = Evaluation(selected, counts, job.device_target, processes)
        for name in _chosen(evaluation.per_image()):
            evaluation.shown[name] = read_image(prediction_path(scratch / selected, name))
        (scratch / at_scale_1).replace(whole)
    return evaluation


def main() -> None:
    path = Path(sys.argv[1])
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    world = runtime.world()
    with reported():
        network = checkpoint.restore(
            Path(job.checkpoint), Architecture.from_json(job.architecture), device_target=job.device_target, world=world
        )
        count(network, job, path.parent, world).save(_counts_path(path.parent, world.rank))


def _counts_path(folder: Path, rank: int) -> Path:
    return folder / f"rank_{rank}.npz"


def count(network: nn.Cell, job: Job, folder: Path, world: World = ALONE) -> Counts:
    """Predict and count this rank's images, and write their label maps at scale 1 and in the selected mode.

    folder: where a folder for each of these modes is filled.
    """
    kept = set(inference.modes(multiscale=job.multiscale, flip=job.flip))
    passes = inference.passes(network, multiscale=job.multiscale)
    found: list[tuple[str, dict[str, np.ndarray], float, float]] = []

    def results() -> Iterator[None]:
        began, compiled = time.perf_counter(), set[tuple[int, ...]]()
        for batch in _batches(records.read(Path(job.record), limit=job.limit, world=world), job.batch_size):
            names, images, labels = zip(*batch, strict=True)
            # A part of a batch is filled up, so that one graph serves all.
            whole = np.stack([*images, *images[-1:] * (job.batch_size - len(images))])
            called = time.perf_counter()
            maps = inference.label_maps(passes, whole, flip=job.flip)
            in_network = (time.perf_counter() - called) / len(batch)
            matrices = [{mode: count_image(label, m[i]) for mode, m in maps.items()} for i, label in enumerate(labels)]
            for i, name in enumerate(names):
                for mode in kept:
                    write_image(prediction_path(folder / mode, name), LABEL_ID[maps[mode][i]])
            in_all = (time.perf_counter() - began) / len(batch)
            if whole.shape not in compiled:
                compiled.add(whole.shape)
                in_all = in_network = math.nan
            found.extend((name, of_image, in_all, in_network) for name, of_image in zip(names, matrices, strict=True))
            yield from itertools.repeat(None, len(batch))
            began = time.perf_counter()

    for _ in track(results(), len(range(world.rank, job.images, world.size)), "evaluating"):
        pass
    return Counts(
        names=[name for name, *_ in found],
        matrices={mode: np.array([m[mode] for _, m, *_ in found]) for mode in (found[0][1] if found else ())},
        seconds=[in_all for *_, in_all, _ in found],
        network_seconds=[in_network for *_, in_network in found],
    )


def _usual_ms(seconds: Sequence[float]) -> float | None:
    counted = [value for value in seconds if not math.isnan(value)]
    return round(1000 * float(np.median(counted)), 1) if counted else None


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows in their order, up to `size` at a time, images of one size together."""
    for _, of_one_size in itertools.groupby(rows, key=lambda row: row[1].shape):
        while batch := list(itertools.islice(of_one_size, size)):
            yield batch


def write_report(evaluation: Evaluation, record: Path, folder: Path, *, trained_pixels: dict[str, int]) -> None:
    """Write tables and pictures: classes, confusion, images, and overlays of the worst, the middle and the best.

    trained_pixels: class → pixels of the training split.
    """
    metrics, per_image = evaluation.metrics(), evaluation.per_image()
    counts = evaluation.confusion().of_classes()
    with replacing_folder(folder) as target:
        write_csv(target / "classes.csv", pd.DataFrame(metrics["class_IOU"].items(), columns=["class", "IoU"]))
        # DVC's plots sort the values of a CSV as text.
        rows = [{"class": name, "IoU": iou} for name, iou in metrics["class_IOU"].items() if iou is not None]
        write_json(target / "classes.json", rows)
        columns = [*CLASS_NAMES, "void"]
        cells = [(CLASS_NAMES[row], columns[column], int(n)) for (row, column), n in np.ndenumerate(counts)]
        write_csv(target / "confusion.csv", pd.DataFrame(cells, columns=["truth", "predicted", "pixels"]))
        ranked = sorted(((percent(iou), name) for name, iou in per_image.items()))
        write_csv(target / "images.csv", pd.DataFrame(ranked, columns=["mIOU", "image"])[["image", "mIOU"]])
        # What `adl compare` resamples.
        with replacing(target / "images.npz") as temporary:
            matrices = evaluation.counts.matrices[evaluation.selected]
            np.savez_compressed(temporary, names=evaluation.counts.names, matrices=matrices)
        figures.save(figures.class_bars(metrics["class_IOU"], metrics["baseline"]), target / "classes.png")
        figures.save(figures.frequency_against_iou(trained_pixels, metrics["class_IOU"]), target / "frequency.png")
        figures.save(figures.confusion_matrix(counts), target / "confusion.png")
        chosen = _chosen(per_image)
        images = records.read(record, limit=evaluation.images)
        for name, image, label in track(images, evaluation.images, "drawing overlays"):
            for pick in chosen.get(name, ()):
                title = f"{name}: mIOU of this image {100 * per_image[name]:.1f} % ({evaluation.selected})"
                figure = figures.overlay(image[..., ::-1], LABEL_ID[label], evaluation.shown[name], title=title)
                figures.save(figure, target / "overlays" / f"{pick}.png")


def _chosen(per_image: dict[str, float]) -> dict[str, list[str]]:
    """Image → names of its overlays: the worst ones, the one in the middle and the best."""
    ranked = sorted(per_image, key=lambda name: (per_image[name], name))
    picks = {f"worst_{i + 1:02d}": name for i, name in enumerate(ranked[:WORST])}
    if ranked:
        picks |= {"median": ranked[len(ranked) // 2], "best": ranked[-1]}
    chosen: dict[str, list[str]] = {}
    for pick, name in picks.items():
        chosen.setdefault(name, []).append(pick)
    return chosen


if __name__ == "__main__":
    main()
