"""The report that a person reads, made from metrics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from adl import quoted
from adl.architecture import Architecture
from adl.artifacts import sidecar_path
from adl.cityscapes import CATEGORIES, CLASS_NAMES, SPLIT_SIZES
from adl.page import Block, Picture
from adl.params import TRAINING
from adl.progress import duration
from adl.recipes import SYNTHETIC

EVALUATION = ("ms_infer", "eval_flip", "eval_images")
STAGES = ("mindrecord_train", "mindrecord_val", "train", "evaluate", "export", "infer")
NOTHING = "not measured yet"
"""What stands where a stage has not run; `dvc repro` fills it."""


@dataclasses.dataclass(frozen=True)
class Results:
    """All that a report is made from. metrics, speed: stage → content, empty where it has not run.

    sidecar: of the checkpoint that was scored. val_digest: of the data that it was scored on. params: what the run was
    trained and evaluated with.
    over_seeds: mean ± standard deviation of the runs that differ only in their seed, as text. recipe: the published one
    that this run followed.
    """

    metrics: Mapping[str, dict[str, Any]]
    speed: Mapping[str, dict[str, Any]]
    sidecar: dict[str, Any] | None
    checkpoint_bytes: int | None
    val_digest: str | None
    params: Mapping[str, Any]
    over_seeds: str
    recipe: str | None

    @classmethod
    def read(
        cls,
        metrics: Path,
        speed: Path,
        checkpoint: Path,
        val_manifest: Path,
        *,
        params: Mapping[str, Any],
        over_seeds: str = "",
        recipe: str | None = None,
    ) -> Results:
        sidecar = _json(sidecar_path(checkpoint))
        return cls(
            metrics={stage: _json(metrics / f"{stage}.json") or {} for stage in STAGES},
            speed={stage: _json(speed / f"{stage}.json") or {} for stage in STAGES},
            sidecar=sidecar,
            checkpoint_bytes=checkpoint.stat().st_size if checkpoint.exists() else None,
            val_digest=(_json(val_manifest) or {}).get("digest"),
            # The checkpoint itself knows best how it was trained.
            params={**params, **(sidecar or {}).get("params", {})},
            over_seeds=over_seeds,
            recipe=recipe,
        )

    @property
    def embedded(self) -> bool:
        return Path(self.params["data_path"]) == SYNTHETIC

    @property
    def data(self) -> str:
        return "synthetic scenes" if self.embedded else self.params["data_path"]

    @property
    def mode(self) -> str:
        names = (("multiscale", self.params["ms_infer"]), ("flip", self.params["eval_flip"]))
        return "_".join(name for name, on in names if on) or "single"


def blocks(results: Results, pictures: Path) -> list[Block]:
    """The report. pictures: the folder `reports`, which holds those of the stages."""
    evaluate = pictures / "evaluate"
    return [
        "# mIOU",
        *_what_this_is(results),
        "## Accuracy",
        _accuracy(results),
        f"Quoted: Auto-DeepLab-S on Cityscapes val. mIOU 2021 and times: {quoted.MODEL_ZOO}: 8 × Ascend 910, batch 16, "
        f"crop 769; with mirror, the default of its code. In paper: {quoted.PAPER}, as quoted there, and for the run "
        "with drop path the paper itself; by that README, the paper's 0.5M, 1.0M and 1.5M iterations are 1344, 2688 "
        "and 4032 epochs at batch 8. The interval: 95 % of 1000 resamplings of the images, where a class that one of "
        "them lacks keeps its IoU; other seeds are not in it. "
        "Over seeds: mean ± standard deviation of the finished runs in git and DVC that differ only in `seed`.",
        _scores(results.metrics["evaluate"]),
        "## Training performance",
        _side_by_side(quoted.TRAINING, _training(results)),
        "## Inference performance",
        _side_by_side(quoted.INFERENCE, _inference(results)),
        f"Quoted: {quoted.MODEL_ZOO}.",
        "## Against predictors without a network",
        _baselines(results.metrics["evaluate"]),
        "Each baseline is the majority in the training split: of all pixels, of each quantised colour (5 bits a "
        "channel), of each pixel position.",
        "## Classes",
        _classes(results.metrics["evaluate"], "class", CLASS_NAMES),
        Picture(evaluate / "classes.png", "IoU of each class, sorted; the mean and the best baseline as lines"),
        Picture(evaluate / "frequency.png", "How often each class occurs in training, and how well it is found"),
        Picture(evaluate / "confusion.png", "Where the pixels of each class went, in percent of the class"),
        _classes(results.metrics["evaluate"], "category", CATEGORIES),
        "“–”: occurs in neither ground truth nor prediction; left out of the mean, as the official script does.",
        "## Learning curves",
        "In `reports/train`, and in `dvc plots show`.",
        Picture(pictures / "train" / "curves.png", "Loss, validation mIOU and learning rate over the epochs"),
        "## Where it fails",
        "`reports/evaluate/images.csv` ranks all images; `reports/evaluate/overlays` has the worst ones.",
        *[
            Picture(path, f"Number {int(path.stem.removeprefix('worst_'))} from the bottom")
            for path in sorted((evaluate / "overlays").glob("worst_*.png"))
        ],
        "## The exported file",
        _exported(results.metrics),
        "## Architecture",
        _architecture(results),
        "## Parameters",
        *_parameters(results),
    ]


def _what_this_is(results: Results) -> list[str]:
    score, val = results.metrics["evaluate"], results.metrics["mindrecord_val"]
    lines = []
    if results.embedded:
        lines.append(
            "**This run trained a small network on the embedded synthetic street scenes.** It shows that every stage "
            "works; its mIOU says nothing about Cityscapes."
        )
    if not score:
        return [*lines, "**Nothing was evaluated yet**: `dvc repro` does it."]
    counted, there = score["images"], val.get("images", score["images"])
    if counted < there:
        lines.append(f"**Partial: {counted} of {there} val images were evaluated.**")
    elif not results.embedded and there != SPLIT_SIZES["val"]:
        lines.append(f"**Partial: the val record holds {there} images, Cityscapes has {SPLIT_SIZES['val']}.**")
    epoch, epochs = score.get("checkpoint_epoch"), results.params["epochs"]
    which = f"{'the last' if epoch == epochs else 'an intermediate'} checkpoint (epoch {epoch} of {epochs})"
    if epoch is None:
        which = "a checkpoint that does not say after which epoch it was saved"
    lines.append(
        f"Evaluated: {counted} val images, mode `{results.mode}`, counted as the official script counts; {which}, not "
        "chosen by its score on val."
    )
    return lines


def _accuracy(results: Results) -> str:
    headers = (
        "Itr", "epochs", "bn_momentum", "data", "mIOU 2021", "mIOU in paper", "mIOU of this project", "95 % interval",
        "over seeds", "total training time",
    )  # fmt: skip
    score, trained = results.metrics["evaluate"], results.metrics["train"]
    time = results.speed["train"].get("total_seconds")
    measured = (f"**{score['mIOU']:.2f}**" if score else NOTHING, interval(score), results.over_seeds)
    rows = []
    for recipe, run in quoted.RUNS.items():
        published = "–" if run.miou is None else f"{run.miou:.2f} (quoted)"
        hours = "–" if run.hours is None else f"{run.hours} h (quoted)"
        followed = recipe == results.recipe
        mine = measured if followed else ("not measured", "", "")
        if followed and time is not None:
            hours += f", {_seconds(time)} (measured)"
        rows.append(
            (
                run.iterations,
                results.params["epochs"] if followed else run.epochs or "–",
                results.params["bn_momentum"] if followed else run.bn_momentum or "–",
                "Cityscapes val",
                published,
                f"{run.paper:.2f} (quoted)",
                *mine,
                hours,
            )
        )
    if results.recipe is None:
        steps = f"{trained['steps']:,} steps" if trained else NOTHING
        scored_on = f"{results.data}, val, `{results.mode}`"
        about = (steps, results.params["epochs"], results.params["bn_momentum"], scored_on)
        rows.append((*about, "", "", *measured, _seconds(time)))
    return _table(rows, headers)


def _scores(score: Mapping[str, Any]) -> str:
    """What else the same counts say."""
    modes = {f"mIOU_{mode}": f"mIOU, mode `{mode}`" for mode in ("single", "flip", "multiscale", "multiscale_flip")}
    names = modes | {
        "mIOU_category": "mIOU of the 7 categories",
        "pixel_accuracy": "pixel accuracy",
        "mean_accuracy": "mean accuracy of the classes",
        "frequency_weighted_IOU": "frequency-weighted IoU",
    }
    rows = [(words, _number(score[name])) for name, words in names.items() if name in score]
    return _table(rows or [("", NOTHING)], ("measure", "%"))


def _training(results: Results) -> dict[str, str]:
    speed, trained = results.speed["train"], results.metrics["train"]
    if not trained:
        return {}
    params = results.params
    names = ("epochs", "batch_size", "base_lr", "bn_momentum")
    loss = "cross entropy" + (" with online hard example mining" if params["criterion"] == "ohemce" else "")
    return {
        "Resource": _resource(speed),
        "MindSpore": speed.get("mindspore", NOTHING),
        "Dataset": f"{results.data} (cropped {params['crop_size']}×{params['crop_size']}), {trained['images']} images",
        "Training parameters": ", ".join(f"{name} {params[name]}" for name in names),
        "Optimizer": "Momentum",
        "Loss": loss,
        "Outputs": "probability",
        "Speed": f"{speed['ms_per_step']} ms/step, {speed['samples_per_second']} images/s" if speed else NOTHING,
        "Total time": _seconds(speed.get("total_seconds")),
        "Compilation": _compilation(speed),
        "Peak memory": f"{speed['peak_memory_mb']:,} MB" if speed else NOTHING,
        "Checkpoint": f"{results.checkpoint_bytes / 1e6:.2f} MB" if results.checkpoint_bytes else NOTHING,
    }


def _compilation(speed: Mapping[str, Any]) -> str:
    """What the first step took longer than the others, if there were any."""
    seconds = speed.get("compile_seconds")
    return "–, for there was one step" if speed and seconds is None else _seconds(seconds)


def _inference(results: Results) -> dict[str, str]:
    file, scored = results.speed["infer"], results.speed["evaluate"]
    if not file and not scored:
        return {}
    return {
        "Resource": _resource(file or scored),
        "MindSpore": (file or scored).get("mindspore", NOTHING),
        "Dataset": f"{results.data}, val",
        "Speed": _exported_speed(file, mirrored=results.params["eval_flip"]) if file else NOTHING,
        "Speed of `evaluate`": _evaluation_speed(scored) if scored else NOTHING,
    }


def _exported_speed(speed: Mapping[str, Any], *, mirrored: bool) -> str:
    if speed["ms_per_image"] is None:
        return "–, for there was one image"
    return f"{speed['ms_per_image']} ms/image{' with its mirror image' if mirrored else ''}, exported file"


def _evaluation_speed(speed: Mapping[str, Any]) -> str:
    processes = f"{speed['processes']} process{'es' if speed['processes'] > 1 else ''}"
    if speed["ms_per_image"] is None:
        return f"–, {processes}: every image waited for a compilation"
    return f"{speed['ms_per_image']} ms/image, {speed['network_ms_per_image']} in the network, {processes}"


def _resource(speed: Mapping[str, Any]) -> str:
    if not speed:
        return NOTHING
    devices = f" × {speed['devices']}" if speed.get("devices", 1) > 1 else ""
    return f"{speed['device']}{devices}: {speed.get('processor', 'unknown')}, {speed['cores']} cores"


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
    names = {"constant": "one class everywhere", "colour": "colour look-up", "position": "position prior"}
    rows += [(names[name], _number(value)) for name, value in score.get("baseline", {}).items()]
    return _table(rows, ("predictor", "mIOU %"))


def _classes(score: Mapping[str, Any], kind: str, names: Sequence[str]) -> str:
    if f"{kind}_IOU" not in score:
        return NOTHING
    values = score[f"{kind}_IOU"]
    ranked = sorted(names, key=lambda name: -1.0 if values[name] is None else values[name], reverse=True)
    return _table([(name, _number(values[name])) for name in ranked], (kind, "IoU %"))


def _exported(metrics: Mapping[str, dict[str, Any]]) -> str:
    export, infer = metrics["export"], metrics["infer"]
    rows = []
    if export:
        rows += [
            ("largest difference of a probability from the checkpoint", f"{export['largest_difference']:g}"),
            (f"equal labels on {export['images']} images", f"{export['agreement']:.4f} %"),
        ]
    if infer:
        rows += [
            (f"mIOU of the file on {infer['images']} raw images", f"{infer['mIOU']:.2f}"),
            ("labels equal to those of `evaluate`", f"{infer['agreement']:.4f} %"),
        ]
    return _table(rows or [("", NOTHING)], ("MINDIR", ""))


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
    values = {name: results.params[name] for name in (*TRAINING, *EVALUATION) if name in results.params}
    sidecar = results.sidecar or {"data": {"digest": NOTHING}, "digest": NOTHING}
    digests = {
        "training data": sidecar["data"]["digest"],
        "evaluation data": results.val_digest or NOTHING,
        "checkpoint": sidecar["digest"],
    }
    return [
        _table([(f"`{name}`", f"`{json.dumps(value)}`") for name, value in values.items()], ("parameter", "value")),
        "SHA-256: "
        + ", ".join(f"{name} {digest if digest == NOTHING else f'`{digest[:16]}`'}" for name, digest in digests.items())
        + ".",
    ]


def interval(score: Mapping[str, Any]) -> str:
    """The 95 % interval of an evaluation's mIOU, for a table."""
    low, high = score.get("mIOU_low"), score.get("mIOU_high")
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _json(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else duration(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _table(rows: Sequence[tuple], headers: tuple[str, ...]) -> str:
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)
