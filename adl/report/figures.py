"""Pictures: overlays, curves, bars, confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from adl.console.text import MISSING
from adl.dataset.descriptor import DatasetDescriptor
from adl.files import replacing, write_bytes

ERROR = np.array((213, 94, 0), np.uint8)
"""Vermilion: every kind of colour vision distinguishes it from grey."""
NOT_SCORED = np.array((240, 228, 66), np.uint8)
"""Yellow."""
BAR, BASELINE, SCORE = "#0072B2", "#999999", "#D55E00"


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        # Without the version of matplotlib in the file, equal pictures are equal files.
        figure.savefig(temporary, bbox_inches="tight", metadata={"Software": None})


def preview(picture: Path, target: Path, *, most_bytes: int = 500_000) -> None:
    """Copy a picture, as much smaller as its size in bytes asks for."""
    content = picture.read_bytes()
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    while len(content) > most_bytes:
        image = cv2.resize(image, None, fx=0.85, fy=0.85, interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".png", image)[1].tobytes()
    write_bytes(target, content)


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """The image in pale grey with wrong pixels vermilion, pixels that are not scored yellow.

    image: (H, W, 3) uint8. truth, prediction: (H, W) uint8 train ids, of which `classes` are scored. Returns
    (H, W, 3) uint8 RGB.
    """
    grey = (120 + 0.5 * image.mean(axis=2)).clip(0, 255).astype(np.uint8)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    picture[truth != prediction] = ERROR
    picture[truth >= classes] = NOT_SCORED
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
    figure, axes = _axes(12, 7.3, nrows=2, ncols=2)
    panels = {
        "image": image,
        "ground truth": dataset.palette[truth],
        "prediction": dataset.palette[prediction],
        "errors": errors(image, truth, prediction, len(dataset.classes)),
    }
    for axis, (name, picture) in zip(axes.flat, panels.items(), strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(name, fontsize=11)
        axis.set_axis_off()
    figure.suptitle(title, fontsize=12)
    colours: dict[str, Any] = {label.name: label.colour for label in dataset.classes}
    colours |= {"void (other)": (0, 0, 0), "wrong": ERROR, "not scored": NOT_SCORED}
    _legend(figure, colours, fontsize=9)
    return figure


def sheet(pictures: Mapping[str, np.ndarray], colours: Mapping[str, Any], title: str) -> Figure:
    """Pictures of any sizes with their names, four in a row, and a legend.

    pictures: name → (H, W, 3) uint8 RGB. colours: name → RGB.
    """
    rows = math.ceil(len(pictures) / 4)
    figure, axes = _axes(16, 3.3 * rows + 1, nrows=rows, ncols=4, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(picture)
        axis.set_title(name[-40:], fontsize=9)
    figure.suptitle(title, fontsize=14)
    _legend(figure, colours, fontsize=12)
    return figure


def _legend(figure: Figure, colours: Mapping[str, Any], fontsize: int) -> None:
    """What each colour means, below a figure. colours: name → RGB."""
    figure.legend(
        handles=[Patch(facecolor=np.divide(rgb, 255), label=name) for name, rgb in colours.items()],
        loc="outside lower center",
        ncols=8,
        fontsize=fontsize,
        frameon=False,
    )


def _axes(width: float, height: float, **grid: Any) -> tuple[Figure, Any]:
    """A figure with one pair of axes, or with a grid of them; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**grid)


def _iou_bars(axis: Axes, places: Any, iou: pd.Series, *, fontsize: int = 9, **style: Any) -> None:
    """Horizontal bars with their values in percent; what has no value has no length."""
    bars = axis.barh(places, iou.fillna(0), **style)
    axis.bar_label(
        bars,
        iou.map("{:.1f}".format, na_action="ignore").fillna(MISSING),
        padding=3,
        fontsize=fontsize,
        # On white, because a line may pass behind.
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    axis.set(xlabel="IoU (%)", xlim=(0, 108))


def class_bars(class_iou: dict[str, float | None], baselines: dict[str, float]) -> Figure:
    """IoU of each class, sorted; the mean and the best baseline as lines. Values in percent."""
    iou = pd.Series(class_iou, dtype=float).dropna().sort_index().sort_values(kind="stable")
    figure, axis = _axes(8, 6)
    _iou_bars(axis, iou.index, iou, color=BAR)
    mean = iou.mean()
    axis.axvline(mean, color="black", linestyle="--", zorder=0, label=f"mean {mean:.1f}")
    if baselines:
        name = max(baselines, key=baselines.__getitem__)
        axis.axvline(
            baselines[name],
            color=BASELINE,
            linestyle=":",
            zorder=0,
            label=f"best baseline ({name}) {baselines[name]:.1f}",
        )
    axis.set(xlim=(0, 105), title="Intersection over union of each class")
    axis.legend(loc="lower right")
    return figure


def frequency_against_iou(pixels: dict[str, int], class_iou: dict[str, float | None]) -> Figure:
    """How often each class occurs beside how well it is found, the most frequent class first.

    pixels: class → pixels of the training split. class_iou: class → percent.
    """
    counts = pd.Series(pixels).sort_values(kind="stable")
    shares = 100 * counts / max(counts.sum(), 1)
    figure, (left, right) = _axes(10, 6, ncols=2, sharey=True)
    left.barh(shares.index, shares, color=BASELINE)
    left.set(
        xscale="log",
        xlabel="share of the training pixels (%, logarithmic)",
        title="How often it occurs",
    )
    left.xaxis.set_major_formatter("{x:g}")
    left.invert_xaxis()
    _iou_bars(right, shares.index, pd.Series(class_iou, shares.index, dtype=float), color=BAR)
    right.set_title("How well it is found")
    return figure


def comparison(class_iou: dict[str, dict[str, float | None]]) -> Figure:
    """IoU of each class in several runs. class_iou: run → class → percent, the same classes in each."""
    iou = pd.DataFrame(class_iou, dtype=float)
    figure, axis = _axes(9, 2 + 0.22 * iou.size)
    height = 0.85 / len(class_iou)
    places = np.arange(len(iou))[::-1]
    colours = colormaps["cividis"](np.linspace(0.15, 0.9, len(class_iou)))
    for i, run in enumerate(iou):
        _iou_bars(
            axis,
            places + 0.425 - height * (i + 0.5),
            iou[run],
            fontsize=8,
            height=height,
            color=colours[i],
            label=run,
        )
    axis.set_yticks(places, iou.index)
    axis.set_title("Intersection over union of each class")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=3, frameon=False)
    return figure


def confusion_matrix(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Share of each true class's pixels (rows) by predicted class. counts: (C, C + 1), last column void."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axis = _axes(11, 9.5)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 55 else "black"
        if share >= 0.5:
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(names) + 1), [*names, "void"], rotation=60, ha="right", fontsize=9)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set(
        xlabel="predicted",
        ylabel="ground truth",
        title="Where the pixels of each class went (%, rows sum to 100)",
    )
    return figure


def learning_curves(history: list[dict[str, float]]) -> Figure:
    """Loss and learning rate after each epoch; a row may lack its loss."""
    figure, (top, bottom) = _axes(8, 5.5, nrows=2, sharex=True)
    rows = pd.DataFrame(history, columns=["epoch", "loss", "val_mIOU", "learning_rate"])
    top.plot("epoch", "loss", "o-", data=rows, markersize=3, color=BAR)
    top.set(ylabel="mean loss", title="Learning curves")
    validated = rows.dropna(subset="val_mIOU")
    if len(validated):
        scores = top.twinx()
        scores.plot("epoch", "val_mIOU", "s--", data=validated, markersize=4, color=SCORE)
        scores.set_ylabel("val mIOU (%)", color=SCORE)
    bottom.plot("epoch", "learning_rate", "o-", data=rows, markersize=3, color="#009E73")
    bottom.set(xlabel="epoch", ylabel="learning rate at its end")
    for axis in (top, bottom):
        axis.grid(alpha=0.3)
    return figure
