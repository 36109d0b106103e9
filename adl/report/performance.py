"""The page of performance: how long training and inference took, on what. Neither git nor DVC keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from adl.console.text import MISSING, counted, duration
from adl.files import digest, write_text
from adl.report import quoted
from adl.report.page import Block, markdown, table, web_page
from adl.report.results import NOT_MEASURED, Results, of_runtimes, read_or_empty
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


def write(results: Results) -> None:
    """Write both files from what the current folder has."""
    content = blocks(results)
    write_text(PERFORMANCE, markdown(content))
    write_text(PERFORMANCE_PAGE, web_page(content, {"mIOU": "index.html"}))


def blocks(results: Results) -> list[Block]:
    model = digest(CHECKPOINT) if CHECKPOINT.exists() else ""
    speeds, left_out = {}, []
    for stage, remedy in REMEDIES.items():
        speed = read_or_empty(SPEED / f"{stage}.json")
        is_of_model = model and speed.get("checkpoint_digest") == model
        speeds[stage] = speed if is_of_model else {}
        if not is_of_model:
            why = "measured for another model" if speed else NOT_MEASURED
            left_out.append(f"**Left out: `{stage}`**, {why}; run {remedy}.")
    about = ["**There is no model here yet**: run `dvc repro`."]
    if model:
        about = [f"All that was measured here is of the model `{model[:16]}`.", *left_out]
    dataset = results.dataset.name
    published = quoted.TRAINING.get(dataset, {})
    return [
        "# Performance",
        *([f"**{DRAWN.capitalize()}.**"] if model and results.is_embedded else []),
        "Times depend on the machine and the moment: this page is kept neither in git nor in DVC.",
        *about,
        "## Training performance",
        _side_by_side(published, training(results, speeds["train"])),
        "## Inference performance",
        _side_by_side(
            quoted.INFERENCE.get(dataset, {}),
            inference(results, speeds["infer"], speeds["evaluate"]),
        ),
        "## The exported files",
        _exported(speeds["infer"]),
        *([f"Quoted: {quoted.MODEL_ZOO}."] if published else []),
    ]


def training(results: Results, speed: Mapping[str, Any]) -> dict[str, str]:
    trained, params = results.metrics["train"], results.params
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
        "Checkpoint": f"{CHECKPOINT.stat().st_size / 1e6:.2f} MB",
    }


def _machine(speed: Mapping[str, Any]) -> dict[str, str]:
    devices = f" × {speed['devices']}" if speed.get("devices", 1) > 1 else ""
    return {
        "Model": speed["checkpoint_digest"][:16],
        "Resource": f"{speed['device']}{devices}: {speed['processor']}, {speed['cores']} cores",
        "MindSpore": speed["mindspore"],
    }


def inference(
    results: Results, file: Mapping[str, Any], scored: Mapping[str, Any]
) -> dict[str, str]:
    """file: of the exported file. scored: of the stage evaluate."""
    if not file and not scored:
        return {}
    of_file = of_evaluation = NOT_MEASURED
    if file:
        mirror = " with its mirror image" if results.params["eval_flip"] else ""
        of_file = f"{file['ms_per_image']} ms/image{mirror}, exported file"
        if file["ms_per_image"] is None:
            of_file = f"{MISSING}, for there was one image"
    if scored:
        processes = counted(scored["processes"], "process", "processes")
        of_evaluation = (
            f"{scored['ms_per_image']} ms/image, {scored['network_ms_per_image']} in the network, "
            f"{processes}"
        )
        if scored["ms_per_image"] is None:
            of_evaluation = f"{MISSING}, {processes}: every image waited for a compilation"
    return {
        **_machine(file or scored),
        "Dataset": f"{results.data}, val",
        "Speed": of_file,
        "Speed of `evaluate`": of_evaluation,
    }


def _exported(speed: Mapping[str, Any]) -> str:
    """The time of each file with each runtime."""
    if not speed:
        return NOT_MEASURED
    files = of_runtimes(speed, speed["ms_per_image"])
    shown = pd.DataFrame(files, columns=["file", "run by", "ms/image"])
    shown["ms/image"] = shown["ms/image"].map("{:g}".format, na_action="ignore")
    shown["model"] = speed["checkpoint_digest"][:16]
    return table(shown)


def _side_by_side(published: dict[str, str], measured: dict[str, str]) -> str:
    columns = {"this run (measured)": measured, "2021 (quoted)": published}
    rows = pd.DataFrame(columns, dtype=object).fillna("")
    return table(rows.reset_index(names="")) if len(rows) else NOT_MEASURED
