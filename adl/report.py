"""The pages that a person reads, rendered from metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from adl.architecture import Architecture
from adl.artifacts import sidecar_path
from adl.cityscapes import CATEGORIES, CLASS_NAMES, SPLIT_SIZES
from adl.params import TRAINING

QUOTED = (
    # iterations, epochs, bn_momentum, mIOU of the 2021 model zoo, mIOU in the paper
    ("0.5M", 1300, 0.995, 76.16, 75.20),
    ("1.0M", 2700, 0.9, 77.30, 77.09),
    ("1.5M", 4000, 0.99, 78.13, 78.00),
)
"""Auto-DeepLab-S on Cityscapes val, as the README of the 2021 MindSpore model zoo states it."""


def miou(
    metrics: Path, checkpoint: Path, *, data_path: str, ms_infer: bool, eval_flip: bool, eval_images: int | None
) -> str:
    """The accuracy report, in Markdown.

    metrics: folder with one JSON a stage. checkpoint: its sidecar is read. The rest: how the evaluation was done.
    """
    stage = {path.stem: json.loads(path.read_text()) for path in metrics.glob("*.json")}
    sidecar = json.loads(sidecar_path(checkpoint).read_text())
    embedded = Path(data_path) == Path("data/synthetic")
    data = "synthetic" if embedded else data_path
    mode = "_".join(name for name, on in (("multiscale", ms_infer), ("flip", eval_flip)) if on) or "single"
    evaluation = {"ms_infer": ms_infer, "eval_flip": eval_flip, "eval_images": eval_images}
    score = stage["evaluate"]
    return "\n\n".join(
        [
            "# mIOU",
            _what_this_is(stage, embedded=embedded, mode=mode),
            "## Accuracy",
            _accuracy(stage, sidecar, data=f"{data} val"),
            "Quoted: Auto-DeepLab-S, 8 × Ascend 910, batch 16, crop 769, Cityscapes val with mirror; mIOU from the "
            "README of the 2021 MindSpore model zoo, “in paper” from Liu et al., CVPR 2019, as quoted there. Nobody "
            "has measured them with this project.",
            "## Against predictors without a network",
            _baselines(score),
            "Each baseline is the majority in the training split: of all pixels, of each quantised colour (5 bits a "
            "channel), of each pixel position.",
            "## Classes",
            _table([(name, _number(score["class_IOU"][name])) for name in CLASS_NAMES], ("class", "IoU %")),
            _table([(name, _number(score["category_IOU"][name])) for name in CATEGORIES], ("category", "IoU %")),
            "“–”: occurs in neither ground truth nor prediction; left out of the mean, as the official script does.",
            "## The exported file",
            _exported(stage),
            "## Architecture",
            "\n".join(f"- {line}" for line in Architecture.from_sidecar(sidecar_path(checkpoint)).describe()),
            f"- {stage['train']['parameters']:,} trainable parameters",
            "## Parameters",
            _table(
                [(name, f"`{json.dumps(sidecar['params'][name])}`") for name in TRAINING]
                + [(name, f"`{json.dumps(value)}`") for name, value in evaluation.items()],
                ("parameter", "value"),
            ),
            f"Training data digest `{sidecar['data']['digest'][:16]}`, checkpoint digest `{sidecar['digest'][:16]}`.",
        ]
    ) + "\n"  # fmt: skip


def _what_this_is(stage: dict[str, Any], *, embedded: bool, mode: str) -> str:
    counted, there = stage["evaluate"]["images"], stage["mindrecord_val"]["images"]
    lines = []
    if embedded:
        lines.append(
            "**This run trained a small network on the embedded synthetic street scenes.** It shows that every stage "
            "works; its mIOU says nothing about Cityscapes."
        )
    if counted < there:
        lines.append(f"**Partial: {counted} of {there} val images were evaluated.**")
    elif not embedded and there != SPLIT_SIZES["val"]:
        lines.append(f"**Partial: the val record holds {there} images, Cityscapes has {SPLIT_SIZES['val']}.**")
    lines.append(f"Evaluated: {counted} val images, mode `{mode}`, counted as the official script counts.")
    return "\n\n".join(lines)


def _accuracy(stage: dict[str, Any], sidecar: dict[str, Any], *, data: str) -> str:
    rows = [
        (iterations, epochs, momentum, "Cityscapes val", f"{zoo:.2f} (quoted)", f"{paper:.2f} (quoted)", "not measured")
        for iterations, epochs, momentum, zoo, paper in QUOTED
    ]
    this_run = (
        f"{stage['train']['steps']:,} steps",
        sidecar["params"]["epochs"],
        sidecar["params"]["bn_momentum"],
        data,
        "",
        "",
        f"**{stage['evaluate']['mIOU']:.2f}**",
    )
    headers = ("Itr", "epochs", "bn_momentum", "data", "mIOU 2021", "mIOU in paper", "mIOU of this run")
    return _table([*rows, this_run], headers)


def _baselines(score: dict[str, Any]) -> str:
    rows = [("**this network**", f"**{score['mIOU']:.2f}**")]
    names = {"constant": "one class everywhere", "colour": "colour look-up", "position": "position prior"}
    rows += [(names[name], _number(value)) for name, value in score["baseline"].items()]
    return _table(rows, ("predictor", "mIOU %"))


def _exported(stage: dict[str, Any]) -> str:
    export, infer = stage["export"], stage["infer"]
    return _table(
        [
            ("largest difference of a probability from the checkpoint", f"{export['largest_difference']:g}"),
            (f"equal labels on {export['images']} images", f"{export['agreement']:.4f} %"),
            (f"mIOU of the file on {infer['images']} raw images", f"{infer['mIOU']:.2f}"),
            ("labels equal to those of `evaluate`", f"{infer['agreement']:.4f} %"),
        ],
        ("MINDIR", ""),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _table(rows: list[tuple], headers: tuple[str, ...]) -> str:
    return pd.DataFrame(rows, columns=list(headers)).to_markdown(index=False, disable_numparse=True)
