"""One stage between two copies: what it reads is brought from object storage, what it writes is left there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import sys
import time
from pathlib import Path

from adl import params as schema
from adl import preflight, recipes, runtime, workspace
from adl.architecture import Architecture
from adl.artifacts import remove, write_text
from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, check
from adl.launch import foreground
from adl.launch.environment import child_environment
from adl.params import Params
from adl.storage.copying import Copies, Wanted
from adl.storage.flow import RUNS, Source, Stage, Task, files_below, leave, stages
from adl.storage.mirror import EVERY, Mirror
from adl.storage.modelarts import Place
from adl.storage.stores import open_store
from adl.training import lock, runs
from adl.training.run.nodes import PATIENCE
from adl.training.state import SEAL, State
from adl.workspace import (
    BASELINES,
    PARAMS,
    PRETRAINED,
    RECORDS,
    START_WEIGHTS,
    STATE_VARIABLE,
    SYNTHETIC,
)

RAW = "data/cityscapes"
"""Where raw data goes if data_path is not a folder of the workspace."""
STATES = Path(".adl/state")
"""Of a job always in its own folder, whatever ADL_STATE_DIR is here: another node may use that too."""
CODE = ("adl", "architectures", "dvc.yaml", "pipeline")
MARK = ".work_of_modelarts"
"""Stands in a folder that jobs work in: one without it is somebody else's."""
_POLL = 2.0


class Job:
    """The tasks of one node.

    code: the workspace. work: the folder that the stage runs in, which is made. every: seconds between two copies of
    the state.
    """

    def __init__(
        self,
        params: Params,
        place: Place,
        dataset: DatasetDescriptor,
        *,
        endpoint: str | None,
        code: Path,
        work: Path,
        every: float = EVERY,
    ) -> None:
        check(
            (params.train_url, "train_url: empty. It names where the results go: --train_url URL."),
            (
                params.num_classes == len(dataset.classes),
                f"num_classes: {params.num_classes}, but {dataset.title} has {len(dataset.classes)} classes.",
            ),
        )
        Architecture.from_params(params)
        self.dataset = dataset
        self.place = place
        self.train = open_store(params.train_url or "", endpoint)
        self.data = open_store(params.data_url, endpoint) if params.data_url else None
        values = params.model_dump() | self._of_this_machine(params)
        self.text = recipes.edited((code / PARAMS).read_text(encoding="utf-8"), values)
        self.params = schema.parse(self.text, f"{PARAMS} as this job has it")
        self.code = code
        self.work = work
        self.every = every

    def _of_this_machine(self, params: Params) -> dict[str, object]:
        """What the job knows better than params.yaml: how many devices there are, and where raw data is put."""
        changes: dict[str, object] = {}
        devices = self.place.device_num(params.device_num)
        if devices != params.device_num:
            changes["device_num"] = devices
            print(
                f"device_num is {devices}, as many as this job has, instead of {params.device_num}"
            )
        folder = Path(params.data_path)
        # The code in the job's folder is a link: what is written there would be written into the workspace.
        is_elsewhere = folder.is_absolute() or bool({"..", *CODE} & {*folder.parts[:1]})
        is_drawn = folder == SYNTHETIC
        if is_elsewhere or (is_drawn and self.data and self.data.find("leftImg8bit/val")):
            changes["data_path"] = RAW
            print(
                f"data_path is {RAW}, where the data set is copied to, instead of {params.data_path}"
            )
        return changes

    def run(self, task: Task) -> int:
        """Returns the exit code of the stage, once all that it wrote is copied. Raises AdlError if a copy fails."""
        if self.place.node_rank > 0 and task.name != "train":
            print(f"{task.name} runs on the first node alone: nothing to do here.")
            return 0
        with contextlib.ExitStack() as stack:
            self._enter_work(stack)
            return self._run_in_work(task)

    def _run_in_work(self, task: Task) -> int:
        known = stages(self.params.data_path)
        stage = task.of(known[task.name])
        self._check_machine(stage)
        source = Source(self.data, self.train, known, code=open_store(str(self.code)))
        copies = Copies(self.work / ".adl/copied.json")
        wanted = self._inputs(stage, source)
        if str(BASELINES) in stage.inputs and not wanted[str(BASELINES)]:
            print(f"{BASELINES} is not there yet: the stage baselines runs first.", flush=True)
            code = self._run_in_work(Task("baselines"))
            if code:
                return code
            wanted = self._inputs(stage, source)
        self._check(stage, wanted)
        files = [one for files in wanted.values() for one in files]
        files += self._checkpoint(task, source)
        self._drop_others(stage, files)
        copies.bring(files, f"copying what {task.name} reads")
        code = self._train(task, copies) if task.name == "train" else self._run(task)
        if self.place.node_rank == 0:
            leave(self.train, stage, complete=code == 0)
        return code

    def _check_machine(self, stage: Stage) -> None:
        """Raises AdlError if this machine lacks what the stage uses; it need not fit the other stages."""
        if "device_target" in stage.parameters:
            runtime.check_device_target(self.params.device_target, self.place.devices or 1)
        if "export_formats" in stage.parameters:
            preflight.check_export(self.params)

    def _enter_work(self, stack: contextlib.ExitStack) -> None:
        """A workspace of this job's own, with the same code, that neither git nor DVC takes for a part of another."""
        for name in CODE:
            if not (self.code / name).exists():
                raise AdlError(
                    f"{self.code}: holds no {name}. Start the job in the project's folder."
                )
        if self.work.exists() and any(self.work.iterdir()) and not (self.work / MARK).exists():
            raise AdlError(
                f"--work {self.work}: something else made it, or an earlier version did (it holds no {MARK}), and a "
                "job replaces what is there. Name a new or an empty folder, or remove this one if no file in it is "
                "needed."
            )
        write_text(
            self.work / MARK, "Jobs of pipeline.modelarts run here, and replace what is here.\n"
        )
        stack.enter_context(lock.held(self.work))
        os.chdir(self.work)
        for path in [*map(Path, CODE), *self._own_architecture()]:
            path.parent.mkdir(parents=True, exist_ok=True)
            remove(path)
            path.symlink_to(self.code / path)
        write_text(Path(".dvc/config"), "[core]\n    no_scm = true\n")
        write_text(PARAMS, self.text)

    def _own_architecture(self) -> list[Path]:
        """Architecture files of the workspace that lie beside its code, not in it."""
        named = [Path(path) for path in (self.params.net_arch, self.params.cell_arch)]
        relative = [path for path in named if not path.is_absolute()]
        check(
            *(
                (".." not in path.parts, f"{path}: must be in the project's folder.")
                for path in relative
            )
        )
        return [path for path in relative if path.parts[0] not in CODE]

    def _drop_others(self, stage: Stage, files: list[Wanted]) -> None:
        """What an earlier job in this folder read, and what its stages wrote."""
        wanted = {one.target for one in files}
        for name in (*stage.inputs, str(PRETRAINED)):
            for path in files_below(Path(name)):
                if path not in wanted:
                    path.unlink()
        for output in stage.outputs:  # as DVC does: what stands there afterwards is of this run
            remove(Path(output))

    def _inputs(self, stage: Stage, source: Source) -> dict[str, list[Wanted]]:
        """Each input of the stage with its files; none for one that is not there."""
        return {
            name: source.find(name, raw_below=self.params.data_path if name in stage.raw else None)
            for name in stage.inputs
        }

    def _check(self, stage: Stage, wanted: dict[str, list[Wanted]]) -> None:
        """Say where the inputs are from. Raises AdlError if one is nowhere; a report says itself what it lacks."""
        found = [one for files in wanted.values() for one in files]
        for url in dict.fromkeys(one.store.url for one in found):
            files = [one for one in found if one.store.url == url]
            size = text.byte_size(sum(one.entry.bytes for one in files))
            print(f"reads {text.counted(len(files), 'file')}, {size}, from {url}", flush=True)
        for one in found:
            if one.name != str(one.target) and one.target.suffix != ".png":
                print(f"{one.target} is {one.store.url}/{one.name}", flush=True)
        missing = [name for name, files in wanted.items() if not files]
        if missing and stage.name != "report":
            raise AdlError(
                f"{stage.name} needs {', '.join(missing)}: not in {self._places()}. Run the stage that makes it, or "
                "check data_url and train_url."
            )

    def _places(self) -> str:
        return " or ".join(store.url for store in (self.data, self.train) if store)

    def _checkpoint(self, task: Task, source: Source) -> list[Wanted]:
        """The file that ckpt_name names, with its sidecar if it has one; from storage, or from the workspace."""
        name = task.checkpoint or (self.params.ckpt_name if task.name == "train" else None)
        if name is None:
            return []
        found = source.named(name)
        if not found:
            raise AdlError(f"ckpt_name: {name} is not in {self._places()}, nor in {PRETRAINED}/.")
        return [one._replace(target=PRETRAINED / one.target.name) for one in found]

    def _train(self, task: Task, copies: Copies) -> int:
        write_text(START_WEIGHTS, f"{preflight.start_weights(self.params)}\n")
        task = dataclasses.replace(task, arguments=tuple(self.place.arguments()))
        mirror = Mirror(self.train, self._state())
        if self.place.node_rank > 0:
            return self._follow(task, mirror, copies)
        mirror.bring(copies)
        with mirror.kept(self.every):
            return self._run(task)

    def _follow(self, task: Task, mirror: Mirror, copies: Copies) -> int:
        """Train as another node than the first one, from the state that the first one has published."""
        remove(STATES)
        if not self._is_published():
            print("this run is already finished: nothing to do here.")
            return 0
        mirror.bring(copies)
        code = self._run(task)
        mirror.send(only_logs=True)
        return code

    def _is_published(self) -> bool:
        """Wait until the first node has published its run: true; false if it is finished and needs no training.

        A job.json left by a killed job describes the same run: the workers then wait for the first node's.
        """
        state = f"{RUNS}/{self._state().name}"
        print("waiting for the first node's state", flush=True)
        deadline = time.monotonic() + PATIENCE
        while f"{state}/job.json" not in self.train.find(f"{state}/job.json"):
            about = self.train.read_json(f"{state}/about.json") or {}
            is_sealed = bool(self.train.find(f"{state}/result/{SEAL}"))
            if is_sealed and about.get("code") == runs.code_digest():
                return False
            if time.monotonic() > deadline:
                raise AdlError(
                    f"{self.train.url}/{state}: the first node did not start in {text.duration(PATIENCE)}."
                )
            time.sleep(_POLL)
        return True

    def _state(self) -> State:
        """Of the run that this job trains."""
        records = [
            workspace.record(RECORDS, self.dataset.name, split) for split in ("train", "val")
        ]
        content = runs.key_of(self.params, self.dataset, *records)
        return runs.state_of(STATES, content)

    def _run(self, task: Task) -> int:
        """Run a stage as a process."""
        command = [sys.executable, "-m", task.module, *task.arguments]
        print(f"+ {shlex.join(['python', *command[1:]])}", flush=True)
        return foreground.run(command, child_environment({STATE_VARIABLE: str(STATES)}))
