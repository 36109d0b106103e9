"""Pictures: overlays, curves, bars, confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adl.artifacts import replacing, write_bytes
from adl.console.text import percentage
from adl.dataset.descriptor import DatasetDescriptor

ERROR = np.array((213, 94, 0), np.uint8)
"""Vermilion: every kind of colour vision distinguishes it from grey."""
NOT_SCORED = np.array((240, 228, 66), np.uint8)
"""Yellow."""
BAR, BASELINE, SCORE = "#0072B2", "#999999", "#D55E00"


def save(figure: Figure, path: Path, *, dpi: int = 100) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        # Without the version of matplotlib in the file, equal pictures are equal files.
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight", metadata={"Software": None})


def preview(picture: Path, target: Path, *, most_bytes: int = 500_000) -> None:
    """Copy a picture, as much smaller as its size in bytes asks for."""
    content = picture.read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    while len(content) > most_bytes:
        image = cv2.resize(image, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".png", image)[1].tobytes()
    write_bytes(target, content)


def errors(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: int
) -> np.ndarray:
    """The image in pale grey with wrong pixels vermilion, pixels that are not scored yellow.

    image: (H, W, 3) uint8. truth, prediction: (H, W) uint8 train ids, of which `classes` are scored. Returns
    (H, W, 3) uint8 RGB.
    """
    grey = (120 + 0.5 * image.mean(axis=2)).clip(0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    scored = truth < classes
    picture[~scored] = NOT_SCORED
    picture[scored & (truth != prediction)] = ERROR
    return picture


def overlay(
    image: np.ndarray,
    *,
    truth: np.ndarray,
    prediction: np.ndarray,
    dataset: DatasetDescriptor,
    title: str,
) -> Figure:
    """Image | truth | prediction | errors, with the legend of the classes.

    image: (H, W, 3) uint8 RGB. truth, prediction: (H, W) uint8 train ids.
    """
    figure = Figure(figsize=(12, 7.3), layout="constrained")
    panels = {
        "image": image,
        "ground truth": dataset.palette[truth],
        "prediction": dataset.palette[prediction],
        "errors": errors(image, truth, prediction, len(dataset.classes)),
    }
    for axis, (name, picture) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=11)
        axis.set_axis_off()
    figure.suptitle(title, fontsize=12)
    figure.legend(
        handles=_legend(dataset), loc="outside lower center", ncols=8, fontsize=9, frameon=False
    )
    return figure


def _legend(dataset: DatasetDescriptor) -> list[Patch]:
    entries: list[tuple[str, Sequence[int] | np.ndarray]] = [
        (label.name, label.colour) for label in dataset.classes
    ]
    entries += [("void (other)", (0, 0, 0)), ("wrong", ERROR), ("not scored", NOT_SCORED)]
    patches = []
    for name, rgb in entries:
        red, green, blue = (value / 255 for value in rgb)
        patches.append(Patch(facecolor=(red, green, blue), label=name))
    return patches


def _single(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def class_bars(class_iou: dict[str, float | None], baselines: dict[str, float]) -> Figure:
    """IoU of each class, sorted; the mean and the best baseline as lines. Values in percent."""
    counted = sorted(((v, name) for name, v in class_iou.items() if v is not None))
    figure, axis = _single(8, 6)
    bars = axis.barh([name for _, name in counted], [v for v, _ in counted], color=BAR)
    # On white, because a line may pass behind.
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axis.bar_label(bars, fmt="%.1f", padding=3, fontsize=9, bbox=white)
    mean = sum(v for v, _ in counted) / len(counted)
    axis.axvline(mean, color="black", linestyle="--", zorder=0, label=f"mean {mean:.1f}")
    if baselines:
        name, best = max(baselines.items(), key=lambda item: item[1])
        axis.axvline(
            best,
            color=BASELINE,
            linestyle=":",
            zorder=0,
            label=f"best baseline ({name}) {best:.1f}",
        )
    axis.set(xlabel="IoU (%)", xlim=(0, 105), title="Intersection over union of each class")
    axis.legend(loc="lower right")
    return figure


def frequency_against_iou(pixels: dict[str, int], class_iou: dict[str, float | None]) -> Figure:
    """How often each class occurs beside how well it is found, the most frequent class first.

    pixels: class → pixels of the training split. class_iou: class → percent.
    """
    total = max(sum(pixels.values()), 1)
    names = sorted(pixels, key=lambda name: pixels[name])
    figure = Figure(figsize=(10, 6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    shares = [100 * pixels[name] / total for name in names]
    left.barh(names, shares, color=BASELINE)
    left.set(
        xscale="log",
        xlabel="share of the training pixels (%, logarithmic)",
        title="How often it occurs",
    )
    left.xaxis.set_major_formatter("{x:g}")
    left.invert_xaxis()
    bars = right.barh(names, [class_iou.get(name) or 0 for name in names], color=BAR)
    right.bar_label(
        bars, [percentage(class_iou.get(name), 1) for name in names], padding=3, fontsize=9
    )
    right.set(xlabel="IoU (%)", xlim=(0, 108), title="How well it is found")
    return figure


def comparison(class_iou: dict[str, dict[str, float | None]]) -> Figure:
    """IoU of each class in several runs. class_iou: run → class → percent, the same classes in each."""
    names = list(next(iter(class_iou.values())))
    figure, axis = _single(9, 2 + 0.22 * len(names) * len(class_iou))
    height = 0.85 / len(class_iou)
    places = np.arange(len(names))[::-1]
    colours = colormaps["cividis"](np.linspace(0.15, 0.9, len(class_iou)))
    for i, (run, values) in enumerate(class_iou.items()):
        shift = 0.425 - height * (i + 0.5)
        lengths = [values[name] or 0 for name in names]
        bars = axis.barh(places + shift, lengths, height, color=colours[i], label=run)
        axis.bar_label(bars, [percentage(values[name], 1) for name in names], padding=3, fontsize=8)
    axis.set_yticks(places, names)
    axis.set(xlabel="IoU (%)", xlim=(0, 108), title="Intersection over union of each class")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False)
    return figure


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Share of each true class's pixels (rows) by predicted class. counts: (C, C + 1), last column void."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    columns = [*names, "void"]
    figure, axis = _single(11, 9.5)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(shares):
        if value >= 0.5:
            colour = "white" if value > 55 else "black"
            axis.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour
            )
    axis.set_xticks(range(len(columns)), columns, rotation=60, ha="right", fontsize=9)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    title = "Where the pixels of each class went (%, rows sum to 100)"
    axis.set(xlabel="predicted", ylabel="ground truth", title=title)
    return figure


def learning_curves(history: list[dict[str, float]]) -> Figure:
    """Loss and learning rate after each epoch; a row may lack its loss."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    epochs = [row["epoch"] for row in history]
    top.plot(
        epochs, [row.get("loss", math.nan) for row in history], marker="o", markersize=3, color=BAR
    )
    top.set(ylabel="mean loss", title="Learning curves")
    validated = [row for row in history if "val_mIOU" in row]
    if validated:
        scores = top.twinx()
        at = [row["epoch"] for row in validated]
        scores.plot(at, [row["val_mIOU"] for row in validated], "s--", markersize=4, color=SCORE)
        scores.set_ylabel("val mIOU (%)", color=SCORE)
    bottom.plot(
        epochs, [row["learning_rate"] for row in history], marker="o", markersize=3, color="#009E73"
    )
    bottom.set(xlabel="epoch", ylabel="learning rate at its end")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    return figure
