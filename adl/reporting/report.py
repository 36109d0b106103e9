"""The report that a person reads, made from metrics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import params as schema
from adl.architecture import Architecture
from adl.console.text import percentage
from adl.reporting import columns, exported, performance, quoted
from adl.reporting.columns import NOTHING, Row
from adl.reporting.page import Block, Picture
from adl.reporting.results import Results

EVALUATION = ("ms_infer", "eval_flip", "eval_images")


def blocks(results: Results, pictures: Path) -> list[Block]:
    """The report. pictures: the folder `reports`, which holds those of the stages."""
    evaluate = pictures / "evaluate"
    return [
        "# mIOU",
        *_what_this_is(results),
        "## Accuracy",
        _accuracy(results),
        _about_the_figures(results),
        _scores(results),
        "## Training performance",
        _side_by_side(quoted.training(results.dataset.name), performance.training(results)),
        "## Inference performance",
        _side_by_side(quoted.inference(results.dataset.name), performance.inference(results)),
        f"Quoted: {quoted.MODEL_ZOO}.",
        "## Against predictors without a network",
        _baselines(results.metrics["evaluate"]),
        "Each baseline predicts the majority class of the training split: over all pixels, per quantised colour "
        "(5 bits per channel), or per pixel position.",
        *_class_section(results, evaluate),
        "## Learning curves",
        "In `reports/train`, and in `dvc plots show`.",
        Picture(
            pictures / "train" / "curves.png",
            "Loss, validation mIOU and learning rate over the epochs",
        ),
        "## Where it fails",
        "`reports/evaluate/images.csv` ranks all images; `reports/evaluate/overlays` has the worst ones.",
        *_worst(evaluate),
        "## The exported files",
        _table(exported.rows(results), exported.HEADERS),
        "## Architecture",
        _architecture(results),
        "## Parameters",
        *_parameters(results),
    ]


def _class_section(results: Results, evaluate: Path) -> list[Block]:
    return [
        "## Classes",
        _classes(results.metrics["evaluate"], "class", results.dataset.class_names),
        Picture(
            evaluate / "classes.png",
            "IoU of each class, sorted; the mean and the best baseline as lines",
        ),
        Picture(
            evaluate / "frequency.png",
            "How often each class occurs in training, and how well it is found",
        ),
        Picture(
            evaluate / "confusion.png",
            "Where the pixels of each class went, in percent of the class",
        ),
        _classes(results.metrics["evaluate"], "category", results.dataset.categories),
        "“–”: occurs in neither ground truth nor prediction; left out of the mean, as the official script does.",
    ]


def _about_the_figures(results: Results) -> str:
    text = (
        "The interval: 95 % of 1000 resamplings of the images, in which a class missing from a resampling keeps "
        "its IoU; it does not include the variation between seeds. "
        "Over seeds: mean ± standard deviation of the finished runs in git and DVC that differ only in `seed`."
    )
    if not quoted.runs(results.dataset.name):
        return text
    return (
        f"Quoted: Auto-DeepLab-S on Cityscapes val. mIOU 2021 and times: {quoted.MODEL_ZOO}: 8 × Ascend 910, batch 16, "
        f"crop 769; scored with the mirror image, the default of its code. mIOU in paper: {quoted.PAPER}, as quoted in "
        "that README; for the run with drop path, from the paper itself. According to the README, the paper's 0.5M, "
        f"1.0M and 1.5M iterations are 1344, 2688 and 4032 epochs at batch 8. {text}"
    )


def _worst(evaluate: Path) -> list[Block]:
    pictures = sorted((evaluate / "overlays").glob("worst_*.png"))
    return [
        Picture(path, f"Rank {int(path.stem.removeprefix('worst_'))} from the bottom")
        for path in pictures
    ]


def _what_this_is(results: Results) -> list[str]:
    score = results.metrics["evaluate"]
    lines = []
    if results.is_embedded:
        lines.append(
            "**This run trained a small network on the embedded synthetic street scenes.** It shows that every stage "
            f"works; its mIOU says nothing about {results.dataset.title}."
        )
    if not score:
        return [*lines, "**Nothing has been evaluated yet**: run `dvc repro`."]
    scored = score["images"]
    in_record = results.metrics["mindrecord_val"].get("images", scored)
    complete = results.dataset.split_sizes["val"]
    if scored < in_record:
        lines.append(f"**Partial: {scored} of {in_record} val images were evaluated.**")
    elif not results.is_embedded and in_record != complete:
        lines.append(
            f"**Partial: the val record holds {in_record} images, {results.dataset.title} has {complete}.**"
        )
    lines.append(
        f"Evaluated: {scored} val images, mode `{results.mode}`, counted as the official script counts; "
        f"{_which_checkpoint(results)}, not chosen by its score on val."
    )
    return lines


def _which_checkpoint(results: Results) -> str:
    epoch, epochs = results.metrics["evaluate"].get("checkpoint_epoch"), results.params["epochs"]
    if epoch is None:
        return "a checkpoint that does not say after which epoch it was saved"
    which = "the last" if epoch == epochs else "an intermediate"
    return f"{which} checkpoint (epoch {epoch} of {epochs})"


def _accuracy(results: Results) -> str:
    score, trained = results.metrics["evaluate"], results.metrics["train"]
    ours = Row(
        data=f"{results.data}, val, `{results.mode}`",
        params=results.params,
        steps=trained["steps"] if trained else None,
        score=score,
        over_seeds=results.over_seeds,
        seconds=results.speed["train"].get("total_seconds"),
    )
    rows = []
    for recipe, published in quoted.runs(results.dataset.name).items():
        data = f"{results.dataset.title} val"
        if recipe == results.recipe:
            rows.append(dataclasses.replace(ours, data=data, published=published))
        else:
            rows.append(Row(data=data, published=published, is_ours=False))
    if results.recipe is None:
        rows.append(ours)
    return _table(columns.cells(columns.REPORT, rows), columns.REPORT)


def _scores(results: Results) -> str:
    """What else the same counts say."""
    names = {
        f"mIOU_{mode}": f"mIOU, mode `{mode}`"
        for mode in ("single", "flip", "multiscale", "multiscale_flip")
    }
    names |= {
        "mIOU_category": f"mIOU of the {len(results.dataset.categories)} categories",
        "pixel_accuracy": "pixel accuracy",
        "mean_accuracy": "mean accuracy of the classes",
        "frequency_weighted_IOU": "frequency-weighted IoU",
    }
    score = results.metrics["evaluate"]
    rows = [(words, percentage(score[name])) for name, words in names.items() if name in score]
    return _table(rows or [("", NOTHING)], ("measure", "%"))


def _side_by_side(published: Mapping[str, str], measured: Mapping[str, str]) -> str:
    rows = [
        (name, published.get(name, ""), measured.get(name, "" if measured else NOTHING))
        for name in dict.fromkeys([*published, *measured])
    ]
    return _table(rows, ("", "2021 (quoted)", "this run (measured)"))


def _baselines(score: Mapping[str, Any]) -> str:
    if not score:
        return NOTHING
    rows = [("**this network**", f"**{score['mIOU']:.2f}**")]
    names = {
        "constant": "one class everywhere",
        "colour": "colour look-up",
        "position": "position prior",
    }
    for name, value in score.get("baseline", {}).items():
        rows.append((names[name], percentage(value)))
    return _table(rows, ("predictor", "mIOU %"))


def _classes(score: Mapping[str, Any], kind: str, names: Iterable[str]) -> str:
    if f"{kind}_IOU" not in score:
        return NOTHING
    values = score[f"{kind}_IOU"]
    existing = [name for name in names if values[name] is not None]
    ranked = sorted(existing, key=lambda name: values[name], reverse=True)
    ranked += [name for name in names if values[name] is None]
    return _table([(name, percentage(values[name])) for name in ranked], (kind, "IoU %"))


def _architecture(results: Results) -> str:
    if results.sidecar is None:
        return NOTHING
    lines = Architecture.from_json(results.sidecar["architecture"]).describe()
    if trained := results.metrics["train"]:
        lines.append(f"{trained['parameters']:,} trainable parameters")
    return "\n".join(f"- {line}" for line in lines)


def _parameters(results: Results) -> list[str]:
    if not results.metrics["train"] and results.sidecar is None:
        return [NOTHING]
    names = (*schema.of_stage("train"), *EVALUATION)
    rows = [
        (f"`{name}`", f"`{json.dumps(results.params[name])}`")
        for name in names
        if name in results.params
    ]
    sidecar = results.sidecar or {"data": {"digest": None}, "digest": None}
    digests = {
        "training data": sidecar["data"]["digest"],
        "evaluation data": results.val_digest,
        "checkpoint": sidecar["digest"],
    }
    described = []
    for name, digest in digests.items():
        described.append(f"{name} `{digest[:16]}`" if digest else f"{name} {NOTHING}")
    return [_table(rows, ("parameter", "value")), f"SHA-256: {', '.join(described)}."]


def _table(rows: Sequence[Sequence[str]], headers: Iterable[str]) -> str:
    return tabulate(rows, headers=list(headers), tablefmt="pipe", disable_numparse=True)
