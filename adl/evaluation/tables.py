"""Tables and pictures of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from adl.console.progress import track
from adl.dataset import records
from adl.evaluation.evaluate import Evaluation
from adl.files import percent, replacing, replacing_folder, write_csv, write_json
from adl.report import figures


def write_report(
    evaluation: Evaluation, record: Path, folder: Path, *, trained_pixels: dict[str, int]
) -> None:
    """Write tables and pictures: classes, confusion, images, and overlays of the worst, the middle and the best.

    trained_pixels: class → pixels of the training split.
    """
    with replacing_folder(folder) as target:
        _write_tables(evaluation, target)
        _write_figures(evaluation, target, trained_pixels)
        _write_overlays(evaluation, record, target / "overlays")


def _write_tables(evaluation: Evaluation, folder: Path) -> None:
    class_iou = evaluation.metrics()["class_IOU"]
    write_csv(folder / "classes.csv", pd.DataFrame(class_iou.items(), columns=["class", "IoU"]))
    # DVC's plots sort the values of a CSV as text.
    existing = [{"class": name, "IoU": iou} for name, iou in class_iou.items() if iou is not None]
    write_json(folder / "classes.json", existing)

    names = evaluation.dataset.class_names
    truth = pd.Index(names, name="truth")
    predicted = pd.Index([*names, "void"], name="predicted")
    pixels = pd.DataFrame(evaluation.confusion().counts, truth, predicted).stack()
    write_csv(folder / "confusion.csv", pixels.reset_index(name="pixels"))

    ranked = sorted((percent(iou), name) for name, iou in evaluation.per_image().items())
    write_csv(
        folder / "images.csv", pd.DataFrame(ranked, columns=["mIOU", "image"])[["image", "mIOU"]]
    )
    # What `adl compare` resamples.
    with replacing(folder / "images.npz") as temporary:
        counts = evaluation.counts.counts[evaluation.selected]
        np.savez_compressed(temporary, names=evaluation.counts.names, counts=counts)


def _write_figures(evaluation: Evaluation, folder: Path, trained_pixels: dict[str, int]) -> None:
    metrics = evaluation.metrics()
    class_iou = metrics["class_IOU"]
    figures.save(figures.class_bars(class_iou, metrics["baseline"]), folder / "classes.png")
    figures.save(figures.frequency_against_iou(trained_pixels, class_iou), folder / "frequency.png")
    matrix = figures.confusion_matrix(evaluation.confusion().counts, evaluation.dataset.class_names)
    figures.save(matrix, folder / "confusion.png")


def _write_overlays(evaluation: Evaluation, record: Path, folder: Path) -> None:
    overlays, scores = evaluation.overlays(), evaluation.per_image()
    rows = records.read(record, limit=evaluation.images)
    for row in track(rows, evaluation.images, "drawing overlays"):
        for pick in overlays.get(row.name, ()):
            title = f"{row.name}: mIOU of this image {100 * scores[row.name]:.1f} % ({evaluation.selected})"
            figure = figures.overlay(
                row.image[..., ::-1],
                truth=row.label,
                prediction=evaluation.shown[row.name],
                dataset=evaluation.dataset,
                title=title,
            )
            figures.save(figure, folder / f"{pick}.png")
