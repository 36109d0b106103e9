"""The page of performance: how long training and inference took, on what. Neither git nor DVC keeps it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adl.console.text import MISSING, counted, duration
from adl.files import digest, write_text
from adl.report import quoted
from adl.report.page import Block, markdown, table, web_page
from adl.report.results import NOT_MEASURED, Results, of_other_runtimes, read_or_empty
from adl.workspace import CHECKPOINT, DRAWN, PERFORMANCE, PERFORMANCE_PAGE, SPEED

REMEDIES = {
    "train": "`python -m pipeline.train`, which trains again unless the run's state is still there",
    "evaluate": "`python -m pipeline.evaluate`",
    "infer": "`python -m pipeline.infer`",
}
"""Stage → what measures it anew, also where DVC takes its results from the cache."""
WORDS = {
    "ce": "cross entropy",
    "ohemce": "cross entropy with online hard example mining",
    "poly": "polynomial decay",
    "momentum": "Momentum",
}
"""Value of criterion, schedule or optimizer → what it stands for."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the stages measured of one model.

    model: its digest, None if there is none. bytes: its size. stages: stage → content of its file, empty if that is not
    of this model. missing: stage → why it is empty.
    """

    model: str | None
    bytes: int
    stages: Mapping[str, dict[str, Any]]
    missing: Mapping[str, str]

    @classmethod
    def read(cls, checkpoint: Path, folder: Path) -> Measured:
        model = digest(checkpoint) if checkpoint.exists() else None
        stages = {stage: read_or_empty(folder / f"{stage}.json") for stage in REMEDIES}
        missing = {}
        for stage, content in stages.items():
            if model is None or content.get("checkpoint_digest") != model:
                missing[stage] = "measured for another model" if content else NOT_MEASURED
                stages[stage] = {}
        size = checkpoint.stat().st_size if model else 0
        return cls(model, size, stages, missing)


def write(results: Results) -> None:
    """Write both files from what the current folder has."""
    content = blocks(results, Measured.read(CHECKPOINT, SPEED))
    write_text(PERFORMANCE, markdown(content))
    write_text(PERFORMANCE_PAGE, web_page(content, "Performance", {"mIOU": "index.html"}))


def blocks(results: Results, measured: Measured) -> list[Block]:
    name = results.dataset.name
    source = [f"Quoted: {quoted.MODEL_ZOO}."] if quoted.training(name) else []
    return [
        "# Performance",
        *_what_this_is(results, measured),
        "## Training performance",
        _side_by_side(quoted.training(name), training(results, measured)),
        "## Inference performance",
        _side_by_side(quoted.inference(name), inference(results, measured)),
        "## The exported files",
        _exported(measured.stages["infer"]),
        *source,
    ]


def _what_this_is(results: Results, measured: Measured) -> list[str]:
    lines = [
        "Times depend on the machine and the moment: this page is kept neither in git nor in DVC."
    ]
    if measured.model is None:
        return [*lines, "**There is no model here yet**: run `dvc repro`."]
    if results.is_embedded:
        lines.insert(0, f"**{DRAWN.capitalize()}.**")
    lines.append(f"All that was measured here is of the model `{measured.model[:16]}`.")
    for stage, why in measured.missing.items():
        lines.append(f"**Left out: `{stage}`**, {why}; run {REMEDIES[stage]}.")
    return lines


def training(results: Results, measured: Measured) -> dict[str, str]:
    speed, trained, params = measured.stages["train"], results.metrics["train"], results.params
    if not ("ms_per_step" in speed and trained and results.sidecar):
        return {}
    shown = ("epochs", "batch_size", "base_lr", "bn_momentum")
    # A run from before these parameters existed had the only optimizer and the only schedule.
    optimizer, schedule = params.get("optimizer", "momentum"), params.get("schedule", "poly")
    compilation = f"{MISSING}, for there was one step"
    if speed["compile_seconds"] is not None:
        compilation = duration(speed["compile_seconds"])
    return {
        **_machine(speed),
        "Dataset": f"{results.data} (cropped {params['crop_size']}×{params['crop_size']}), {trained['images']} images",
        "Training parameters": ", ".join(f"{name} {params[name]}" for name in shown),
        "Optimizer": WORDS[optimizer],
        "Loss": WORDS[params["criterion"]],
        "Learning rate": f"{WORDS[schedule]} after {params['warmup_iters']} steps of warm-up",
        "Outputs": "probability",
        "Speed": f"{speed['ms_per_step']} ms/step, {speed['samples_per_second']} images/s",
        "Total time": duration(speed["total_seconds"]),
        "Compilation": compilation,
        "Peak memory": f"{speed['peak_memory_mb']:,} MB",
        "Checkpoint": f"{measured.bytes / 1e6:.2f} MB",
    }


def _machine(speed: Mapping[str, Any]) -> dict[str, str]:
    devices = f" × {speed['devices']}" if speed.get("devices", 1) > 1 else ""
    return {
        "Model": speed["checkpoint_digest"][:16],
        "Resource": f"{speed['device']}{devices}: {speed['processor']}, {speed['cores']} cores",
        "MindSpore": speed["mindspore"],
    }


def inference(results: Results, measured: Measured) -> dict[str, str]:
    file, scored = measured.stages["infer"], measured.stages["evaluate"]
    if not file and not scored:
        return {}
    return {
        **_machine(file or scored),
        "Dataset": f"{results.data}, val",
        "Speed": _exported_speed(file, results.params),
        "Speed of `evaluate`": _evaluation_speed(scored),
    }


def _exported_speed(speed: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    if not speed:
        return NOT_MEASURED
    if speed["ms_per_image"] is None:
        return f"{MISSING}, for there was one image"
    mirror = " with its mirror image" if params["eval_flip"] else ""
    return f"{speed['ms_per_image']} ms/image{mirror}, exported file"


def _evaluation_speed(speed: Mapping[str, Any]) -> str:
    if not speed:
        return NOT_MEASURED
    processes = counted(speed["processes"], "process", "processes")
    if speed["ms_per_image"] is None:
        return f"{MISSING}, {processes}: every image waited for a compilation"
    return f"{speed['ms_per_image']} ms/image, {speed['network_ms_per_image']} in the network, {processes}"


def _exported(speed: Mapping[str, Any]) -> str:
    """The time of each file with each runtime; the MINDIR stands above the others."""
    if not speed:
        return NOT_MEASURED
    measured = [("mindir", "mindspore", speed["ms_per_image"]), *of_other_runtimes(speed)]
    rows = []
    for kind, runtime, time in measured:
        shown = MISSING if time is None else f"{time:g}"
        rows.append((kind, runtime, shown, speed["checkpoint_digest"][:16]))
    return table(rows, ("file", "run by", "ms/image", "model"))


def _side_by_side(published: Mapping[str, str], measured: Mapping[str, str]) -> str:
    names = dict.fromkeys([*measured, *published])
    if not names:
        return NOT_MEASURED
    rows = [(name, measured.get(name, ""), published.get(name, "")) for name in names]
    return table(rows, ("", "this run (measured)", "2021 (quoted)"))
