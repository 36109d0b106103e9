"""The report's table of exported files: what each was proved to be, and what it scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adl.console.text import counted, percentage
from adl.report.page import NOT_MEASURED
from adl.report.results import Results, of_runtimes


def rows(results: Results) -> list[dict[str, str]]:
    """A row for each file and each runtime that ran it."""
    proofs, inferred = results.metrics["export"], results.metrics["infer"]
    measured: dict[str, list[dict[str, str]]] = {kind: [] for kind in proofs}
    if inferred:
        for kind, runtime, figures in of_runtimes(inferred, inferred):
            cells = {
                "run by": runtime,
                "mIOU on raw images": percentage(figures["mIOU"]),
                "labels as in `evaluate`": f"{percentage(figures['agreement'], 4)} %",
            }
            measured.setdefault(kind, []).append(cells)
    found = []
    for kind, runs in measured.items():
        proved = _words(proofs[kind]) if kind in proofs else NOT_MEASURED
        for cells in runs or [{}]:
            found.append({"file": kind, "compared with the checkpoint": proved, **cells})
    return found


def _words(proof: Mapping[str, Any]) -> str:
    on_images = counted(proof["images"], "image")
    if "mIOU_checkpoint" not in proof:
        words = f"equal labels {percentage(proof['agreement'], 4)} % ({on_images})"
        if "largest_difference" in proof:
            words += f", largest difference of a probability {proof['largest_difference']:g}"
        return words
    kept = "" if proof["kept"] else ", not kept"
    if proof["points_lost"] is None:
        return f"nothing is scored ({on_images}), not proved{kept}"
    if proof["points_lost_low"] is not None:
        on_images += f", 95 % between {proof['points_lost_low']:.2f} and {proof['points_lost_high']:.2f}"
    with_sets = ", ".join(proof["points_lost_with"])
    return (
        f"{proof['points_lost']:.2f} points of mIOU lost ({on_images}), equal labels "
        f"{percentage(proof['agreement'])} %; with {with_sets}, not proved on other processors{kept}"
    )
