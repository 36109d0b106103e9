"""Tables and pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adl.console.progress import track
from adl.dataset import records
from adl.evaluation.evaluate import Evaluation
from adl.files import percent, replacing_folder, write_csv, write_json
from adl.report import figures


def write_report(
    evaluation: Evaluation,
    metrics: dict[str, Any],
    record: Path,
    folder: Path,
    *,
    trained_pixels: dict[str, int],
) -> None:
    """Write tables and pictures: classes, confusion, images, and overlays of the worst, the middle and the best.

    metrics: those of the evaluation. trained_pixels: class → pixels of the training split.
    """
    class_iou, names = metrics["class_IOU"], evaluation.dataset.class_names
    confusion = evaluation.confusion().counts
    with replacing_folder(folder) as target:
        classes = pd.DataFrame(class_iou.items(), columns=["class", "IoU"])
        write_csv(target / "classes.csv", classes)
        # DVC's plots sort the values of a CSV as text.
        write_json(target / "classes.json", classes.dropna().to_dict("records"))
        predicted = pd.Index([*names, "void"], name="predicted")
        pixels = pd.DataFrame(confusion, pd.Index(names, name="truth"), predicted)
        write_csv(target / "confusion.csv", pixels.stack().reset_index(name="pixels"))
        scores = evaluation.per_image()
        percents = [(name, percent(miou)) for name, miou in scores.items()]
        table = pd.DataFrame(percents, columns=["image", "mIOU"])
        write_csv(target / "images.csv", table.sort_values(["mIOU", "image"]))
        # What `adl compare` resamples.
        np.savez_compressed(target / "images.npz", names=evaluation.names, counts=evaluation.counts())

        figures.save(figures.class_bars(class_iou, metrics["baseline"]), target / "classes.png")
        figures.save(figures.frequency_against_iou(trained_pixels, class_iou), target / "frequency.png")
        figures.save(figures.confusion_matrix(confusion, names), target / "confusion.png")

        images, overlays = len(evaluation.results), evaluation.overlays()
        rows = records.read(record, limit=images)
        for name, image, label in track(rows, images, "drawing overlays"):
            for overlay, shown in overlays.items():
                if shown != name:
                    continue
                figure = figures.overlay(
                    image[..., ::-1],
                    truth=label,
                    prediction=evaluation.shown[name],
                    dataset=evaluation.dataset,
                    title=f"{name}: mIOU of this image {100 * scores[name]:.1f} % ({evaluation.selected})",
                )
                figures.save(figure, target / f"overlays/{overlay}.png")
