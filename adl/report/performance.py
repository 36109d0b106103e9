"""The page of performance: how long training and inference took, on what. Neither git nor DVC keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from adl.console.text import MISSING, counted, duration
from adl.files import digest, write_text
from adl.report import quoted
from adl.report.page import NOT_MEASURED, Block, markdown, table, web_page
from adl.report.results import Results, of_runtimes, read_or_empty
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
    "ce+dice": "cross entropy plus soft Dice",
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
    about = ["**There is no model here yet**: run `dvc repro`."]
    if model:
        about = [f"All that was measured here is of the model `{model[:16]}`."]
    speeds = {}
    for stage, remedy in REMEDIES.items():
        speed = read_or_empty(SPEED / f"{stage}.json")
        if speed.get("checkpoint_digest") != model:
            why = "measured for another model" if speed else NOT_MEASURED
            if model:
                about.append(f"**Left out: `{stage}`**, {why}; run {remedy}.")
            speed = {}
        speeds[stage] = speed
    dataset = results.dataset.name
    published = quoted.TRAINING.get(dataset, {})
    return [
        "# Performance",
        *([f"**{DRAWN.capitalize()}.**"] if model and results.is_embedded else []),
        "Times depend on the machine and the moment: this page is kept neither in git nor in DVC.",
        *about,
        "## Training performance",
        _side_by_side(published, _training(results, speeds["train"])),
        "## Inference performance",
        _side_by_side(
            quoted.INFERENCE.get(dataset, {}),
            _inference(results, speeds["infer"], speeds["evaluate"]),
        ),
        "## The exported files",
        _exported(speeds["infer"]),
        *([f"Quoted: {quoted.MODEL_ZOO}."] if published else []),
    ]


def _training(results: Results, speed: Mapping[str, Any]) -> dict[str, str]:
    trained = results.metrics["train"]
    if not ("ms_per_step" in speed and trained and results.sidecar):
        return {}
    # A run from before these parameters existed had the only optimizer and the only schedule.
    params = {"optimizer": "momentum", "schedule": "poly", **results.params}
    shown = ("epochs", "batch_size", "base_lr", "bn_momentum")
    compilation = f"{MISSING}, for there was one step"
    if speed["compile_seconds"] is not None:
        compilation = duration(speed["compile_seconds"])
    return {
        **_machine(speed),
        "Dataset": f"{results.data} (cropped {params['crop_size']}×{params['crop_size']}), {trained['images']} images",
        "Training parameters": ", ".join(f"{name} {params[name]}" for name in shown),
        "Optimizer": WORDS[params["optimizer"]],
        "Loss": WORDS[params["criterion"]],
        "Learning rate": f"{WORDS[params['schedule']]} after {params['warmup_iters']} steps of warm-up",
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


def _inference(results: Results, file: Mapping[str, Any], scored: Mapping[str, Any]) -> dict[str, str]:
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
            f"{scored['ms_per_image']} ms/image, {scored['network_ms_per_image']} in the network, {processes}"
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
    columns = ["file", "run by", "ms/image"]
    shown = pd.DataFrame(of_runtimes(speed, speed["ms_per_image"]), columns=columns)
    shown["ms/image"] = shown["ms/image"].map("{:g}".format, na_action="ignore")
    shown["model"] = speed["checkpoint_digest"][:16]
    return table(shown)


def _side_by_side(published: dict[str, str], measured: dict[str, str]) -> str:
    columns = {"this run (measured)": measured, "2021 (quoted)": published}
    return table(pd.DataFrame(columns, dtype=object).fillna("").reset_index(names=""))
