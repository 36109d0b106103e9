"""The report that a person reads, made from metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adl.architecture import Architecture
from adl.config import params as schema
from adl.console.text import MISSING, interval, percentage
from adl.report import deployed, quoted
from adl.report.page import Block, Picture, table
from adl.report.quoted import Quoted
from adl.report.results import NOT_MEASURED, Results
from adl.workspace import DRAWN

EVALUATION = ("ms_infer", "eval_flip", "eval_images")


def blocks(results: Results, pictures: Path) -> list[Block]:
    """The report. pictures: the folder `reports`, which holds those of the stages."""
    evaluate = pictures / "evaluate"
    return [
        f"# {title(results)}",
        *_what_this_is(results),
        Picture(
            evaluate / "overlays" / "median.png",
            "The image with the median mIOU: what the network sees, what is there, what it says, where it is wrong",
        ),
        *_how_it_was_scored(results),
        "## Accuracy",
        _accuracy(results),
        "The interval: 95 % of 1000 resamplings of the images, in which a class missing from a resampling keeps its "
        "IoU; it does not include the variation between seeds, which `adl table` shows.",
        _scores(results),
        "## Against predictors without a network",
        _baselines(results.metrics["evaluate"]),
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
            pictures / "train" / "curves.png",
            "Loss, validation mIOU and learning rate over the epochs",
        ),
        "## The best and the worst images",
        "`reports/evaluate/images.csv` ranks all images; `reports/evaluate/overlays` has the best, the median and the "
        "worst ones.",
        Picture(evaluate / "overlays" / "best.png", "The best"),
        *_worst(evaluate),
        "## The exported files",
        table(deployed.rows(results), deployed.HEADERS),
        "## Architecture",
        _architecture(results),
        "## Parameters",
        *_parameters(results),
    ]


def title(results: Results) -> str:
    score = results.metrics["evaluate"]
    return f"mIOU {percentage(score['mIOU'])} %" if score else "mIOU"


def _published(results: Results) -> list[str]:
    """What the paper and the model zoo state, of all but the run that this one followed."""
    rows = []
    for recipe, published in quoted.runs(results.dataset.name).items():
        if recipe != results.recipe:
            rows.append(
                {
                    **_quoted(published),
                    "epochs": str(published.epochs or MISSING),
                    "bn_momentum": str(published.bn_momentum or MISSING),
                    "data": f"{results.dataset.title} val",
                }
            )
    if not rows:
        return []
    return [
        "## Published figures",
        "Quoted, not measured by this project:",
        table([row.values() for row in rows], rows[0]),
        f"Auto-DeepLab-S on Cityscapes val. mIOU 2021: {quoted.MODEL_ZOO}: 8 × Ascend 910, batch 16, crop 769; scored "
        f"with the mirror image, the default of its code. mIOU in paper: {quoted.PAPER}, as quoted in that README; for "
        "the run with drop path, from the paper itself. According to the README, the paper's 0.5M, 1.0M and 1.5M "
        "iterations are 1344, 2688 and 4032 epochs at batch 8.",
    ]


def _worst(evaluate: Path) -> list[Block]:
    paths = sorted(evaluate.glob("overlays/worst_*.png"))
    return [Picture(path, f"Rank {int(path.stem[-2:])} from the bottom") for path in paths]


def _what_this_is(results: Results) -> list[str]:
    """What the model has seen, and what its score is worth."""
    lines = []
    if results.is_embedded:
        lines.append(
            f"**{DRAWN.capitalize()}.** This small network learned the embedded synthetic street scenes. It shows that "
            f"every stage works; its mIOU says nothing about {results.dataset.title}."
        )
    elif trained := results.metrics["train"]:
        lines.append(f"Trained on {trained['images']} images of {results.data}.")
    if not results.metrics["evaluate"]:
        return [*lines, "**Nothing has been evaluated yet**: run `dvc repro`."]
    return [*lines, *_partial(results)]


def _how_it_was_scored(results: Results) -> list[str]:
    score = results.metrics["evaluate"]
    if not score:
        return []
    return [
        f"Evaluated: {score['images']} val images, mode `{results.mode}`, counted as the official script counts; "
        f"{_which_checkpoint(results)}, not chosen by its score on val.",
        "Times and speeds: `reports/performance.md` and `.html`, which `make repro` and `adl report` write.",
    ]


def _partial(results: Results) -> list[str]:
    scored = results.metrics["evaluate"]["images"]
    in_record = results.metrics["mindrecord_val"].get("images", scored)
    complete = results.dataset.split_sizes["val"]
    if scored < in_record:
        return [f"**Partial: {scored} of {in_record} val images were evaluated.**"]
    if not results.is_embedded and in_record != complete:
        return [
            f"**Partial: the val record holds {in_record} images, {results.dataset.title} has {complete}.**"
        ]
    return []


def _which_checkpoint(results: Results) -> str:
    epoch = results.metrics["evaluate"].get("checkpoint_epoch")
    epochs = results.params.get("epochs")
    if epoch is None:
        return "a checkpoint that does not say after which epoch it was saved"
    which = "the last" if epoch == epochs else "an intermediate"
    return f"{which} checkpoint (epoch {epoch} of {epochs})"


def _accuracy(results: Results) -> str:
    """This run, and the figures of the recipe that it followed. A telephone shows no more than the first columns."""
    trained, score = results.metrics["train"], results.metrics["evaluate"]
    row = {
        "Itr": f"{trained['steps']:,} steps" if trained else NOT_MEASURED,
        "mIOU of this project": f"**{score['mIOU']:.2f}**" if score else NOT_MEASURED,
        "95 % interval": interval(score.get("mIOU_low"), score.get("mIOU_high")),
    }
    published = quoted.runs(results.dataset.name).get(results.recipe or "")
    if published:
        row |= _quoted(published)
    row |= {
        "epochs": str(results.params.get("epochs", MISSING)),
        "bn_momentum": str(results.params.get("bn_momentum", MISSING)),
        "data": f"{results.data}, val, `{results.mode}`",
    }
    return table([row.values()], row)


def _quoted(published: Quoted) -> dict[str, str]:
    model_zoo = MISSING if published.miou is None else f"{published.miou:.2f} (quoted)"
    return {
        "Itr": published.iterations,
        "mIOU 2021": model_zoo,
        "mIOU in paper": f"{published.paper:.2f} (quoted)",
    }


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
    score = results.metrics["evaluate"]
    rows = [(words, percentage(score[name])) for name, words in names.items() if name in score]
    return table(rows or [("", NOT_MEASURED)], ("measure", "%"))


def _baselines(score: Mapping[str, Any]) -> str:
    if not score:
        return NOT_MEASURED
    rows = [("**this network**", f"**{score['mIOU']:.2f}**")]
    names = {
        "constant": "one class everywhere",
        "colour": "colour look-up",
        "position": "position prior",
    }
    for name, value in score.get("baseline", {}).items():
        rows.append((names[name], percentage(value)))
    return table(rows, ("predictor", "mIOU %"))


def _classes(results: Results) -> list[str]:
    """The IoU of classes and categories, the best first, and how much of the training data each class is."""
    score = results.metrics["evaluate"]
    if not score:
        return [NOT_MEASURED]
    pixels = results.metrics["mindrecord_train"].get("pixels", {})
    total = sum(pixels.values())
    shares = {name: percentage(100 * pixels[name] / total) for name in pixels if total}
    of_classes = _ranked(score["class_IOU"], results.dataset.class_names)
    return [
        table(
            [(*row, shares.get(row[0], MISSING)) for row in of_classes],
            ("class", "IoU %", "% of the training pixels"),
        ),
        table(_ranked(score["category_IOU"], results.dataset.categories), ("category", "IoU %")),
        "“–”: occurs in neither ground truth nor prediction; left out of the mean, as the official script does.",
    ]


def _ranked(values: Mapping[str, float | None], names: Iterable[str]) -> list[tuple[str, str]]:
    """The highest first; what has no value, last."""
    ranked = sorted(
        names, key=lambda name: (values[name] is not None, values[name] or 0), reverse=True
    )
    return [(name, percentage(values[name])) for name in ranked]


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
    for name in (*schema.of_stage("train"), *EVALUATION):
        if name in results.params:
            rows.append((f"`{name}`", f"`{json.dumps(results.params[name])}`"))
    digests = {
        "training data": sidecar["data"]["digest"] if sidecar else None,
        "evaluation data": results.val_digest,
        "checkpoint": sidecar.get("digest"),
    }
    described = []
    for name, digest in digests.items():
        described.append(f"{name} `{digest[:16]}`" if digest else f"{name} {NOT_MEASURED}")
    return [table(rows, ("parameter", "value")), f"SHA-256: {', '.join(described)}."]
