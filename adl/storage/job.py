"""One stage between two copies: what it reads is brought from object storage, what it writes is left there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from adl import params as schema
from adl import preflight, recipes, runtime, workspace
from adl.architecture import Architecture
from adl.artifacts import remove, write_text
from adl.console import text
from adl.dataset.descriptor import DatasetDescriptor
from adl.errors import AdlError, check
from adl.parallel.lifetime import tied
from adl.params import Params
from adl.processes.environment import child_environment
from adl.storage.copying import Copies, Wanted
from adl.storage.flow import Source, Stage, leave, stages
from adl.storage.mirror import EVERY, NAME, Mirror
from adl.storage.modelarts import Place
from adl.storage.stores import open_store
from adl.training import key
from adl.training.state import State
from adl.workspace import (
    BASELINES,
    CHECKPOINT,
    PARAMS,
    PRETRAINED,
    RECORDS,
    START_WEIGHTS,
    SYNTHETIC,
)

RAW = "data/cityscapes"
"""Where raw data is put that data_path does not name a folder of the workspace for."""
CODE = ("adl", "architectures", "dvc.yaml", "pipeline")
PATIENCE = 1800.0
"""Seconds that a node waits for node 0."""
_POLL = 2.0


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
        preflight.check_export(params)
        runtime.check_device_target(params.device_target, place.devices or 1)
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
        is_elsewhere = Path(params.data_path).is_absolute()
        is_drawn = Path(params.data_path) == SYNTHETIC
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
        self._enter_work()
        known = stages(self.params.data_path)
        stage = task.of(known[task.name])
        source = Source(self.data, self.train, known)
        copies = Copies(self.work / ".adl/copied.json")
        wanted = self._inputs(stage, source)
        if str(BASELINES) in stage.inputs and not wanted[str(BASELINES)]:
            print(f"{BASELINES} is not there yet: the stage baselines runs first.", flush=True)
            code = self.run(Task("baselines"))
            if code:
                return code
            wanted = self._inputs(stage, source)
        self._check(stage, wanted)
        files = [one for files in wanted.values() for one in files]
        files += self._checkpoint(task, source)
        copies.bring(files, f"copying what {task.name} reads")
        for output in stage.outputs:  # as DVC does: what stands there afterwards is of this run
            remove(Path(output))
        code = self._train(task, copies) if task.name == "train" else self._run(task)
        if self.place.node_rank == 0:
            leave(self.train, stage, complete=code == 0)
        return code

    def _enter_work(self) -> None:
        """A workspace of this job's own, with the same code, that neither git nor DVC takes for a part of another."""
        for name in CODE:
            if not (self.code / name).exists():
                raise AdlError(
                    f"{self.code}: holds no {name}. Start the job in the project's folder."
                )
        self.work.mkdir(parents=True, exist_ok=True)
        os.chdir(self.work)
        for name in CODE:
            remove(Path(name))
            Path(name).symlink_to(self.code / name)
        write_text(Path(".dvc/config"), "[core]\n    no_scm = true\n")
        write_text(PARAMS, self.text)

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
            places = " nor ".join(store.url for store in (self.data, self.train) if store)
            raise AdlError(
                f"{stage.name} needs {', '.join(missing)}: neither in {places}. Run the stage that makes it, or check "
                "data_url and train_url."
            )

    def _checkpoint(self, task: Task, source: Source) -> list[Wanted]:
        """The file that ckpt_name names, with its sidecar if it has one; from storage, or from the workspace."""
        name = task.checkpoint or (self.params.ckpt_name if task.name == "train" else None)
        if name is None:
            return []
        found = next(source.named(name), None)
        if found is not None:
            return [one._replace(target=PRETRAINED / one.target.name) for one in found]
        if (self.code / PRETRAINED / name).is_file():
            PRETRAINED.mkdir(exist_ok=True)
            remove(PRETRAINED / name)
            (PRETRAINED / name).symlink_to(self.code / PRETRAINED / name)
            return []
        places = " nor ".join(store.url for store in (self.data, self.train) if store)
        raise AdlError(f"ckpt_name: {name} is neither in {places}, nor in {PRETRAINED}/.")

    def _train(self, task: Task, copies: Copies) -> int:
        write_text(START_WEIGHTS, f"{preflight.start_weights(self.params)}\n")
        task = dataclasses.replace(task, arguments=tuple(self.place.arguments()))
        mirror = Mirror(self.train, workspace.state_folder())
        mirror.bring(copies)
        if self.place.node_rank > 0:
            self._wait_for_first_node(mirror, copies)
        with mirror.kept(self.every):
            return self._run(task)

    def _wait_for_first_node(self, mirror: Mirror, copies: Copies) -> None:
        """Until its state is in the store: the stage looks at it in a folder of this node.

        What a killed job left there is the same run; its workers wait for those of the first node.
        """
        print("waiting for the first node's state", flush=True)
        deadline = time.monotonic() + PATIENCE
        state = self._state()
        while not (state.job.exists() or state.finished):
            if time.monotonic() > deadline:
                raise AdlError(
                    f"{self.train.url}/{NAME}: the first node did not start in {text.duration(PATIENCE)}."
                )
            time.sleep(_POLL)
            mirror.bring(copies)

    def _state(self) -> State:
        """Of the run that this job trains."""
        records = [
            workspace.record(RECORDS, self.dataset.name, split) for split in ("train", "val")
        ]
        content = key.key_of(self.params, self.dataset, *records)
        return key.state_of(workspace.state_folder(), content)

    def _run(self, task: Task) -> int:
        """Run a stage as a process. Signals are passed on, and the stage ends in its own way."""
        command = [sys.executable, "-m", task.module, *task.arguments]
        print(f"+ {shlex.join(['python', *command[1:]])}", flush=True)
        process = subprocess.Popen(tied(command), env=child_environment({}), start_new_session=True)

        def pass_on(number: int, frame: FrameType | None) -> None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = [signal.signal(number, pass_on) for number in numbers]
        try:
            code = process.wait()
        finally:
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)
        return code if code >= 0 else 128 - code
