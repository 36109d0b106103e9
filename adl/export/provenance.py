"""Where a model comes from: what it was trained on, what it scored, and which file equals the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adl.export.formats import FORMATS
from adl.files import digest
from adl.workspace import CHECKPOINT, DRAWN, EXPORTED, SCORED, sidecar

UNKNOWN = "what it was trained on is not recorded"


def described(model: Path) -> dict[str, Any]:
    """The sidecar of a checkpoint or an exported file; empty if it has none that can be read."""
    return _read(sidecar(model))


def trained_on(about: Mapping[str, Any]) -> str:
    """What a sidecar says of the training data, for people."""
    data = about.get("data") or {}
    if data.get("drawn") is None:
        return UNKNOWN
    return DRAWN if data["drawn"] else f"trained on {data['images']:,} images"


def score(about: Mapping[str, Any]) -> str | None:
    """What the stage `evaluate` found for the checkpoint that a sidecar describes; None if it scored another one."""
    scored = _read(SCORED)
    # An exported file names the checkpoint that it was made from.
    checkpoint = about.get("checkpoint_digest", about.get("digest"))
    if checkpoint is None or scored.get("digest") != checkpoint:
        return None
    whose = "its checkpoint scored " if "checkpoint_digest" in about else ""
    return f"{whose}mIOU {scored['mIOU']:.2f} % on {scored['images']} val images"


def summary(model: Path) -> str:
    """Both in one line."""
    about = described(model)
    return "; ".join(filter(None, (trained_on(about), score(about))))


def fastest() -> Path:
    """The ONNX file if it is one of the present checkpoint, which it then equals at every size; else the checkpoint."""
    model = FORMATS["onnx"].beside(EXPORTED / CHECKPOINT.name)
    about = described(model)
    if (
        CHECKPOINT.is_file()
        and model.is_file()
        and about.get("verified")
        and about.get("checkpoint_digest") == digest(CHECKPOINT)
        and about.get("digest") == digest(model)
    ):
        return model
    return CHECKPOINT


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
