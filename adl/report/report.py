"""The report that a person reads, made from metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from adl.architecture import Architecture
from adl.config import params as schema
from adl.console.text import MISSING, interval, percentage
from adl.report import deployed, quoted
from adl.report.page import NOT_MEASURED, Block, Picture, table
from adl.report.results import Results
from adl.workspace import DRAWN, REPORTS


def blocks(results: Results) -> list[Block]:
    evaluate = REPORTS / "evaluate"
    overlays = evaluate / "overlays"
    return [
        f"# mIOU {percentage(results.score['mIOU'])} %" if results.score else "# mIOU",
        *_what_was_scored(results, overlays / "median.png"),
        "## Accuracy",
        _accuracy(results),
        "The interval: 95 % of 1000 resamplings of the images, in which a class missing from a resampling keeps its "
        "IoU; it does not include the variation between seeds, which `adl table` shows.",
        _scores(results),
        "## Against predictors without a network",
        _baselines(results.score),
        "Each baseline predicts the majority class of the training split: over all pixels, per quantised colour "
        "(5 bits per channel), or per pixel position.",
        *_published(results),
        "## Classes",
        *_classes(results),
        Picture(
            evaluate / "confusion.png",
            "Where the pixels of each class went, in percent of the class",
        ),
        "## Learning curves",
        "In `reports/train`, and in `dvc plots show`.",
        Picture(
            REPORTS / "train" / "curves.png",
            "Loss, validation mIOU and learning rate over the epochs",
        ),
        "## The best and the worst images",
        "`reports/evaluate/images.csv` ranks all images; `reports/evaluate/overlays` has the best, the median and the "
        "worst ones.",
        Picture(overlays / "best.png", "The best"),
        *[
            Picture(path, f"Rank {int(path.stem[-2:])} from the bottom")
            for path in sorted(overlays.glob("worst_*.png"))
        ],
        "## The exported files",
        table(deployed.rows(results)),
        "## Architecture",
        _architecture(results),
        "## Parameters",
        *_parameters(results),
    ]


def _what_was_scored(results: Results, median: Path) -> list[Block]:
    """What the model has seen, what its score is worth, and how it was computed. median: a picture of its labels."""
    trained, score = results.metrics["train"], results.score
    dataset = results.dataset
    picture = Picture(
        median,
        "The image with the median mIOU: what the network sees, what is there, what it says, where it is wrong",
    )
    lines: list[Block] = []
    if results.is_embedded:
        lines.append(
            f"**{DRAWN.capitalize()}.** This small network learned the embedded synthetic street scenes. It shows that "
            "every stage works; its mIOU says nothing about photographs."
        )
    elif trained:
        lines.append(f"Trained on {trained['images']} images of {results.data}.")
    if not score:
        return [*lines, "**Nothing has been evaluated yet**: run `dvc repro`.", picture]
    scored, complete = score["images"], dataset.expect.get("val")
    in_record = results.metrics["mindrecord_val"].get("images", scored)
    if scored < in_record:
        lines.append(f"**Partial: {scored} of {in_record} val images were evaluated.**")
    elif not results.is_embedded and complete not in (None, in_record):
        lines.append(f"**Partial: the val record holds {in_record} images, {dataset.title} has {complete}.**")
    checkpoint = "a checkpoint that does not say after which epoch it was saved"
    epoch, epochs = score.get("checkpoint_epoch"), results.params.get("epochs")
    if epoch is not None:
        which = "the last" if epoch == epochs else "an intermediate"
        checkpoint = f"{which} checkpoint (epoch {epoch} of {epochs})"
    return [
        *lines,
        picture,
        f"Evaluated: {scored} val images, mode `{results.mode}`, counted as the official script counts; {checkpoint}, "
        "not chosen by its score on val.",
        "Times and speeds: `reports/performance.md` and `.html`, which `make repro` and `adl report` write.",
    ]


def _accuracy(results: Results) -> str:
    """This run, and the figures of the recipe that it followed. A telephone shows no more than the first columns."""
    trained, score = results.metrics["train"], results.score
    return table(
        [
            {
                "Itr": f"{trained['steps']:,} steps" if trained else NOT_MEASURED,
                "mIOU of this project": f"**{score['mIOU']:.2f}**" if score else NOT_MEASURED,
                "95 % interval": interval(score),
                **_marked(results.published),
                "epochs": str(results.params.get("epochs", MISSING)),
                "bn_momentum": str(results.params.get("bn_momentum", MISSING)),
                "data": f"{results.data}, val, `{results.mode}`",
            }
        ]
    )


def _published(results: Results) -> list[str]:
    """What the paper and the model zoo state, of all but the run that this one followed."""
    rows = [
        _marked(figures) | {"data": "Cityscapes val"}
        for figures in quoted.RUNS.get(results.dataset.name, {}).values()
        if figures != results.published
    ]
    if not rows:
        return []
    return [
        "## Published figures",
        "Quoted, not measured by this project:",
        table(rows),
        f"Auto-DeepLab-S on Cityscapes val. mIOU 2021: {quoted.MODEL_ZOO}: 8 × Ascend 910, batch 16, crop 769; scored "
        f"with the mirror image, the default of its code. mIOU in paper: {quoted.PAPER}, as quoted in that README; for "
        "the run with drop path, from the paper itself. According to the README, the paper's 0.5M, 1.0M and 1.5M "
        "iterations are 1344, 2688 and 4032 epochs at batch 8.",
    ]


def _marked(figures: Mapping[str, str]) -> dict[str, str]:
    """Scores say in their own cell that they are quoted, because a cell is what people copy."""
    return {name: f"{figure} (quoted)" if name.startswith("mIOU") else figure for name, figure in figures.items()}


def _scores(results: Results) -> str:
    """What else the same counts say."""
    names = {
        "mIOU_single": "mIOU, mode `single`",
        "mIOU_flip": "mIOU, mode `flip`",
        "mIOU_multiscale": "mIOU, mode `multiscale`",
        "mIOU_multiscale_flip": "mIOU, mode `multiscale_flip`",
        "mIOU_category": f"mIOU of the {len(results.dataset.categories)} categories",
        "pixel_accuracy": "pixel accuracy",
        "mean_accuracy": "mean accuracy of the classes",
        "frequency_weighted_IOU": "frequency-weighted IoU",
    }
    return table(_rows(results.score, names, "measure", "%"))


def _baselines(score: Mapping[str, Any]) -> str:
    if not score:
        return NOT_MEASURED
    names = {
        "constant": "one class everywhere",
        "colour": "colour look-up",
        "position": "position prior",
    }
    this = {"predictor": "**this network**", "mIOU %": f"**{score['mIOU']:.2f}**"}
    return table([this, *_rows(score.get("baseline", {}), names, "predictor", "mIOU %")])


def _rows(values: Mapping[str, float | None], names: Mapping[str, str], what: str, unit: str) -> list[dict[str, str]]:
    """Those of some values that there are. names: key → words of the first column."""
    return [{what: words, unit: percentage(values[name])} for name, words in names.items() if name in values]


def _classes(results: Results) -> list[str]:
    """The IoU of classes and categories, and how much of the training data each class is."""
    score = results.score
    if not score:
        return [NOT_MEASURED]
    pixels = pd.Series(results.metrics["mindrecord_train"].get("pixels"), dtype=float)
    classes = pd.DataFrame({"IoU %": score["class_IOU"]}, dtype=float)
    classes["% of the training pixels"] = 100 * pixels / pixels.sum()
    tables = [_ranked(classes, "class")]
    if categories := score.get("category_IOU"):
        tables.append(_ranked(pd.DataFrame({"IoU %": categories}, dtype=float), "category"))
    return [
        *tables,
        "“–”: occurs in neither ground truth nor prediction; left out of the mean, as the official script does.",
    ]


def _ranked(values: pd.DataFrame, kind: str) -> str:
    """The highest first; what has no value, last."""
    ranked = values.sort_values("IoU %", ascending=False, kind="stable")
    return table(ranked.map("{:.2f}".format, na_action="ignore").reset_index(names=kind))


def _architecture(results: Results) -> str:
    if not results.sidecar:
        return NOT_MEASURED
    lines = Architecture.from_json(results.sidecar["architecture"]).describe()
    if trained := results.metrics["train"]:
        lines.append(f"{trained['parameters']:,} trainable parameters")
    return "\n".join(f"- {line}" for line in lines)


def _parameters(results: Results) -> list[str]:
    sidecar = results.sidecar
    if not results.metrics["train"] and not sidecar:
        return [NOT_MEASURED]
    rows = []
    for name in (*schema.of_stage("train"), "ms_infer", "eval_flip", "eval_window", "eval_images"):
        if name in results.params:
            rows.append({"parameter": f"`{name}`", "value": f"`{json.dumps(results.params[name])}`"})
    digests = {
        "training data": sidecar["data"]["digest"] if sidecar else None,
        "evaluation data": results.val_digest,
        "checkpoint": sidecar.get("digest"),
    }
    described = []
    for name, digest in digests.items():
        shown = f"`{digest[:16]}`" if digest else NOT_MEASURED
        described.append(f"{name} {shown}")
    return [table(rows), f"SHA-256: {', '.join(described)}."]
