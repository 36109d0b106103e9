"""Finished runs: what experiments, tags, branches and commits of the workspace trained, with which score."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from dvc.api import DVCFileSystem, all_branches, all_tags
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc_data.index import DataIndexDirError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adl import workspace
from adl.config import params as schema
from adl.config import recipes
from adl.dataset import descriptor
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError
from adl.files import percent
from adl.metrics import Confusion
from adl.report import quoted

WORKSPACE = "workspace"
IRRELEVANT = ("seed", "eval_epochs", "data_path", "dataset", "num_classes", "block_multiplier")
"""Parameters in which two runs of one group may differ: the seed, how often they were watched, where the data and their
description lay, and what follows from others.
"""
NO_WORKSPACE = "this folder is no DVC workspace: run this in the project's folder."
_METRICS, _IMAGES = str(workspace.METRICS / "evaluate.json"), str(workspace.IMAGE_COUNTS)
_MODEL = str(workspace.CHECKPOINT)


class Run(NamedTuple):
    """A finished training run and its evaluation.

    revision: None for the workspace. date: of its commit; empty for the workspace. params: of training and evaluation,
    as dvc.lock has them, with data_path and, for the embedded scenes, how they were drawn. inputs: digests of the data,
    the architecture and the code. images, val_images: those of the records.
    """

    name: str
    revision: str | None
    date: str
    dataset: DatasetDescriptor
    params: dict[str, Any]
    inputs: dict[str, str]
    score: dict[str, Any]
    steps: int
    images: int
    val_images: int

    @property
    def group(self) -> str:
        """Equal for runs that differ only in their seed."""
        relevant = {name: value for name, value in self.params.items() if name not in IRRELEVANT}
        return json.dumps([relevant, self.inputs, self.score["images"]], sort_keys=True)

    def digest(self, *folders: str) -> str:
        """Of the inputs in some folders. Short; equal where they were equal."""
        inputs = sorted(item for item in self.inputs.items() if item[0].startswith(folders))
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:7]

    @property
    def published(self) -> dict[str, str]:
        """The quoted figures of the recipe that this run followed, if it did so on the complete data set; else none."""
        if {"train": self.images, "val": self.score["images"]}.items() - self.dataset.expect.items():
            return {}
        # On which devices it was trained does not count. The published scores are at scale 1, with the mirror image.
        compared = {*schema.of_stage("train"), "ms_infer", "eval_flip", "eval_window"}
        compared -= {*IRRELEVANT, *recipes.MACHINE}
        for recipe, figures in quoted.RUNS.get(self.dataset.name, {}).items():
            wanted = recipes.load(recipe, {}).model_dump(include=compared)
            # A run from before a parameter existed had what the parameter is shipped with.
            if wanted.items() <= (wanted | self.params).items():
                return figures
        return {}


def load(name: str, revision: str | None = None) -> Run:
    """The run of a branch, tag, commit or experiment, or of the workspace.

    revision: what git knows it by; default: its name. Raises AdlError if there is no such run, or if its metrics are
    not those that its dvc.lock records.
    """
    if not name:
        raise AdlError("the name of a revision is empty.")
    revision = None if name == WORKSPACE else revision or name
    try:
        return _read(name, revision)
    except NotDvcRepoError:
        raise AdlError(NO_WORKSPACE) from None
    except (OSError, KeyError, TypeError, ValueError, YAMLError) as error:
        raise AdlError(f"{name}: holds no finished run ({type(error).__name__}: {error}).") from None
    except DvcException as error:
        raise AdlError(f"{name}: no such branch, tag, commit or experiment ({error}).") from None


def _read(name: str, revision: str | None) -> Run:
    files = DVCFileSystem(rev=revision)

    stages = _locked(files, "dvc.lock")
    train, evaluate = stages["train"], stages["evaluate"]

    def counted(stage: str, what: str) -> int:
        return json.loads(files.read_text(f"metrics/{stage}.json"))[what]

    def digests(kind: str) -> dict[str, str]:
        return {file["path"]: file["md5"] for file in train[kind] + evaluate[kind]}

    deps, outs = digests("deps"), digests("outs")
    metrics = files.read_bytes(_METRICS)
    if outs[_METRICS] != hashlib.md5(metrics).hexdigest() or outs[_MODEL] != deps[_MODEL]:
        raise AdlError(f"{name}: its metrics do not match its dvc.lock; run `dvc repro`.")
    params = train["params"]["params.yaml"] | evaluate["params"]["params.yaml"]
    if "files" in stages:
        read = stages["files"]["params"]["params.yaml"]
        dataset = _described(files, read["dataset"])
        params["data_path"] = read["data_path"]
    else:
        # While there was only Cityscapes, its folder was known from what the conversion of val read there.
        dataset = descriptor.shipped("cityscapes")
        images = f"/{dataset.images.place('val')}"
        params["data_path"] = ""
        for converted in stages["mindrecord@val"]["deps"]:
            if converted["path"].endswith(images):
                params["data_path"] = converted["path"].removesuffix(images)
    if Path(params["data_path"]) == workspace.SYNTHETIC:
        drawn = _locked(files, "pipeline/synthetic/dvc.lock")["synthesize"]
        params |= drawn["params"]["params.yaml"]
    date = ""
    if revision:
        commit = files.repo.scm.resolve_commit(files.repo.get_rev())
        date = commit.commit_datetime.date().isoformat()
    # Neither what one of the two stages made, nor the verdict on the data, is an input.
    made = {*outs, str(workspace.CHECKED)}
    return Run(
        name=name,
        revision=revision,
        date=date,
        dataset=dataset,
        params=params,
        inputs={path: md5 for path, md5 in deps.items() if path not in made},
        score=json.loads(metrics),
        steps=counted("train", "steps"),
        images=counted("mindrecord_train", "images"),
        val_images=counted("mindrecord_val", "images"),
    )


def _described(files: DVCFileSystem, path: str) -> DatasetDescriptor:
    """A data set as its file describes it in a revision; one that git does not keep is read as it is now."""
    if Path(path).is_absolute() or not files.exists(path):
        return descriptor.load(path)
    return descriptor.parse(YAML(typ="safe").load(files.read_text(path)), path)


def _locked(files: DVCFileSystem, path: str) -> dict[str, Any]:
    """The stages of a dvc.lock."""
    return YAML(typ="safe").load(files.read_text(path))["stages"]


def collect(names: Iterable[str] = (), *, all_commits: bool = False) -> list[Run]:
    """The runs of some revisions, or of all that `_revisions` lists; one that is in several, under its first name.

    Revisions without a finished run are left out, unless they were asked for.
    """
    asked = [(name, name) for name in names]
    found: dict[str, Run] = {}
    for name, revision in asked or _revisions(all_commits):
        try:
            run = load(name, revision)
        except AdlError:
            if asked:
                raise
            continue
        found.setdefault(json.dumps([run.params, run.inputs, run.score], sort_keys=True), run)
    return list(found.values())


def _revisions(all_commits: bool) -> list[tuple[str, str]]:
    """(name, revision) of every experiment, tag and branch, of commits that changed dvc.lock, and of the workspace.

    all_commits: those of the whole history; else those that this clone made or had checked out.
    """
    try:
        with Repo() as repo:
            experiments = repo.experiments.ls(all_commits=True)
        if all_commits:
            commits = _log("--all", "--full-history", "--", "dvc.lock")
        else:  # of each, the one that it has its dvc.lock from
            had = dict.fromkeys(_log("--walk-reflogs", "HEAD"))
            commits = [name for one in had for name in _log("-1", one, "--", "dvc.lock")]
    except NotDvcRepoError:
        raise AdlError(NO_WORKSPACE) from None
    except (DvcException, OSError, subprocess.CalledProcessError) as error:
        raise AdlError(f"the history cannot be read: {error}") from None
    names = dict.fromkeys((*all_tags(), *all_branches(), *commits, "HEAD", WORKSPACE))
    return [*itertools.chain(*experiments.values()), *zip(names, names, strict=True)]


def _log(*which: str) -> list[str]:
    """Names of commits."""
    return subprocess.check_output(
        ["git", "log", "--format=%h", *which],
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    ).split()


def over_seeds(run: Run, others: Sequence[Run]) -> str:
    """Mean mIOU, sample standard deviation and number of the runs that differ from one only in their seed."""
    scores = pd.Series({r.params["seed"]: r.score["mIOU"] for r in [*others, run] if r.group == run.group})
    if len(scores) == 1:
        return "n = 1"
    return f"{scores.mean():.2f} ± {scores.std():.2f} (n = {len(scores)})"


def counts(run: Run) -> tuple[list[str], np.ndarray]:
    """(names, (images, C, C + 1) counts) of a run's images.

    Raises AdlError if they are not in DVC's cache, or are not those of the run's score.
    """
    try:
        with DVCFileSystem(rev=run.revision).open(_IMAGES, "rb") as file, np.load(file) as stored:
            names, per_image = stored["names"].tolist(), stored["counts"].astype(np.int64)
    except (
        OSError,
        DvcException,
        DataIndexDirError,
        KeyError,
        ValueError,
        EOFError,
        BadZipFile,
    ) as error:
        raise AdlError(
            f"{run.name}: {_IMAGES}, which is needed to resample the images, is missing ({error}). "
            "Run `dvc pull` or `dvc repro`."
        ) from None
    if percent(Confusion(run.dataset, per_image.sum(axis=0)).mean_iou()) != run.score["mIOU"]:
        raise AdlError(f"{run.name}: {_IMAGES} belongs to another run. `dvc checkout` restores the right one.")
    return names, per_image
