"""All that a report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adl import workspace
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import check_sidecar, read_json
from adl.report import history
from adl.workspace import CHECKPOINT, METRICS, RECORDS, SYNTHETIC, sidecar

NOT_MEASURED = "not measured yet"
"""What stands for a stage that has not run; `dvc repro` fills it."""
STAGES = ("mindrecord_train", "mindrecord_val", "train", "evaluate", "export", "infer")


@dataclasses.dataclass(frozen=True)
class Results:
    """metrics: stage → content, empty for a stage that has not run.

    Nothing in here depends on the clock or the machine. sidecar: of the checkpoint that was scored, empty if there is
    none. val_digest: of the data that it was scored on. params: as the run was trained and evaluated. recipe: the
    published one that this run followed.
    """

    dataset: DatasetDescriptor
    metrics: Mapping[str, dict[str, Any]]
    sidecar: Mapping[str, Any]
    val_digest: str | None
    params: Mapping[str, Any]
    recipe: str | None

    @classmethod
    def of_workspace(cls, dataset: DatasetDescriptor, asked: Mapping[str, Any]) -> Results:
        """Read those of the current folder. asked: parameters of params.yaml, for a run that DVC does not know."""
        try:
            run = history.load(history.WORKSPACE, dataset)
        except AdlError:
            run = None
        return cls.read(
            dataset,
            metrics=METRICS,
            checkpoint=CHECKPOINT,
            val_manifest=workspace.manifest(workspace.record(RECORDS, dataset.name, "val")),
            # As the run was trained and evaluated, not as the next one may be asked for by now.
            params=run.params if run else asked,
            recipe=run.recipe if run else None,
        )

    @classmethod
    def read(
        cls,
        dataset: DatasetDescriptor,
        *,
        metrics: Path,
        checkpoint: Path,
        val_manifest: Path,
        params: Mapping[str, Any],
        recipe: str | None = None,
    ) -> Results:
        """Read what there is of the metrics, the checkpoint's sidecar and the val record's manifest."""
        found_sidecar = read_or_empty(sidecar(checkpoint))
        if checkpoint.exists():
            check_sidecar(checkpoint)
        return cls(
            dataset=dataset,
            metrics={stage: read_or_empty(metrics / f"{stage}.json") for stage in STAGES},
            sidecar=found_sidecar,
            val_digest=read_or_empty(val_manifest).get("digest"),
            # The checkpoint itself knows best how it was trained.
            params={**params, **found_sidecar.get("params", {})},
            recipe=recipe,
        )

    @property
    def is_embedded(self) -> bool:
        return Path(self.params["data_path"]) == SYNTHETIC

    @property
    def data(self) -> str:
        return "synthetic scenes" if self.is_embedded else self.params["data_path"]

    @property
    def mode(self) -> str:
        """Name of the mode that was scored."""
        names = (("multiscale", self.params["ms_infer"]), ("flip", self.params["eval_flip"]))
        return "_".join(name for name, on in names if on) or "single"


def of_other_runtimes(inferred: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(file's format, runtime, what was measured) of what `infer` says of other runtimes than MindSpore."""
    for runtime, files in inferred.items():
        if isinstance(files, dict):
            for kind, measured in files.items():
                yield kind, runtime, measured


def read_or_empty(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none."""
    return read_json(path) if path.exists() else {}
