"""What stages leave in a store and find there. One manifest for each stage says what it left, and whether that is all.

<train_url>/copied/STAGE.json   the manifest: the files of the stage with their digests, once all have arrived
            data/, models/ …    those files, under their paths in the workspace
            state/RUN/          states of training runs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from adl.errors import AdlError
from adl.files import digest, read_json, write_json
from adl.storage.stages import DATA_PATH, Stage
from adl.storage.store import RemoteFile, Store, check_name
from adl.storage.transfers import copy_all
from adl.workspace import PRETRAINED, RECORDS, sidecar

RUNS = "state"
"""Folder of a store with the states of training runs."""
_OF_CHECKPOINTS = ("", "pretrained/", "models/", "models/intermediate/")
"""Folders of a store with checkpoints; the last one is where earlier versions left what runs keep."""


def manifest_of(stage: str) -> Path:
    """The manifest of a stage, in a store as in the workspace."""
    return Path("copied") / f"{stage}.json"


def read_manifest(store: Store, stage: str) -> dict[str, Any] | None:
    """None if the stage never left anything. Raises AdlError if the manifest cannot be one."""
    path = manifest_of(stage)
    file = store.find(str(path)).get(str(path))
    if file is None:
        return None
    file.download(path)
    try:
        manifest = read_json(path)
    except ValueError as error:
        raise AdlError(f"{file.url}: is no JSON ({error}). Remove it there.") from None
    for name in manifest["files"]:
        check_name(name, file.url)
    return manifest


def upload_results(store: Store, stage: Stage, *, complete: bool) -> None:
    """Upload what a stage has written. The manifest says that all of it is there only once it is.

    complete: whether the stage did its work. If so, what it left there earlier and no longer writes is removed.
    """
    paths = [path for output in stage.outputs for path in files_below(Path(output))]
    if not paths:
        return
    digests = {str(path): digest(path) for path in paths}
    earlier = read_manifest(store, stage.results) or {"files": {}}
    # Those of this time too: if it is not complete, the next one removes what it does not write again.
    there = {*earlier["files"], *digests}
    _write_manifest(store, stage.results, complete=False, files=dict.fromkeys(sorted(there)))
    copy_all(
        lambda path, progress: store.upload(path, str(path), progress),
        {path: path.stat().st_size for path in paths},
        f"copying the results of {stage.results} to {store.url}",
    )
    if complete:
        for old in there.difference(digests):
            store.remove(old)
        _write_manifest(store, stage.results, complete=True, files=digests)


def _write_manifest(
    store: Store, stage: str, *, complete: bool, files: Mapping[str, str | None]
) -> None:
    path = manifest_of(stage)
    write_json(path, {"stage": stage, "complete": complete, "files": files})
    store.upload(path, str(path))


def files_below(path: Path) -> list[Path]:
    """A file, or all files of a folder but what is only half written."""
    paths = [path, *path.rglob("*")]
    return sorted(path for path in paths if path.is_file() and "/.partial-" not in f"/{path}")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Where inputs come from: data_url, if there is one, and train_url, with what earlier stages left there.

    data_path: where raw data is put here. code: the workspace, for checkpoints that lie in its pretrained/.
    """

    data: Store | None
    train: Store
    code: Store
    stages: Mapping[str, Stage]
    data_path: str

    @property
    def stores(self) -> list[Store]:
        return [store for store in (self.data, self.train) if store is not None]

    def __str__(self) -> str:
        return " or ".join(store.url for store in self.stores)

    def path(self, name: str) -> str:
        """Where an input is put here. name: as in dvc.yaml."""
        return name.replace(DATA_PATH, self.data_path)

    def find(self, name: str) -> dict[Path, RemoteFile]:
        """An input with all its files, by where they are put here; none if it is in neither store.

        Data sets and records are looked for in data_url first, all else in train_url first. In data_url a file may
        also lie under its bare name, and raw data as in the folder that Cityscapes is unpacked to. Raises AdlError if
        the copy that is there is not whole.
        """
        target = self.path(name)
        bare = name.removeprefix(f"{DATA_PATH}/")
        if PurePosixPath(name).suffix:
            bare = PurePosixPath(name).name
        is_data = name.startswith((DATA_PATH, str(RECORDS)))
        for store in self.stores if is_data else reversed(self.stores):
            place, found = target, store.find(target)
            manifest = self._manifest(store, target)
            if manifest is not None:
                return _listed(manifest, store, target, found)
            if not found and store is self.data:
                place, found = bare, store.find(bare)
            if found:
                return {Path(target + path.removeprefix(place)): found[path] for path in found}
        return {}

    def _manifest(self, store: Store, path: str) -> dict[str, Any] | None:
        """That of the stage that writes a path; None if no such stage left anything in the store."""
        for stage in self.stages.values():
            if any(PurePosixPath(path).is_relative_to(output) for output in stage.outputs):
                return read_manifest(store, stage.name)
        return None

    def checkpoint(self, name: str) -> dict[Path, RemoteFile]:
        """The file that ckpt_name names, with its sidecar if it has one, from where people and stages put them.

        Raises AdlError if there is none, or if several runs have kept one of that name.
        """
        check_name(name, "ckpt_name")
        for store in self.stores:
            for folder in _OF_CHECKPOINTS:
                if found := _with_sidecar(store, f"{folder}{name}"):
                    return found
        end = f"/result/intermediate/{name}"
        kept = [path for path in self.train.find(RUNS) if path.endswith(end)]
        if len(kept) > 1:
            raise AdlError(
                f"ckpt_name: several runs kept a {name}: {', '.join(kept)}, in {self.train.url}. Copy the one that you "
                "mean, with its .json, to pretrained/ there."
            )
        if kept:
            return _with_sidecar(self.train, kept[0])
        found = _with_sidecar(self.code, str(PRETRAINED / name))
        if not found:
            raise AdlError(f"ckpt_name: {name} is not in {self}, nor in {PRETRAINED}/.")
        return found


def _listed(
    manifest: Mapping[str, Any], store: Store, path: str, found: Mapping[str, RemoteFile]
) -> dict[Path, RemoteFile]:
    """The files at or below a path, as a manifest lists them. Raises AdlError if one is not there."""
    if not manifest["complete"]:
        raise AdlError(
            f"{store.url}/{path}: the stage {manifest['stage']} did not finish, or its results were not copied "
            "completely. Run it again."
        )
    files = {}
    for name, sha256 in manifest["files"].items():
        if not PurePosixPath(name).is_relative_to(path):
            continue
        if name not in found:
            raise AdlError(
                f"{store.url}/{name}: this object is missing; the stage {manifest['stage']} left it there. Run it "
                "again."
            )
        files[Path(name)] = found[name]._replace(sha256=sha256)
    return files


def _with_sidecar(store: Store, name: str) -> dict[Path, RemoteFile]:
    """A checkpoint, to be put in pretrained/ with its sidecar if it has one; nothing if it is not there."""
    found = store.find(name)
    if name not in found:
        return {}
    found |= store.find(str(sidecar(Path(name))))
    return {PRETRAINED / Path(path).name: found[path] for path in found}
