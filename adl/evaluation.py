"""Scoring a checkpoint on a record: label maps as PNGs, counts, baselines, pictures."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mindspore import nn

from adl import figures, inference, records, runtime
from adl.artifacts import percent, replacing_folder, write_csv, write_image
from adl.baselines import Baselines
from adl.cityscapes import CLASS_NAMES, LABEL_ID, prediction_path
from adl.progress import track
from adl.scoring import Confusion, mean


@dataclasses.dataclass
class Evaluation:
    """Counts of every mode, and of each baseline; `selected` is the mode that the parameters ask for."""

    selected: str
    confusions: dict[str, Confusion]
    baselines: dict[str, Confusion]
    per_image: dict[str, float]
    seconds_an_image: float

    def metrics(self) -> dict[str, Any]:
        confusion = self.confusions[self.selected]
        class_iou = confusion.class_iou()
        category_iou = confusion.category_iou()
        return {
            "mIOU": percent(confusion.mean_iou()),
            **{f"mIOU_{mode}": percent(c.mean_iou()) for mode, c in self.confusions.items()},
            "mIOU_category": percent(mean(category_iou)),
            "pixel_accuracy": percent(confusion.pixel_accuracy()),
            "images": len(self.per_image),
            "classes_counted": sum(value is not None for value in class_iou.values()),
            "class_IOU": {name: percent(value) for name, value in class_iou.items()},
            "category_IOU": {name: percent(value) for name, value in category_iou.items()},
            "baseline": {name: percent(c.mean_iou()) for name, c in self.baselines.items()},
        }


def evaluate(
    network: nn.Cell,
    record: Path,
    *,
    multiscale: bool,
    flip: bool,
    limit: int | None,
    predictions: Path,
    baselines: Baselines | None,
) -> Evaluation:
    """Predict and count the first `limit` images of a record (None: all).

    predictions: folder that receives the label-id PNGs of the scale-1 mode.
    """
    selected, at_scale_1 = inference.modes(multiscale=multiscale, flip=flip)
    images = records.read_manifest(record)["images"]
    images = images if limit is None else min(limit, images)
    passes = inference.passes(network, multiscale=multiscale)
    confusions: dict[str, Confusion] = {}
    of_baselines: dict[str, Confusion] = {}
    per_image: dict[str, float] = {}
    seconds = []
    with replacing_folder(predictions) as folder:
        for name, image, label in track(records.read(record, limit=limit), images, "evaluating"):
            start = time.perf_counter()
            truth = LABEL_ID[label]
            maps = {mode: LABEL_ID[m] for mode, m in inference.label_maps(passes, image, flip=flip).items()}
            for mode, prediction in maps.items():
                confusions.setdefault(mode, Confusion()).add(truth, prediction)
            write_image(prediction_path(folder, name), maps[at_scale_1])
            of_image = Confusion()
            of_image.add(truth, maps[selected])
            per_image[name] = of_image.mean_iou() or 0.0
            seconds.append(time.perf_counter() - start)
            if baselines:
                for baseline, prediction in baselines.predict(image).items():
                    of_baselines.setdefault(baseline, Confusion()).add(truth, LABEL_ID[prediction])
    if len(per_image) != images:
        raise RuntimeError(f"{len(per_image)} images were evaluated, {images} expected")
    usual = float(np.median(seconds[1:] or seconds))
    return Evaluation(selected, confusions, of_baselines, per_image, usual)


def speed(evaluation: Evaluation, device: str) -> dict[str, Any]:
    return {
        "ms_per_image": round(1000 * evaluation.seconds_an_image, 1),
        "modes": len(evaluation.confusions),
        "device": device,
        "cores": runtime.cores(),
    }


def write_report(evaluation: Evaluation, record: Path, predictions: Path, folder: Path) -> None:
    """Write the class table, the confusion matrix and overlays of the worst, the middle and the best images."""
    metrics = evaluation.metrics()
    counts = evaluation.confusions[evaluation.selected].of_classes()
    with replacing_folder(folder) as target:
        write_csv(target / "classes.csv", pd.DataFrame(metrics["class_IOU"].items(), columns=["class", "IoU"]))
        write_csv(
            target / "confusion.csv",
            pd.DataFrame(counts, columns=[*CLASS_NAMES, "void"])
            .assign(truth=CLASS_NAMES)
            .set_index("truth")
            .reset_index(),
        )
        figures.save(figures.class_bars(metrics["class_IOU"], metrics["baseline"]), target / "classes.png")
        figures.save(figures.confusion_matrix(counts), target / "confusion.png")
        chosen = _chosen(evaluation.per_image)
        for name, image, label in records.read(record, limit=len(evaluation.per_image)):
            if name in chosen:
                predicted = cv2.imread(str(prediction_path(predictions, name)), cv2.IMREAD_UNCHANGED)
                title = f"{name}: mIOU of this image {100 * evaluation.per_image[name]:.1f} %"
                figure = figures.overlay(image[..., ::-1], LABEL_ID[label], predicted, title=title)
                figures.save(figure, target / "overlays" / f"{chosen[name]}.png")


def _chosen(per_image: dict[str, float]) -> dict[str, str]:
    """Image → name of its overlay: two of the worst, of the middle and of the best."""
    ranked = sorted(per_image, key=lambda name: (per_image[name], name))
    middle = len(ranked) // 2
    # Where there are few images, the later name stays.
    picks = {"median_2": middle + 1, "worst_2": 1, "best_2": -2, "worst_1": 0, "best_1": -1, "median_1": middle}
    return {ranked[i]: pick for pick, i in picks.items() if -len(ranked) <= i < len(ranked)}
