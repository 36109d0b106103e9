"""bring back data, models and scores of the present parameters from DVC's cache, and train nothing

reads:  params.yaml, dvc.lock, DVC's cache and run cache
writes: the outputs of every stage whose run DVC remembers, and dvc.lock; `check` and `report` are run

`make restore` puts the committed params.yaml in place first.

example: adl restore
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from adl.errors import AdlError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


def add(command: argparse.ArgumentParser) -> None:
    """It has no options."""


def run(arguments: argparse.Namespace) -> None:
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo, lock_repo

    try:
        with Repo() as repo, lock_repo(repo):
            unknown = _restore(repo)
    except NotDvcRepoError:
        raise AdlError("this folder is no DVC workspace: run this in the project's folder.") from None
    except DvcException as error:
        raise AdlError(f"DVC: {error}") from None
    if unknown:
        raise AdlError(
            f"DVC's cache holds no run of these parameters for {', '.join(unknown)}: their files are as before, if "
            "there are any. `make repro` makes them."
        )


def _restore(repo: Repo) -> list[str]:
    """Bring back every stage of the pipeline in its order; returns the names of those that would have to run."""
    from dvc.repo.reproduce import collect_stages, plan_repro

    graph = repo.index.graph
    unknown: dict[Stage, str] = {}
    for stage in plan_repro(graph, collect_stages(repo, [f"{repo.root_dir}/dvc.yaml"])):
        upstream = list(graph.successors(stage))
        is_remembered = not stage.always_changed and all(out.use_cache or out.is_metric for out in stage.outs)
        if not unknown.keys().isdisjoint(upstream):
            unknown[stage] = stage.addressing
        elif not is_remembered:  # such as the report, which takes seconds
            stage.reproduce(upstream=upstream)
            stage.dump(update_pipeline=False)
        elif stage.changed() and not _bring_back(stage):
            unknown[stage] = stage.addressing
    return list(unknown.values())


def _bring_back(stage: Stage) -> bool:
    """Check out the outputs that dvc.lock names; where the cache lacks them, those of the newest run that it knows.

    DVC itself runs a stage whose lock fits and whose outputs are gone, although its run cache may hold that very run
    with other digests.
    """
    from dvc_data.hashfile.hash_info import HashInfo

    is_of_lock = not stage.changed_stage() and stage.deps_cached()
    stage.save_deps()
    if not (is_of_lock and _is_cached(stage)):
        for out in stage.outs:
            out.hash_info = HashInfo()
        if not _is_cached(stage):
            return False
    # As `dvc repro` does; what stands there may be in no cache, and DVC would ask about each file.
    stage.remove_outs()
    stage.repo.stage_cache.restore(stage)
    stage.save(run_cache=False)
    stage.commit()
    stage.dump(update_pipeline=False)
    return True


def _is_cached(stage: Stage) -> bool:
    from dvc.stage.cache import RunCacheNotFoundError

    try:
        stage.repo.stage_cache.restore(stage, dry=True)
    except RunCacheNotFoundError:
        return False
    return True
