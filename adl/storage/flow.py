"""Which files a stage reads and writes, as dvc.yaml declares them, and where a job finds and leaves them."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from adl.artifacts import digest
from adl.errors import AdlError
from adl.storage.backends import Entry
from adl.storage.copying import Wanted, send
from adl.storage.stores import Store, inner_path
from adl.workspace import (
    BASELINES,
    CHECKED,
    CHECKPOINT,
    PERFORMANCE,
    PERFORMANCE_PAGE,
    PREDICTIONS,
    SPEED,
    STAGES,
    START_WEIGHTS,
    SYNTHETIC_STAGES,
    sidecar,
)

RECEIPTS = "copied"
"""Folder of a store with one JSON for each stage: what it left there, and whether that is all of it."""
RUNS = "state"
"""Folder of a store with the states of training runs."""
_MADE = ("data", "models", "metrics", "reports")
_OF_THE_JOB = (str(CHECKED), str(START_WEIGHTS))  # a job makes them for itself
_SAVES_TIME = {"export": str(PREDICTIONS / "evaluate")}
"""Stage → what it reads where it is there and computes otherwise: a job may export before it evaluates."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """name: as DVC names it, such as mindrecord@val. raw: those inputs that are below data_path.

    parameters: those that it reads, in its code or in the names of its inputs.
    """

    name: str
    inputs: tuple[str, ...]
    raw: frozenset[str]
    outputs: tuple[str, ...]
    parameters: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Task:
    """A stage and how it is run.

    name: as DVC has it. split: the images to score. checkpoint: a file to score or export instead of the run's own.
    output: folder of the results of such a stage, instead of the pipeline's own places.
    """

    name: str
    arguments: tuple[str, ...] = ()
    split: str = "val"
    checkpoint: str | None = None
    output: str | None = None

    @property
    def module(self) -> str:
        return f"pipeline.{self.name.partition('@')[0]}"

    def of(self, declared: Stage) -> Stage:
        """What it reads and writes."""
        inputs = declared.inputs
        if self.split != "val":
            record = (name.replace("_val.", f"_{self.split}.") for name in inputs)
            inputs = tuple(dict.fromkeys(name for name in record if name != str(BASELINES)))
        if self.checkpoint is not None:
            inputs = tuple(name for name in inputs if not name.startswith(str(CHECKPOINT)))
        if self.output is None:
            return dataclasses.replace(declared, inputs=inputs)
        return dataclasses.replace(
            declared, name=self.output, inputs=inputs, outputs=(self.output,)
        )


def stages(data_path: str) -> dict[str, Stage]:
    """Every stage of both dvc.yaml but `check`."""
    if not STAGES.exists():
        raise AdlError(f"{STAGES}: no such file. Start the job in the project's folder.")
    yaml = YAML(typ="safe")
    declared = yaml.load(SYNTHETIC_STAGES)["stages"] | yaml.load(STAGES)["stages"]
    found = {}
    for name, stage in declared.items():
        if name == "check":
            continue
        for item in stage.get("foreach", [None]):
            full = name if item is None else f"{name}@{item}"
            names = functools.partial(_names, item=item, data_path=data_path)
            found[full] = _stage(full, stage.get("do", stage), names)
    # How fast a stage was differs from run to run, so DVC need not know of it, nor of the page that shows it.
    speeds = (speed_of(name) for name in found)
    report = found["report"]
    inputs = tuple(dict.fromkeys([*report.inputs, str(CHECKPOINT), *speeds]))
    outputs = (*report.outputs, str(PERFORMANCE), str(PERFORMANCE_PAGE))
    return found | {"report": dataclasses.replace(report, inputs=inputs, outputs=outputs)}


def speed_of(stage: str) -> str:
    """The file that says how fast a stage was, if it wrote one."""
    return str(SPEED / f"{stage.replace('@', '_')}.json")


def _stage(name: str, body: Mapping[str, Any], names: Callable[..., list[str]]) -> Stage:
    raw = frozenset(names(dep for dep in body["deps"] if dep.startswith("${data_path}")))
    not_fetched = (*_OF_THE_JOB, _SAVES_TIME.get(name))
    inputs = tuple(
        dep
        for dep in names(body["deps"])
        if dep in raw or (PurePosixPath(dep).parts[0] in _MADE and dep not in not_fetched)
    )
    outputs = names([*body.get("outs", []), *body.get("metrics", [])])
    if name != "report":
        outputs.append(speed_of(name))
    in_names = re.findall(r"\$\{(\w+)\}", " ".join(body["deps"]))
    parameters = frozenset([*names(body.get("params", [])), *in_names]) - {"item"}
    return Stage(name, inputs, raw, tuple(dict.fromkeys(outputs)), parameters)


def _names(declared: Iterable[Any], *, item: str | None, data_path: str) -> list[str]:
    names = [next(iter(one)) if isinstance(one, dict) else one for one in declared]
    return [
        name.replace("${item}", item or "").replace("${data_path}", data_path) for name in names
    ]


def inside(name: str, folder: str) -> bool:
    """Is a name that of a folder, or of something in it?"""
    return name == folder or name.startswith(f"{folder}/")


class Source:
    """Where inputs come from: data_url, if there is one, and train_url, with what earlier stages left there.

    code: the workspace, for checkpoints that lie in its pretrained/.
    """

    def __init__(
        self, data: Store | None, train: Store, all_stages: Mapping[str, Stage], *, code: Store
    ) -> None:
        self.data = data
        self.train = train
        self.code = code
        self.makers = {output: stage for stage in all_stages.values() for output in stage.outputs}

    def find(self, name: str, *, raw_below: str | None = None) -> list[Wanted]:
        """An input with all its files; none if it is in neither store.

        Data sets and records are looked for in data_url first, all else in train_url first. In data_url a file may
        also lie under its bare name, and raw data as in the folder that Cityscapes is unpacked to. raw_below:
        data_path, for raw data. Raises AdlError if the copy that is there is not whole.
        """
        for store, place in self._candidates(name, raw_below):
            found = store.find(place)
            receipt = self._receipt(store, name) if place == name else None
            if receipt is not None:
                return self._as_received(store, name, found, receipt)
            if found:
                return [
                    Wanted(store, path, entry, Path(name + path[len(place) :]))
                    for path, entry in found.items()
                ]
        return []

    def named(self, checkpoint: str) -> list[Wanted]:
        """A checkpoint, with its sidecar if it has one, from where people and stages put them; nothing if none is.

        Raises AdlError if several runs have kept one of that name.
        """
        inner_path(checkpoint, "ckpt_name")
        for store, folder in self._places(checkpoint):
            name = f"{folder}{checkpoint}"
            found = store.find(name) | store.find(str(sidecar(Path(name))))
            if name in found:
                return [Wanted(store, path, entry, Path(path)) for path, entry in found.items()]
        return []

    def _places(self, checkpoint: str) -> Iterator[tuple[Store, str]]:
        """Folders in which a checkpoint is looked for, one after the other."""
        for store in (self.data, self.train):
            if store is not None:
                # The last one is where earlier versions left what runs keep.
                for folder in ("", "pretrained/", "models/", "models/intermediate/"):
                    yield store, folder
        end = f"/result/intermediate/{checkpoint}"
        kept = [name for name in self.train.find(RUNS) if name.endswith(end)]
        if len(kept) > 1:
            raise AdlError(
                f"ckpt_name: several runs kept a {checkpoint}: {', '.join(kept)}, in {self.train.url}. Copy the one "
                "that you mean, with its .json, to pretrained/ there."
            )
        for name in kept:
            yield self.train, name.removesuffix(checkpoint)
        yield self.code, "pretrained/"

    def _candidates(self, name: str, raw_below: str | None) -> list[tuple[Store, str]]:
        in_train = [(self.train, name)]
        if self.data is None:
            return in_train
        in_data = [(self.data, name)]
        if raw_below is not None:
            in_data.insert(0, (self.data, name[len(raw_below) :].lstrip("/")))
        elif PurePosixPath(name).suffix:
            in_data.append((self.data, PurePosixPath(name).name))
        is_data = raw_below is not None or inside(name, "data/mindrecord")
        return in_data + in_train if is_data else in_train + in_data

    def _receipt(self, store: Store, name: str) -> dict[str, Any] | None:
        """What the stage that makes an input says of it; None if no such stage wrote here."""
        maker = next((m for output, m in self.makers.items() if inside(name, output)), None)
        return read_receipt(store, maker.name) if maker else None

    def _as_received(
        self, store: Store, name: str, found: Mapping[str, Entry], receipt: Mapping[str, Any]
    ) -> list[Wanted]:
        if not receipt["complete"]:
            raise AdlError(
                f"{store.url}/{name}: the stage {receipt['stage']} did not finish, or its results were not copied "
                "completely. Run it again."
            )
        wanted = []
        for path, sha256 in receipt["files"].items():
            if not inside(path, name):
                continue
            if path not in found:
                raise AdlError(
                    f"{store.url}/{path}: this object is missing; the stage {receipt['stage']} left it there. Run it "
                    "again."
                )
            wanted.append(Wanted(store, path, found[path], Path(path), sha256))
        return wanted


def receipt_of(stage: str) -> str:
    """Name of the file that says what a stage left in a store."""
    return f"{RECEIPTS}/{stage}.json"


def read_receipt(store: Store, stage: str) -> dict[str, Any] | None:
    """What a stage left in a store; None if it never did. Raises AdlError if it names what cannot be there."""
    name = receipt_of(stage)
    receipt = store.read_json(name)
    if receipt is not None:
        for path in [*receipt["files"], *receipt.get("before", [])]:
            inner_path(path, f"{store.url}/{name}")
    return receipt


def leave(store: Store, stage: Stage, *, complete: bool) -> None:
    """Copy what a stage has written to a store. The receipt says that all of it is there only once it is.

    complete: whether the stage did its work. If so, what it left there earlier and no longer writes is removed.
    """
    files = {str(path): path for output in stage.outputs for path in files_below(Path(output))}
    if not files:
        return
    name = receipt_of(stage.name)
    earlier = read_receipt(store, stage.name) or {"files": {}}
    # Those of this time too: if it is not complete, the next one removes what it does not write again.
    before = sorted({*earlier["files"], *earlier.get("before", []), *files})
    receipt = {"stage": stage.name, "complete": False, "files": {}, "before": before}
    store.write_json(name, receipt)
    send(store, files, f"copying the results of {stage.name} to {store.url}")
    if complete:
        for old in set(before) - set(files):
            store.remove(old)
        contents = {name: digest(path) for name, path in files.items()}
        store.write_json(name, {"stage": stage.name, "complete": True, "files": contents})


def files_below(path: Path) -> list[Path]:
    """A file, or all files of a folder but what is only half written."""
    if path.is_file():
        return [path]
    found = []
    # os.walk takes it easily when a folder is renamed meanwhile.
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".partial-")]
        found += [Path(folder) / name for name in names if not name.startswith(".partial-")]
    return sorted(found)
