"""What stages leave in a store and find there. One manifest for each stage says what it left, and whether that is all.

<train_url>/copied/STAGE.json   the manifest: the files of the stage with their digests, once all have arrived
            data/, models/ …    those files, under their paths in the workspace
            state/RUN/          states of training runs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adl.errors import AdlError
from adl.files import digest, read_json, write_json
from adl.storage.places import Place, check_name, open_place
from adl.storage.stages import DATA_PATH, Stage
from adl.storage.transfers import copy_all
from adl.workspace import PRETRAINED, RECORDS, earlier_record, sidecar

RUNS = "state"
"""Folder of a store with the states of training runs."""


def read_manifest(store: Place, stage: str) -> dict[str, Any]:
    """Empty if the stage never left anything. Raises AdlError if the manifest cannot be one."""
    path = Path(f"copied/{stage}.json")
    file = (store / path).find(path).get(path)
    if file is None:
        return {}
    file.download(path)
    try:
        manifest = read_json(path)
    except ValueError as error:
        raise AdlError(f"{file.url}: is no JSON ({error}). Remove it there.") from None
    for name in manifest["files"]:
        check_name(name, file.url)
    return manifest


def upload_results(store: Place, stage: Stage, *, complete: bool) -> None:
    """Upload what a stage has written. The manifest says that all of it is there only once it is.

    complete: whether the stage did its work. If so, what it left there earlier and no longer writes is removed.
    """
    paths = [path for output in stage.outputs for path in files_below(Path(output))]
    if not paths:
        return
    digests = {str(path): digest(path) for path in paths}
    manifest = Path(f"copied/{stage.results}.json")

    def publish(**content: Any) -> None:
        write_json(manifest, {"stage": stage.results, **content})
        (store / manifest).upload(manifest)

    # Those of this time too: if it is not complete, the next one removes what it does not write again.
    there = read_manifest(store, stage.results).get("files", {}) | digests
    publish(complete=False, files=there)
    copy_all(
        lambda path, progress: (store / path).upload(path, progress),
        {path: path.stat().st_size for path in paths},
        f"copying the results of {stage.results} to {store.url}",
    )
    if complete:
        for old in there.keys() - digests:
            (store / old).remove()
        publish(complete=True, files=digests)


def files_below(path: Path) -> list[Path]:
    """A file, or all files of a folder but what is only half written."""
    return sorted(open_place(str(path)).find(path))


@dataclasses.dataclass
class Inputs:
    """Where inputs come from: data_url, if there is one, and train_url, with what earlier stages left there.

    stores: the two, in this order. stages: those that leave something there. data_path: where raw data is put here.
    """

    stores: Sequence[Place]
    code: Place
    stages: Mapping[str, Stage]
    data_path: str

    @property
    def train(self) -> Place:
        return self.stores[-1]

    def __str__(self) -> str:
        return " or ".join(store.url for store in self.stores)

    def path(self, name: str) -> str:
        """Where an input is put here. name: as in dvc.yaml."""
        return name.replace(DATA_PATH, self.data_path)

    def find(self, name: str) -> dict[Path, Place]:
        """An input with all its files, by where they are put here; none if it is in neither store.

        Data sets and records are looked for in data_url first, all else in train_url first. In data_url a file may
        also lie under its bare name, and raw data as in the folder that the data set is unpacked to. A record may have
        the name that earlier versions gave it. Raises AdlError if the copy that is there is not whole.
        """
        target = Path(self.path(name))
        older = earlier_record(target)
        return self._find(name, target) or (self._find(str(older), older) if target.parent == RECORDS else {})

    def _find(self, name: str, target: Path) -> dict[Path, Place]:
        is_raw = name.startswith(DATA_PATH)
        bare = name.removeprefix(f"{DATA_PATH}/") if is_raw or not target.suffix else target.name
        is_data = is_raw or name.startswith(str(RECORDS))
        writers = [
            stage.name
            for stage in self.stages.values()
            if any(target.is_relative_to(output) for output in stage.outputs)
        ]
        for store in self.stores if is_data else reversed(self.stores):
            found = (store / target).find(target)
            for stage in writers:
                manifest = read_manifest(store, stage)
                if manifest:
                    return _listed(manifest, store, target, found)
            if not found and store is not self.train:
                found = (store / bare).find(target)
            if found:
                return found
        return {}

    def checkpoint(self, name: str) -> dict[Path, Place]:
        """The file that ckpt_name names, with its sidecar if it has one, from where people and stages put them.

        Raises AdlError if there is none, or if several runs have kept one of that name.
        """
        check_name(name, "ckpt_name")
        target = PRETRAINED / name
        for folder in self._with_checkpoints(name):
            found = (folder / name).find(target)
            if found:
                return found | (folder / f"{name}.json").find(sidecar(target))
        raise AdlError(f"ckpt_name: {name} is not in {self}, nor in {PRETRAINED}/.")

    def _with_checkpoints(self, name: str) -> Iterator[Place]:
        """The folders in which a checkpoint may be, in the order in which they are looked into."""
        for store in self.stores:
            # The last one is where earlier versions left what runs keep.
            for folder in ("", "pretrained", "models", "models/intermediate"):
                yield store / folder
        kept = [path for path in (self.train / RUNS).find(RUNS) if path.match(f"result/intermediate/{name}")]
        if len(kept) > 1:
            raise AdlError(
                f"ckpt_name: several runs kept a {name}: {', '.join(map(str, kept))}, in {self.train.url}. Copy the "
                "one that you mean, with its .json, to pretrained/ there."
            )
        for path in kept:
            yield self.train / path.parent
        yield self.code / PRETRAINED


def _listed(manifest: Mapping[str, Any], store: Place, path: Path, found: Mapping[Path, Place]) -> dict[Path, Place]:
    """The files at or below a path, as a manifest lists them. Raises AdlError if one is not there."""
    if not manifest["complete"]:
        raise AdlError(
            f"{store.url}/{path}: the stage {manifest['stage']} did not finish, or its results were not copied "
            "completely. Run it again."
        )
    files = {}
    for name, sha256 in manifest["files"].items():
        file = Path(name)
        if file.is_relative_to(path):
            if file not in found:
                raise AdlError(
                    f"{store.url}/{name}: this object is missing; the stage {manifest['stage']} left it there. Run it "
                    "again."
                )
            files[file] = found[file]._replace(sha256=sha256)
    return files
