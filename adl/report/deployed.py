"""The report's table of exported files: what each was proved to be, and what it scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adl.console.text import MISSING, counted, percentage
from adl.report.columns import NOTHING
from adl.report.results import Results

HEADERS = (
    "file",
    "compared with the checkpoint",
    "run by",
    "mIOU on raw images",
    "labels as in `evaluate`",
)


def rows(results: Results) -> list[tuple[str, ...]]:
    """A row for each file and each run time that ran it."""
    proofs, inferred = results.metrics["export"], results.metrics["infer"]
    measured = list(_measured(inferred))
    found = []
    for kind in dict.fromkeys([*proofs, *(name for name, *_ in measured)]):
        proved = _words(proofs[kind]) if kind in proofs else NOTHING
        of_kind = [row for name, *row in measured if name == kind]
        for row in of_kind or [[MISSING] * 3]:
            found.append((kind, proved, *row))
    return found or [(NOTHING, *[""] * (len(HEADERS) - 1))]


def _measured(inferred: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(format, run time, mIOU, agreement) of every measurement; the MINDIR's stands above the others."""
    if not inferred:
        return
    yield _measurement("mindir", "mindspore", inferred)
    for backend, files in inferred.items():
        if isinstance(files, dict):
            for kind, figures in files.items():
                yield _measurement(kind, backend, figures)


def _measurement(kind: str, backend: str, figures: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return kind, backend, percentage(figures["mIOU"]), f"{percentage(figures['agreement'], 4)} %"


def _words(proof: Mapping[str, Any]) -> str:
    on_images = counted(proof["images"], "image")
    if "mIOU_checkpoint" in proof:
        return _drop(proof, on_images)
    words = [f"equal labels {percentage(proof['agreement'], 4)} % ({on_images})"]
    if "largest_difference" in proof:
        words.append(f"largest difference of a probability {proof['largest_difference']:g}")
    return ", ".join(words)


def _drop(proof: Mapping[str, Any], on_images: str) -> str:
    kept = "" if proof["kept"] else ", not kept"
    if proof["points_lost"] is None:
        return f"nothing is scored ({on_images}), not proved{kept}"
    interval = ""
    if proof["points_lost_low"] is not None:
        interval = (
            f", 95 % between {proof['points_lost_low']:.2f} and {proof['points_lost_high']:.2f}"
        )
    with_sets = ", ".join(proof["points_lost_with"])
    return (
        f"{proof['points_lost']:.2f} points of mIOU lost ({on_images}{interval}), equal labels "
        f"{percentage(proof['agreement'])} %; with {with_sets}, not proved on other processors{kept}"
    )
