"""Finished runs: what experiments, tags, branches and commits of the workspace trained, with which score."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from dvc.api import DVCFileSystem, all_branches, all_commits, all_tags
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc_data.index import DataIndexDirError
from ruamel.yaml import YAML

from adl import quoted, recipes
from adl.cityscapes import SPLIT_SIZES
from adl.errors import AdlError
from adl.params import TRAINING

WORKSPACE = "workspace"
EVALUATION = ("ms_infer", "eval_flip", "eval_images")
NO_RESULT = ("seed", "device_target", "device_num")
"""Parameters by which two runs of one group may differ: the seed, and what only says where it ran."""
NO_WORKSPACE = "this folder is no DVC workspace: run this in the project's folder."
_METRICS, _IMAGES = "metrics/evaluate.json", "reports/evaluate/images.npz"


@dataclasses.dataclass(frozen=True)
class Run:
    """params: of training and evaluation, as dvc.lock has them. inputs: digests of the data and the architecture."""

    name: str
    params: dict[str, Any]
    inputs: dict[str, str]
    score: dict[str, Any]
    steps: int
    images: int

    @property
    def group(self) -> str:
        """Equal for runs that differ only in what gives them no other meaning: the seed."""
        own = {name: value for name, value in self.params.items() if name not in NO_RESULT}
        return json.dumps([own, self.inputs, self.score["images"]], sort_keys=True)

    @property
    def recipe(self) -> str | None:
        """The published recipe that this run followed, on the whole of Cityscapes."""
        if self.images != SPLIT_SIZES["train"]:
            return None
        return next((name for name in quoted.RUNS if self.follows(name)), None)

    def follows(self, recipe: str) -> bool:
        wanted = recipes.load(recipe, {}).model_dump(include={*TRAINING} - {*NO_RESULT, "eval_epochs"})
        return all(self.params[name] == value for name, value in wanted.items())


def load(revision: str) -> Run:
    """The run of a branch, tag, commit or experiment, or of the workspace.

    Raises AdlError where there is none, or where its metrics are not those that its dvc.lock records.
    """
    try:
        files = DVCFileSystem(rev=None if revision == WORKSPACE else revision)
        stages = YAML(typ="safe").load(files.read_text("dvc.lock"))["stages"]
        content = files.read_bytes(_METRICS)
        trained = json.loads(files.read_text("metrics/train.json"))
        record = json.loads(files.read_text("metrics/mindrecord_train.json"))
        train, evaluate = stages["train"], stages["evaluate"]
    except NotDvcRepoError:
        raise AdlError(NO_WORKSPACE) from None
    except (OSError, KeyError, TypeError) as error:
        raise AdlError(f"{revision}: holds no finished run (missing: {error}).") from None
    except (SCMError, DvcException) as error:
        raise AdlError(f"{revision}: no such branch, tag, commit or experiment ({error}).") from None
    model = "models/autodeeplab.ckpt"
    recorded = {out["path"]: out["md5"] for out in evaluate["outs"] + train["outs"]}
    scored = {dep["path"]: dep["md5"] for dep in evaluate["deps"]}[model]
    if recorded[_METRICS] != hashlib.md5(content).hexdigest() or recorded[model] != scored:
        raise AdlError(f"{revision}: its metrics are not those of its dvc.lock; `dvc repro` makes them.")
    code = ("adl/", "pipeline/", "data/checked.txt")
    return Run(
        name=revision,
        params=train["params"]["params.yaml"] | evaluate["params"]["params.yaml"],
        inputs={dep["path"]: dep["md5"] for dep in train["deps"] if not dep["path"].startswith(code)},
        score=json.loads(content),
        steps=trained["steps"],
        images=record["images"],
    )


def revisions() -> list[str]:
    """Every experiment, tag, branch and commit, and the workspace; the newest commits first."""
    try:
        with Repo() as repo:
            of_commits = repo.experiments.ls(all_commits=True)
    except NotDvcRepoError:
        raise AdlError(NO_WORKSPACE) from None
    experiments = [name for found in of_commits.values() for name, _ in found]
    return [*experiments, *all_tags(), *all_branches(), *(commit[:7] for commit in all_commits()), WORKSPACE]


def collect(names: Iterable[str] | None = None) -> list[Run]:
    """The runs of some revisions, or of all; one that stands in several is listed under its first name.

    Revisions without a finished run are left out, unless they were asked for.
    """
    found: dict[str, Run] = {}
    for name in names or revisions():
        try:
            run = load(name)
        except AdlError:
            if names:
                raise
            continue
        found.setdefault(json.dumps([run.params, run.inputs, run.score], sort_keys=True), run)
    return list(found.values())


def over_seeds(run: Run, others: Sequence[Run]) -> tuple[float, float, int]:
    """(mean mIOU, sample standard deviation, n) over the seeds of a run's group, in percent; NaN for n = 1."""
    scores = {r.params["seed"]: r.score["mIOU"] for r in [*others, run] if r.group == run.group}
    values = np.array(list(scores.values()), np.float64)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"), len(values)


def spread(run: Run, others: Sequence[Run]) -> str:
    """`over_seeds` for a table."""
    mean, deviation, n = over_seeds(run, others)
    return f"{mean:.2f} ± {deviation:.2f} (n = {n})" if n > 1 else "n = 1"


def differing(runs: Sequence[Run]) -> list[str]:
    """Parameters that are not the same in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.params)
    return [name for name in names if len({json.dumps(run.params.get(name)) for run in runs}) > 1]


def counts(run: Run) -> tuple[list[str], np.ndarray]:
    """(names, (images, 34, 34) counts) of a run's images. Raises AdlError where they are not in DVC's cache."""
    files = DVCFileSystem(rev=None if run.name == WORKSPACE else run.name)
    try:
        with files.open(_IMAGES, "rb") as file, np.load(file) as stored:
            return stored["names"].tolist(), stored["matrices"].astype(np.int64)
    except (OSError, DvcException, DataIndexDirError, KeyError) as error:
        raise AdlError(
            f"{run.name}: {_IMAGES}, from which images are resampled, is not here ({error}). `dvc pull` or `dvc repro` "
            "brings it."
        ) from None
