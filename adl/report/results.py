"""All that a report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adl import workspace
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import check_sidecar, read_json
from adl.report import history
from adl.workspace import CHECKPOINT, METRICS, SYNTHETIC, sidecar

STAGES = ("mindrecord_train", "mindrecord_val", "train", "evaluate", "export", "infer")


@dataclasses.dataclass(frozen=True)
class Results:
    """metrics: stage → content, empty for a stage that has not run.

    Nothing in here depends on the clock or the machine. sidecar: of the checkpoint that was scored, empty if there is
    none. val_digest: of the data that it was scored on. params: as the run was trained and evaluated. published: the
    quoted figures of the recipe that this run followed; empty if it followed none.
    """

    dataset: DatasetDescriptor
    metrics: Mapping[str, dict[str, Any]]
    sidecar: Mapping[str, Any]
    val_digest: str | None
    params: Mapping[str, Any]
    published: dict[str, str]

    @classmethod
    def read(cls, dataset: DatasetDescriptor, asked: dict[str, Any]) -> Results:
        """Read what there is in the current folder.

        dataset, asked: as params.yaml has them, for a run that neither DVC nor a checkpoint knows.
        """
        try:
            run = history.load(history.WORKSPACE)
            # As the run was trained and evaluated, not as the next one may be asked for by now.
            params, published = run.params, run.published
        except AdlError:
            params, published = asked, {}
        if CHECKPOINT.exists():
            check_sidecar(CHECKPOINT)
        description = read_or_empty(sidecar(CHECKPOINT))
        if description:
            dataset = descriptor.of_sidecar(description, sidecar(CHECKPOINT))
        return cls(
            dataset=dataset,
            metrics={stage: read_or_empty(METRICS / f"{stage}.json") for stage in STAGES},
            sidecar=description,
            val_digest=read_or_empty(workspace.manifest(workspace.record("val"))).get("digest"),
            # The checkpoint itself knows best how it was trained.
            params=params | description.get("params", {}),
            published=published,
        )

    @property
    def score(self) -> dict[str, Any]:
        """What `evaluate` found; empty if it has not run."""
        return self.metrics["evaluate"]

    @property
    def is_embedded(self) -> bool:
        return Path(self.params["data_path"]) == SYNTHETIC

    @property
    def data(self) -> str:
        return "synthetic scenes" if self.is_embedded else self.params["data_path"]

    @property
    def mode(self) -> str:
        """Name of the mode that was scored."""
        names = {"multiscale": "ms_infer", "flip": "eval_flip"}
        return "_".join(name for name, on in names.items() if self.params[on]) or "single"


def of_runtimes(inferred: Mapping[str, Any], mindir: Any) -> Iterator[tuple[str, str, Any]]:
    """(file's format, runtime, what was measured) of all that `infer` ran; the MINDIR stands above the others."""
    yield "mindir", "mindspore", mindir
    for runtime, files in inferred.items():
        if isinstance(files, dict):
            for kind, measured in files.items():
                yield kind, runtime, measured


def read_or_empty(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none."""
    return read_json(path) if path.exists() else {}
