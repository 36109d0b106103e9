"""The report's tables of training and inference performance: how long, on what, how large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adl.console.text import MISSING, counted, duration
from adl.reporting.columns import NOTHING
from adl.reporting.results import Results
from adl.training import choices


def training(results: Results) -> dict[str, str]:
    speed, trained, params = results.speed["train"], results.metrics["train"], results.params
    if not trained:
        return {}
    shown = ("epochs", "batch_size", "base_lr", "bn_momentum")
    size = results.checkpoint_bytes
    return {
        "Resource": _resource(speed),
        "MindSpore": speed.get("mindspore", NOTHING),
        "Dataset": f"{results.data} (cropped {params['crop_size']}×{params['crop_size']}), {trained['images']} images",
        "Training parameters": ", ".join(f"{name} {params[name]}" for name in shown),
        "Optimizer": choices.OPTIMIZERS[params.get("optimizer", "momentum")].words,
        "Loss": choices.LOSSES[params["criterion"]].words,
        "Learning rate": _schedule(params),
        "Outputs": "probability",
        "Speed": _training_speed(speed),
        "Total time": _time(speed.get("total_seconds")),
        "Compilation": _compilation(speed),
        "Peak memory": _peak_memory(speed),
        "Checkpoint": NOTHING if size is None else f"{size / 1e6:.2f} MB",
    }


def _training_speed(speed: Mapping[str, Any]) -> str:
    if not speed:
        return NOTHING
    return f"{speed['ms_per_step']} ms/step, {speed['samples_per_second']} images/s"


def _peak_memory(speed: Mapping[str, Any]) -> str:
    return f"{speed['peak_memory_mb']:,} MB" if speed else NOTHING


def _schedule(params: Mapping[str, Any]) -> str:
    # A run from before the parameter existed had the only schedule.
    words = choices.SCHEDULES[params.get("schedule", "poly")].words
    return f"{words} after {params['warmup_iters']} steps of warm-up"


def _compilation(speed: Mapping[str, Any]) -> str:
    """How much longer the first step took than the others, if there were any."""
    seconds = speed.get("compile_seconds")
    return f"{MISSING}, for there was one step" if speed and seconds is None else _time(seconds)


def inference(results: Results) -> dict[str, str]:
    file, scored = results.speed["infer"], results.speed["evaluate"]
    if not file and not scored:
        return {}
    return {
        "Resource": _resource(file or scored),
        "MindSpore": (file or scored).get("mindspore", NOTHING),
        "Dataset": f"{results.data}, val",
        "Speed": _exported_speed(file, mirrored=results.params["eval_flip"]),
        "Speed of `evaluate`": _evaluation_speed(scored),
    }


def _exported_speed(speed: Mapping[str, Any], *, mirrored: bool) -> str:
    if not speed:
        return NOTHING
    if speed["ms_per_image"] is None:
        return f"{MISSING}, for there was one image"
    mirror = " with its mirror image" if mirrored else ""
    return f"{speed['ms_per_image']} ms/image{mirror}, exported file"


def _evaluation_speed(speed: Mapping[str, Any]) -> str:
    if not speed:
        return NOTHING
    processes = counted(speed["processes"], "process", "processes")
    if speed["ms_per_image"] is None:
        return f"{MISSING}, {processes}: every image waited for a compilation"
    return f"{speed['ms_per_image']} ms/image, {speed['network_ms_per_image']} in the network, {processes}"


def _resource(speed: Mapping[str, Any]) -> str:
    if not speed:
        return NOTHING
    devices = f" × {speed['devices']}" if speed.get("devices", 1) > 1 else ""
    return (
        f"{speed['device']}{devices}: {speed.get('processor', 'unknown')}, {speed['cores']} cores"
    )


def _time(seconds: float | None) -> str:
    return NOTHING if seconds is None else duration(seconds)
